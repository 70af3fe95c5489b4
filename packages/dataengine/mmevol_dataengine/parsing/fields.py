"""From raw objects to items: the fields, their types, and what is too doubtful to keep."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from mmevol_dataengine.parsing.lexis import Bare, normal_key, read_plain
from mmevol_dataengine.parsing.reader import CONFLICT, Conflict

QA_FIELDS = frozenset({"objects", "skills", "format", "question", "steps", "answer", "answers"})
SCORE_FIELDS = frozenset({"improved", "score", "reason", "reasons"})
PLURALS = {"object": "objects", "skill": "skills", "step": "steps"}
LINKS = ("id", "parent")
_INPUT_KEYS = re.compile(
    r"original|input|before|draft|example|parent|given|source|seed|old|previous|thought|think|reasoning"
)
_OUTPUT_KEYS = re.compile(r"rewrit|evolv|after|output|result|final|new|improved|answer|data|samples|items|qas|response")
_NUMBERED = re.compile(r"[a-z_]*\d+")
_NUMBER = re.compile(r"-?(?:0|[^\D0]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")  # \d: full-width digits too
_SCORE_TEXT = re.compile(r"(\d+(?:\.\d+)?)(?:\s*(?:/|out of|of)\s*10(?:\.0+)?)?(?:\s*points?)?", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"[.…\s]*|<[^<>/]*\b(?:question|text|string|here)\b[^<>/]*>|string|str", re.IGNORECASE)
_YES, _NO = frozenset({"yes", "true", "y", "是"}), frozenset({"no", "false", "n", "否"})


class Doubt(ValueError):  # noqa: N818 - it is a verdict, not a failure
    """The objects contradict each other: nothing of them can be trusted."""


def collect(value: Any, fields: frozenset[str], depth: int = 0) -> Iterator[dict[str, Any] | None]:
    """Yield the raw objects inside lists and wrappers; None for an element of a list that is no object of ours."""
    if depth > 6:
        return
    if isinstance(value, list):
        for element in value:
            found = list(collect(element, fields, depth + 1))
            yield from found or [None]
    elif isinstance(value, dict):
        named = _named(value)
        if len(fields & named.keys()) >= 2:
            others = [part for key, part in value.items() if not _INPUT_KEYS.search(str(key).lower())]
            if any(raw for part in others for raw in collect(part, fields, depth + 1)):
                raise Doubt  # an item that holds items: a brace was lost
            yield named
        else:
            yield from _unwrap(value, fields, depth)
    elif isinstance(value, str) and not isinstance(value, Bare) and value.lstrip()[:1] in ("[", "{"):
        try:
            inner = read_plain(value)
        except ValueError:
            return
        yield from collect(inner, fields, depth + 1)


def _named(value: dict[str, Any]) -> dict[str, Any]:
    """Values by the name that is meant: in lower case, plural."""
    named: dict[str, Any] = {}
    for key, part in value.items():
        name = PLURALS.get(normal_key(key), normal_key(key))
        named[name] = part if name not in named or named[name] == part else CONFLICT
    return named


def _unwrap(value: dict[str, Any], fields: frozenset[str], depth: int) -> Iterator[dict[str, Any] | None]:
    inner = {key: [raw for raw in collect(part, fields, depth + 1) if raw is not None] for key, part in value.items()}
    inner = {key: found for key, found in inner.items() if found}
    if not inner:
        return
    if not all(_NUMBERED.fullmatch(normal_key(key)) for key in inner):
        outputs = [key for key in inner if not _INPUT_KEYS.search(key.lower()) or _OUTPUT_KEYS.search(key.lower())]
        if len(outputs) != 1:
            raise Doubt
        inner = {outputs[0]: inner[outputs[0]]}
    links = {name: value[name] for name in LINKS if name in value} if len(inner) == 1 else {}
    for key in inner:
        raws = list(collect(value[key], fields, depth + 1))
        yield from [{**links, **raw} if raw is not None else None for raw in raws] if len(raws) == 1 else raws


def qa_item(raw: dict[str, Any]) -> dict[str, Any] | None:
    """One question with answer, or None when a field is absent or doubtful."""
    objects, skills = _words(raw.get("objects")), _words(raw.get("skills"))
    question, answer = _text(raw.get("question")), _joined(raw, "answer")
    style, steps = raw.get("format"), _steps(raw.get("steps"))
    if isinstance(style, Bare) and not re.fullmatch(r"[A-Za-z][\w-]*", style):
        return None
    if objects is None or skills is None or steps is None or not isinstance(style, str) or not style.strip():
        return None
    if question is None or answer is None or _PLACEHOLDER.fullmatch(question) or _empty_answer(answer):
        return None
    item = {
        "objects": objects, "skills": skills, "format": str(style),
        "question": question, "steps": steps, "answer": answer,
    }  # fmt: skip
    return _with_link(item, raw, "parent")


def _empty_answer(answer: str) -> bool:
    """An answer may well be the word "none"; it cannot be dots, a slot, or nothing."""
    return re.fullmatch(r"[.…\s]*|<[^<>/]*\b(?:answer|text|string|here)\b[^<>/]*>", answer) is not None


def score_item(raw: dict[str, Any]) -> dict[str, Any] | None:
    """One judgement, or None."""
    improved, score, reason = _yes_no(raw.get("improved")), _score(raw.get("score")), _joined(raw, "reason")
    if improved is None or score is None or reason is None:
        return None
    return _with_link({"improved": improved, "score": score, "reason": reason}, raw, "id")


def _with_link(item: dict[str, Any], raw: dict[str, Any], key: str) -> dict[str, Any] | None:
    """Keep the id that ties the item to what it was made from, when the teacher gave one."""
    link = raw.get(key)
    if isinstance(link, Conflict):
        return None  # tied to two: whose it is cannot be told
    if isinstance(link, int) and not isinstance(link, bool):
        link = str(link)
    if isinstance(link, str) and link and link not in ("null", "None"):
        item[key] = str(link)
    return item


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and not isinstance(value, Bare) else None


def _words(value: Any) -> list[str] | None:
    """A list of strings, also when it was encoded a second time."""
    if isinstance(value, str) and not isinstance(value, Bare) and value.startswith("[") and value.endswith("]"):
        try:
            value = read_plain(value)
        except ValueError:
            return None
    if not isinstance(value, list) or not all(_text(word) is not None for word in value):
        return None
    return value


def _steps(value: Any) -> list[dict[str, str]] | None:
    if isinstance(value, str) and not isinstance(value, Bare) and value.startswith("[{") and value.endswith("}]"):
        try:
            value = read_plain(value)
        except ValueError:
            return None
    if not isinstance(value, list):
        return None
    steps = []
    for step in value:
        if not isinstance(step, dict):
            return None
        named = {normal_key(key): part for key, part in step.items()}
        manipulation, description = _text(named.get("manipulation")), _text(named.get("description"))
        if manipulation is None or description is None:
            return None
        steps.append({"manipulation": manipulation, "description": description})
    return steps


def _joined(raw: dict[str, Any], key: str) -> str | None:
    """Text of `key` or its plural; numbers as written, parts of a list or mapping joined by spaces."""
    value, plural = raw.get(key), raw.get(f"{key}s")
    if plural is not None:
        if value is not None and value != plural:
            return None
        value = plural
    if isinstance(value, Bare):
        return str(value) if _NUMBER.fullmatch(value) else None
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, dict):
        value = _parts(list(value.values()))
    if not isinstance(value, list) or not value or not all(_text(part) for part in value):
        return None
    return " ".join(value)


def _parts(parts: list[Any]) -> list[str] | None:
    """Parts of a mapping so that joining them by spaces gives one text; None where that is not sure."""
    joined: list[str] = []
    for part in parts:
        if not _text(part) or (joined and not (_touches(joined[-1], part) or _ends_clause(joined[-1], part))):
            return None
        if joined and _touches(joined[-1], part):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _touches(one: str, two: str) -> bool:
    """Is the space between two parts already in one of them?"""
    return one[-1:].isspace() or two[:1].isspace()


def _ends_clause(one: Any, two: Any) -> bool:
    """Do two parts of a mapping read as one text when joined by a space?"""
    if _text(one) is None or _text(two) is None or not one or not two:
        return False
    return one.rstrip()[-1:] in ".!?:;,。！？：；，" or two[:1].isupper() or not two[:1].isalpha()


def _yes_no(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return None
    word = value.strip(" \t\n.!。*_'\"✅❌✓✔️").lower()
    return "yes" if word in _YES else "no" if word in _NO else None


def is_schema(raw: dict[str, Any] | None) -> bool:
    """Does the object only show what a judgement looks like ("yes/no", "<score>")?"""
    improved = raw.get("improved") if raw else None
    return isinstance(improved, str) and re.search(r"yes\W.*\bno\b|<|\.\.\.", improved, re.IGNORECASE) is not None


def _score(value: Any) -> int | float | None:
    """A finite number from 0 to 10, also as `8/10` or `8 out of 10`."""
    if isinstance(value, Bare) and not _NUMBER.fullmatch(value.removesuffix("/10")):
        return None
    if isinstance(value, Bare) and "e" in value.lower():
        value = float(value)
    if isinstance(value, str):
        found = _SCORE_TEXT.fullmatch(value.strip())
        if found is None:
            return None
        value = float(found[1]) if "." in found[1] else int(found[1])
    if isinstance(value, Conflict | bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and 0 <= value <= 10 else None
