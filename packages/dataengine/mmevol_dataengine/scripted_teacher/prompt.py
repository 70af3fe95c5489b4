"""What a prompt asks: the machine-readable end of the last user message."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

_TASK = re.compile(r"^TASK:\s*(\w+)\s*$", re.MULTILINE)
_DIRECTION = re.compile(r"^DIRECTION:\s*(\w+)\s*$", re.MULTILINE)
_INPUT = re.compile(r"^INPUT:\s*", re.MULTILINE)

Corners = Annotated[list[float], Field(min_length=4, max_length=4)]


class GivenBox(TypedDict):
    """An annotated object."""

    label: str
    bbox: Corners


class GivenText(TypedDict):
    """A text in the picture."""

    text: str
    bbox: NotRequired[Corners | None]


class GivenItem(TypedDict):
    """What the teacher reads of an item; the rest of it is passed over."""

    question: str
    answer: str
    objects: NotRequired[list[str]]
    skills: NotRequired[list[str]]
    steps: NotRequired[list[dict[str, Any]]]


class GivenPair(TypedDict):
    """Two versions of an item to compare."""

    before: GivenItem
    after: GivenItem


class Given(TypedDict):
    """INPUT of either task, as ARCHITECTURE.md describes it."""

    caption: NotRequired[str]
    boxes: NotRequired[list[GivenBox]]
    ocr: NotRequired[list[GivenText]]
    items: NotRequired[list[GivenItem]]
    pairs: NotRequired[list[GivenPair]]


_GIVEN = TypeAdapter(Given)


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt taken apart; `task` is "" when it is none the teacher knows."""

    text: str
    task: str = ""
    direction: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Text of the last user message; image parts are skipped."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            parts = content if isinstance(content, list) else []
            return "\n".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")
    return ""


def read_request(text: str) -> Request:
    """Take a prompt apart; anything that does not end in TASK, DIRECTION and INPUT is a plain question."""
    tasks, directions, inputs = (list(form.finditer(text)) for form in (_TASK, _DIRECTION, _INPUT))
    if not tasks or not inputs:
        return Request(text)
    try:
        data, _ = json.JSONDecoder().raw_decode(text, inputs[-1].end())
        _GIVEN.validate_python(data)
    except (json.JSONDecodeError, ValidationError):
        return Request(text)
    return Request(text, tasks[-1].group(1), directions[-1].group(1) if directions else "", data)
