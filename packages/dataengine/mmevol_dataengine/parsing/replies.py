"""Which part of a reply is the answer: not the thinking, not a draft, not an echo of the input."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mmevol_dataengine.parsing.lexis import (
    ITEM_START,
    OPEN_LIST,
    QUOTES,
    BrokenError,
    CutError,
    comment_end,
    key_at,
    skip,
)
from mmevol_dataengine.parsing.reader import Block, read_block
from mmevol_dataengine.parsing.retractions import RETRACTED

_THINK = "think|thinking|thought|thoughts|reasoning|analysis|reflection|scratchpad|draft|planning|internal"
_EVENT = re.compile(
    rf"""<(?P<close>/)?\s*(?:{_THINK})\b[^<>]*>|\[(?P<close2>/)?(?:THINK|think|THOUGHT|REASONING)\]
    |(?P<open3><\|begin_of_thought\|>|◁think▷)|(?P<close3><\|end_of_thought\|>|◁/think▷|<\|channel\|>\s*final)
    |//|/\*|<!--|[\[［【{{｛]""",
    re.VERBOSE | re.IGNORECASE,
)
_CLOSING = re.compile(
    rf"</\s*(?:{_THINK})\s*>|\[/(?:THINK|THOUGHT|REASONING)\]|<\|end_of_thought\|>|◁/think▷", re.IGNORECASE
)
_REVISION = re.compile(
    r"\b(final|finali[sz]ed|revis\w+|corrected|correction|corrections|correcting|fix|fixed|fixing|updated?|refined?"
    r"|better|stronger|harder|(second|third|new|next|another|latest) (attempt|try|draft|version|pass)"
    r"|(draft|attempt|version|take) [2-9]"
    r"|v[2-9]|wait|actually|instead|second thought|mistakes?|oops|apolog\w+|polished?|redo|redone|retry"
    r"|clean(ed)?[ -]?up|valid json|proper(ly)?|hmm+|however|too (easy|simple|short|long|high|low)|re-?evaluat\w+)\b"
    r"|<(answer|final|final_answer|output|result|json|response)>|\bbut this\b"
    r"|最终|修正|更正|修改后|改进后|【答案】|【/思考】",
    re.IGNORECASE,
)
_DRAFT = re.compile(
    r"\b(drafts?|rough|template|schema|placeholders?|skeleton|(first|initial|1st) (attempt|try|version|pass|idea|take)"
    r"|(attempt|version|draft) (1|one)|shape|for example|for instance|e\.g\.?|example|(would|could) (be|look)"
    r"|wrong|incorrect|bad)\b|\bnot this\b|草稿|模板|示例|例如|思考",
    re.IGNORECASE,
)
_ECHO = re.compile(
    r"\b(originals?|inputs?|given|source|seed|parents?|before|old|previous|unchanged|current)\b|原始|输入",
    re.IGNORECASE,
)
_PRODUCT = re.compile(
    r"\b(final|revised|corrected|rewritten|evolved|rewrites?|improved|updated|new|output|result|fixed|after)\b"
    r"|最终|改写|修正",
    re.IGNORECASE,
)
_THINK_FENCE = re.compile(rf"```(?:{_THINK})\b[^`]*$", re.IGNORECASE)
_MAX_TRIES = 200


@dataclass
class Reply:
    """The values of a reply in order; `leads[i]` is the text before value i, `tail` what follows the last."""

    blocks: list[Block] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)
    tail: str = ""


def find_blocks(text: str) -> Reply | None:
    """Find the values outside of thinking and comments; None when the reply is thinking without an end."""
    reply, position, mark, tries = Reply(), _after_headless_thinking(text), 0, 0
    mark = position
    while (event := _EVENT.search(text, position)) is not None:
        here, token = event.start(), event[0]
        if event["close"] or event["close2"] or event["close3"]:
            reply, position = Reply(), event.end()
            mark = position
        elif token in ("//", "/*", "<!--"):
            is_url = token == "//" and text[max(0, here - 1) : here] == ":"
            position = (None if is_url else comment_end(text, here)) or event.end()
        elif len(token) > 1:
            closing = _CLOSING.search(text, event.end())
            if closing is None:
                return reply if reply.blocks else None
            position = mark = closing.end()
        elif not _may_open(text, here):
            position = here + 1
        else:
            block = _try_block(text, here)
            if block is None:
                tries += 1
                if tries > _MAX_TRIES:
                    return None
                position = here + 1
                continue
            reply.leads.append(text[mark:here])
            reply.blocks.append(block)
            position = mark = max(block.end, here + 1)
    reply.tail = text[mark:]
    return reply


def _after_headless_thinking(text: str) -> int:
    """Servers may strip the opening tag: prose up to a closing tag is thinking all the same."""
    closing = _CLOSING.search(text)
    if closing is None or text.lstrip("\ufeff \n\t")[:1] in ("[", "{", "`", '"'):
        return 0
    opening = re.search(rf"<(?:{_THINK})\b[^<>/]*>|\[THINK\]|<\|begin_of_thought\|>|◁think▷", text, re.IGNORECASE)
    return closing.end() if opening is None or opening.start() > closing.start() else 0


def _may_open(text: str, position: int) -> bool:
    """Does what opens here look like a list of objects or an object?"""
    inside = skip(text, position + 1)
    if inside >= len(text):
        return False
    if text[position] in OPEN_LIST:
        return text[inside] in "[［【{｛]］】" or text[inside] in QUOTES
    return key_at(text, inside, any_name=True) is not None


def _try_block(text: str, position: int) -> Block | None:
    """The value that opens here, if it can be read."""
    try:
        return read_block(text, position)
    except CutError:
        last = ITEM_START.match(text, position) and not ITEM_START.search(text, position + 1)
        return Block(position, len(text), cut=True) if last else None
    except BrokenError:
        return None


def _label(lead: str) -> str:
    """The words that introduce a value: the last line before it that is not left of a broken one, without markup."""
    lines = [line for line in re.sub(r"```\w*", "", lead).splitlines() if re.search(r"\w", line)]
    lines = [line for line in lines if key_at(line.strip(" \t{["), 0) is None]
    return re.sub(r"[*_#>`]", " ", " ".join(lines[-1:])[-240:])


def choose(reply: Reply) -> tuple[list[Block], list[str]] | None:
    """Keep the blocks that are the answer, with their leads; None when the reply takes them back."""
    if RETRACTED.search(reply.tail):
        return None
    kept = list(zip(reply.blocks, reply.leads, strict=True))
    for number in range(len(kept) - 1, 0, -1):
        if _REVISION.search(re.sub(r"```\w*", "", kept[number][1])):
            kept = kept[number:]
            break
    kept = [(block, lead) for block, lead in kept if not _is(lead, _DRAFT)]
    if len(kept) > 1:
        kept = [(block, lead) for block, lead in kept if not _is(lead, _ECHO)]
    return ([block for block, _ in kept], [lead for _, lead in kept]) if kept else None


def _is(lead: str, kind: re.Pattern[str]) -> bool:
    if kind is _DRAFT and (lead.endswith("~~") or _THINK_FENCE.search(lead)):
        return True
    label = _label(lead)
    return kind.search(label) is not None and _PRODUCT.search(label) is None
