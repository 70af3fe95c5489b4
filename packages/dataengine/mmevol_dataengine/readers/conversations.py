"""LLaVA and ShareGPT rows: a conversation read once, then a record of ours or a row of LLaVA's.

Whatever one of the two cannot carry is refused or noted by name; nothing is changed in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmevol_core.sample import QA, Sample
from mmevol_dataengine.readers.values import MARK, BadRow, check_unicode, images_of, list_of, plain_text, text_of

_ROLES = {"user": "human", "assistant": "gpt", "model": "gpt", "chatgpt": "gpt", "bot": "gpt"}
_LEADING = re.compile(rf"\A(?:\s*{MARK})+\s*")
_TRAILING = re.compile(rf"(?:\n|(?<=[.?!。？！]))(?:\s*{MARK})+\s*\Z")


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation: questions and answers by turns, an even number, with the marks where the row has them.

    There are no marks, or as many as images, all of them in questions. `system` is None where there is no such turn.
    `changes` names what was left out of the row.
    """

    images: tuple[str, ...]
    turns: tuple[str, ...]
    system: str | None = None
    changes: tuple[str, ...] = ()


def talk_of(row: dict[str, Any]) -> Talk:
    """Read `conversations` (from, value), `messages` (role, content, also in parts) or `texts` (user, assistant).

    A last question without an answer is left out when a whole exchange remains: `last_question_dropped`.

    Raises:
        BadRow: it is no conversation, or its marks do not fit its images.
    """
    turns = _turns(row)
    system = turns.pop(0)[1] if turns and turns[0][0] == "system" else None
    roles, texts = [role for role, _ in turns], [text for _, text in turns]
    if len(turns) < 2:
        raise BadRow("no_questions", "fewer than two turns")
    if roles != [("human", "gpt")[place % 2] for place in range(len(roles))]:
        raise BadRow("turns_do_not_alternate", f"turns are {', '.join(roles)[:80]}")
    unanswered = texts.pop() if len(texts) % 2 else None
    if MARK in (unanswered or ""):
        raise BadRow("image_marks_differ", f"{MARK} stands in a last question that nothing answers")
    if not all(text.replace(MARK, "").strip() for text in texts):
        raise BadRow("no_questions", "a turn is empty")
    images = images_of(row)
    check_unicode([*texts, *images, system or ""])
    _check_marks(texts, system or "", len(images))
    return Talk(images, tuple(texts), system, () if unanswered is None else ("last_question_dropped",))


def _check_marks(texts: Sequence[str], system: str, images: int) -> None:
    """The rule of training: an answer shows no picture, and questions have a mark for each image; or none has one."""
    if any(MARK in answer for answer in texts[1::2]):
        raise BadRow("image_mark_in_answer", f"{MARK} stands in an answer")
    if MARK in system:
        raise BadRow("image_mark_in_text", f"{MARK} stands in the system prompt")
    marks = sum(question.count(MARK) for question in texts[::2])
    if marks not in (0, images):
        raise BadRow("image_marks_differ", f"{marks} times {MARK} for {images} images")


def from_conversations(row: dict[str, Any], noted: list[str]) -> Sample:
    """A record of a conversation. It shows all images before its first question, and has no marks and no system prompt.

    `noted` gets the names of what was changed, among them `image_mark_moved` for marks behind the first question and
    `system_prompt_dropped`.

    Raises:
        BadRow: as `talk_of`, and for marks within a text or in a later question, whose place would be lost.
    """
    talk = talk_of(row)
    changes = [*talk.changes, *(["system_prompt_dropped"] if talk.system else [])]
    first = _unmarked(talk.turns[0], changes)
    if any(MARK in text for text in talk.turns[1:]):
        raise BadRow("image_mark_in_text", f"{MARK} stands in a later turn; records show images before the first")
    texts = [first, *talk.turns[1:]]
    items = tuple(QA(id="", question=texts[at], answer=texts[at + 1]) for at in range(0, len(texts), 2))
    noted += changes
    return Sample(id="", images=talk.images, source=text_of(row, "source") or "llava", rounds=(items,))


def _unmarked(question: str, changes: list[str]) -> str:
    """The question without the marks that stand before it, or after it and apart."""
    if MARK not in question:
        return question
    bare = _LEADING.sub("", question)
    if bare == question:
        bare = _TRAILING.sub("", question)
        changes.append("image_mark_moved")
    if MARK in bare:
        raise BadRow("image_mark_in_text", f"{MARK} stands within the question; records show images before it")
    return bare.strip()


def llava_row(talk: Talk, images: Sequence[str], noted: list[str]) -> dict[str, Any]:
    """The conversation with LLaVA's keys, the system prompt as its first turn; `images` are the names to write.

    Images without a mark get theirs at the beginning: `image_mark_added` among what is `noted`.
    """
    texts = list(talk.turns)
    noted += talk.changes
    if images and not any(MARK in text for text in texts):
        texts[0] = f"{MARK}\n" * len(images) + texts[0]
        noted.append("image_mark_added")
    turns = [] if talk.system is None else [{"from": "system", "value": talk.system}]
    turns += [{"from": "gpt" if place % 2 else "human", "value": text} for place, text in enumerate(texts)]
    picture = {"image": images[0] if len(images) == 1 else list(images)} if images else {}
    return {**picture, "conversations": turns}


def _turns(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(role, text) of every turn, the roles named as LLaVA does."""
    if "texts" in row:
        pairs = list_of(row, "texts")
        return [(role, text_of(pair, key)) for pair in pairs for role, key in (("human", "user"), ("gpt", "assistant"))]
    first, *others = [list(map(_turn, list_of(row, key))) for key in ("conversations", "messages") if row.get(key)] or [
        []
    ]
    if any(turns != first for turns in others):
        raise BadRow("turn_keys_differ", "conversations and messages say different things")
    return first


def _turn(turn: Any) -> tuple[str, str]:
    role, content = ("from", "value") if isinstance(turn, dict) and "from" in turn else ("role", "content")
    name, said = text_of(turn, role).lower(), turn.get(content, "")
    parts = said if isinstance(said, list) else [said]
    return _ROLES.get(name, name), "\n".join(map(_part, parts)).strip()


def _part(part: Any) -> str:
    """A part of a content as text: a picture is a mark; BadRow for what is neither."""
    if not isinstance(part, dict):
        return plain_text(part, "a content")
    if "image" in str(part.get("type", "")):
        return MARK
    if "text" not in part:
        raise BadRow("does_not_fit", f"a content has a part {str(part.get('type'))[:40]!r}, neither text nor image")
    return text_of(part, "text")
