"""Conversations to text, and which characters of it are learned, in two named modes; `encoding.py` makes ids of them.

`answer`  the chat template's own words; supervised: every assistant answer and its end token.
`mmevol`  the rule of the reference trainer (MMEvol, llava/train/train.py, facts only): the whole assistant turn with
          its header and what follows its end token, and in all other turns every control token. Pretraining uses its
          `plain` form: the image slot, the caption and a newline, no end token.

Both write the same text for an ordinary conversation; only the labels differ. The chat template is saved with the
processor, so training and inference share one source of the prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from mmevol_core.errors import unknown
from mmevol_train.own_template import answers

IMAGE = "<image>"
IGNORED = -100  # label of a token that no loss is taken on (PyTorch's and transformers' convention)
LabelMode = Literal["answer", "mmevol"]
SpecialText = Literal["refuse", "escape", "keep"]
Span = tuple[int, int]  # characters [start, end)
LEADING = re.compile(rf"\A(?:\s*{re.escape(IMAGE)})+")  # placeholders in front of a text
ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant", "system": "system"}


class BadRow(Exception):  # noqa: N818 - a row's failure, not a defect
    """A row that cannot be trained on; the message is the reason it is counted under."""


@dataclass(frozen=True)
class Template:
    """What a family of chat models writes around a turn."""

    name: str
    system: str  # the reference's system text
    control: tuple[str, ...]  # tokens the reference supervises in every turn
    newline: str  # text whose token id the reference also looks up; most vocabularies have no such entry
    start: str  # begins the whole text
    header: str  # {role}
    end: str  # ends a turn
    after: str  # follows the end token, and belongs to the turn in the reference's rule
    trims: bool  # contents lose outer white space


TEMPLATES = {
    "qwen2": Template(
        name="qwen2", system="You are a helpful assistant.", control=("<|im_start|>", "<|im_end|>"), newline="\n",
        start="", header="<|im_start|>{role}\n", end="<|im_end|>", after="\n", trims=False,
    ),
    "llama3": Template(
        name="llama3",
        system="You are a helpful language and vision assistant. You are able to understand the visual content that "
        "the user provides, and assist the user with a variety of tasks using natural language.",
        control=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), newline="\n\n",
        start="<|begin_of_text|>", header="<|start_header_id|>{role}<|end_header_id|>\n\n", end="<|eot_id|>",
        after="", trims=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Rendered:
    """A conversation as text in which `<image>` stands for an image slot, and the characters that are supervised."""

    text: str
    supervised: tuple[Span, ...]


def template(name: str) -> Template:
    """The template of that name; UserError with the valid names otherwise."""
    if name not in TEMPLATES:
        raise unknown("chat template", name, TEMPLATES)
    return TEMPLATES[name]


@cache
def chat_template(name: str, system: str | None = None) -> str:
    """Jinja chat template; `system` stands in where a conversation brings none ("": nothing, None: the default)."""
    text = template(name).system if system is None else system
    body = (Path(__file__).parent / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
    return f"{{%- set default_system = {json.dumps(text, ensure_ascii=False)} -%}}\n{body.rstrip()}"


def render_answer(
    turns: Sequence[Mapping[str, str]], jinja: str, special: Iterable[str] = (), policy: SpecialText = "refuse",
    images: int | None = None,
) -> Rendered:  # fmt: skip
    """Text by the chat template; supervised: each answer and its end token.

    `special` are the tokenizer's special tokens: in a turn's text they would become control tokens, so they are
    refused, escaped (a space before the last character), or kept as they are. `images` is how many pictures the row
    has (None: as many as placeholders); of more placeholders than that, `escape` writes those inside a text as text.

    Raises:
        BadRow: naming what does not fit.
    """
    messages: list[dict[str, str]] = []
    special = tuple(special)
    for number, (turn, value) in enumerate(zip(turns, slots(turns, images, policy), strict=True)):
        role, text = ROLES.get(turn["from"]), clean(value, special, policy)
        if role is None:
            raise BadRow("unknown role")
        if role == "assistant" and IMAGE in text:
            raise BadRow("image slot in an answer")
        if role == "system" and number:
            raise BadRow("system turn after the first")
        if messages and role == messages[-1]["role"]:
            raise BadRow("two turns of one role in a row")
        messages.append({"role": role, "content": text})
    if not any(message["role"] == "assistant" for message in messages):
        raise BadRow("no answer")
    if next(message["role"] for message in messages if message["role"] != "system") != "user":
        raise BadRow("starts with an answer")
    if "generation -%}" not in jinja:  # a template of the language model's own, which marks no answers
        try:
            return Rendered(*answers(jinja, messages, special))
        except ValueError as error:
            raise BadRow(str(error)) from error
    ours = _ours(jinja)
    return _rendered(messages, jinja) if ours is None else _written(messages, *ours)


def _rendered(messages: Sequence[Mapping[str, str]], jinja: str) -> Rendered:
    """By the template itself."""
    texts, spans = render_jinja_template([list(messages)], chat_template=jinja, return_assistant_tokens_mask=True)
    return Rendered(str(texts[0]), tuple((start, end) for start, end in spans[0]))


def _written(messages: Sequence[Mapping[str, str]], shape: Template, system: str) -> Rendered:
    """What a template of this package gives, without the 2 ms that it takes."""
    text, spans = shape.start, []
    if system and messages[0]["role"] != "system":
        text += f"{shape.header.format(role='system')}{system}{shape.end}{shape.after}"
    for message in messages:
        text += shape.header.format(role=message["role"])
        begin = len(text)
        text += (message["content"].strip() if shape.trims else message["content"]) + shape.end
        spans += [(begin, len(text))] if message["role"] == "assistant" else []
        text += shape.after
    return Rendered(text, tuple(spans))


@cache
def _ours(jinja: str) -> tuple[Template, str] | None:
    """Template and default system text when `jinja` is what `chat_template` gives for them."""
    match = re.match(r"\{%- set default_system = (.*) -%\}\n", jinja)
    for name in TEMPLATES if match else ():
        system = json.loads(match[1]) if match else ""
        if jinja == chat_template(name, system):
            return template(name), system
    return None


def render_mmevol(
    turns: Sequence[Mapping[str, str]], shape: Template, has_image: bool, system: str | None = None
) -> Rendered:
    """Text and supervised characters by the reference's rule for fine-tuning, oddities included.

    A first turn that is not human is dropped, a role it does not know counts as an answer, and control tokens are
    supervised wherever they stand, also when a user typed them.
    """
    kept = list(turns if turns[0]["from"] == "human" else turns[1:])
    names = {"human": "user", "gpt": "assistant"}
    text, spans = shape.start, []
    parts = [("system", shape.system if system is None else system)]
    parts += [(names.get(turn["from"], turn["from"]), turn["value"]) for turn in kept]
    for number, (role, value) in enumerate(parts):
        if number == 0 and not value:
            continue  # a backbone without a system text; the reference always has one
        content = collapse(value) if has_image and number else value
        content = content.strip() if shape.trims else content
        turn = f"{shape.header.format(role=role)}{content}{shape.end}{shape.after}"
        if role not in ("user", "system"):
            spans.append((len(text), len(text) + len(turn)))
        text += turn
    control = re.compile("|".join(map(re.escape, shape.control)))
    spans += [match.span() for match in control.finditer(text)]
    return Rendered(text, union(spans))


def render_plain(turns: Sequence[Mapping[str, str]], start: str, has_image: bool) -> Rendered:
    """Pretraining's form: `<image>`, caption, newline; supervised: caption and newline.

    Raises:
        BadRow: unless there are exactly two turns with a placeholder in the first.
    """
    if len(turns) != 2:
        raise BadRow("plain needs exactly two turns")
    if IMAGE not in turns[0]["value"]:
        raise BadRow("plain needs a placeholder in the first turn")
    caption = turns[1]["value"]
    caption = (collapse(caption) if has_image else caption) + "\n"
    text = start + IMAGE + caption
    return Rendered(text, ((len(text) - len(caption), len(text)),))


def clean(text: str, special: Iterable[str], policy: SpecialText) -> str:
    """A turn's text with literal special tokens refused or escaped; placeholders of images are not touched."""
    if policy == "keep":
        return text
    literal = _literals(tuple(special))
    if policy == "refuse" and (found := literal.search(text)):
        raise BadRow(f"literal {found[0]} in text")
    return literal.sub(lambda found: _escaped(found[0]), text)


@cache
def _literals(special: tuple[str, ...]) -> re.Pattern[str]:
    """Finds special tokens in a text, the longest first, other than the placeholder of an image."""
    tokens = sorted((token for token in special if token and token != IMAGE), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, tokens)) or "(?!)")


def _escaped(token: str) -> str:
    return f"{token[:-1]} {token[-1]}"


def slots(turns: Sequence[Mapping[str, str]], images: int | None, policy: SpecialText) -> list[str]:
    """Texts of the turns, with the placeholders of each in front of it, one a line, as a prompt has its pictures.

    Placeholders in front of a question stand for pictures. Where there are more than pictures, and policy `escape`,
    the others are words and are written with a space; no placeholder is left out.

    Raises:
        BadRow: when placeholders and pictures do not agree.
    """
    found = [turn["value"].count(IMAGE) for turn in turns]
    if images is None or sum(found) == images:
        return [_in_front(turn["value"], count) for turn, count in zip(turns, found, strict=True)]
    heads = ["".join(LEADING.findall(turn["value"])) if ROLES.get(turn["from"]) == "user" else "" for turn in turns]
    leading = [head.count(IMAGE) for head in heads]
    if policy != "escape" or sum(leading) != images:
        raise BadRow(f"{images} images for {sum(found)} placeholders")
    rests = [
        turn["value"][len(head) :].replace(IMAGE, _escaped(IMAGE)) for turn, head in zip(turns, heads, strict=True)
    ]
    return [f"{IMAGE}\n" * count + rest.strip() if count else rest for rest, count in zip(rests, leading, strict=True)]


def _in_front(text: str, count: int) -> str:
    return (f"{IMAGE}\n" * count + text.replace(IMAGE, "").strip()).strip() if count else text


def collapse(text: str) -> str:
    """All placeholders of a turn become one at its front, on a line of its own, as in the reference."""
    if IMAGE not in text:
        return text
    return f"{IMAGE}\n{text.replace(IMAGE, '').strip()}".strip()


def union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in order, with those that touch or overlap joined."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif end > start:
            joined.append((start, end))
    return tuple(joined)


def special_tokens(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Texts that the tokenizer turns into special tokens."""
    added: dict[int, Any] = tokenizer.get_added_tokens_decoder()
    return tuple(token.content for token in added.values() if token.special)
