"""What the curating teacher may answer, as types, and how its text becomes one of them or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from mmevol_core.sample import Sample
from mmevol_dataengine.prompts.curation_text import system_prompt
from mmevol_dataengine.recipes.speaker import Speaker

Corners = tuple[float, float, float, float]
_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)


class Match(BaseModel):
    """Whether text and image belong together."""

    match: Literal["yes", "no"]
    reason: str = ""


class Caption(BaseModel):
    """A description."""

    caption: str = Field(min_length=1)


class FoundBox(BaseModel):
    """An object and its place, shares of the image."""

    label: str
    bbox: Corners


class Boxes(BaseModel):
    """Objects found."""

    boxes: list[FoundBox]


class FoundText(BaseModel):
    """A line of text and its place."""

    text: str
    bbox: Corners | None = None


class Texts(BaseModel):
    """Text found."""

    ocr: list[FoundText]


class Pair(BaseModel):
    """A question and its answer."""

    question: str
    answer: str


class Questions(BaseModel):
    """First questions."""

    items: list[Pair]


class FoundStep(BaseModel):
    """A step of a solution."""

    manipulation: str
    description: str


class Entry(BaseModel):
    """What belongs to the item `id`."""

    id: str
    objects: list[str]
    skills: list[str]
    steps: list[FoundStep]


class Backfill(BaseModel):
    """Objects, skills and steps of several items."""

    items: list[Entry]


AnswerT = TypeVar("AnswerT", bound=BaseModel)


async def ask(voice: Speaker, prompt: str, sample: Sample, form: type[AnswerT], attempts: int) -> AnswerT | None:
    """The answer in its form, None when no attempt gave one that can be read.

    Raises:
        ChatFailure, ImageFailure: this row failed.
        UserError: the run has to stop.
    """
    for attempt in range(attempts):
        text = await voice.ask(system_prompt(), prompt, sample, attempt, form.model_json_schema())
        answer = read(text, form)
        if answer is not None:
            return answer
    return None


def read(text: str, form: type[AnswerT]) -> AnswerT | None:
    """The one object in the text that fits the form; None when none does, or when two that differ do."""
    found: list[AnswerT] = []
    for value in _objects(_THINKING.sub("", text)):
        try:
            answer = form.model_validate(value)
        except ValidationError:
            continue
        if answer not in found:
            found.append(answer)
    return found[0] if len(found) == 1 else None


def _objects(text: str) -> Iterator[Any]:
    """Whole JSON objects of a text, outermost ones only."""
    decoder, place = json.JSONDecoder(), text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except json.JSONDecodeError:
            end = place + 1
        else:
            yield value
        place = text.find("{", end)
