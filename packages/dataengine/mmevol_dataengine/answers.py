"""What the curating teacher may answer, as types, and how its text becomes one of them or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from mmevol_core.sample import Sample
from mmevol_dataengine.parsing.replies import choose, find_blocks
from mmevol_dataengine.prompts.curation_text import system_prompt
from mmevol_dataengine.recipes.speaker import Speaker

Corners = tuple[float, float, float, float]


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
    """The one object in the answer that fits the form; None when none does, or when two that differ do.

    Where the answer is, behind thinking, drafts and examples, is found as in replies about questions.
    """
    found: list[AnswerT] = []
    for value in _objects(text):
        try:
            answer = form.model_validate(value)
        except ValidationError:
            continue
        if answer not in found:
            found.append(answer)
    return found[0] if len(found) == 1 else None


def _objects(text: str) -> Iterator[Any]:
    """Whole JSON objects of the answer, outermost ones only; none that says something twice."""
    reply = find_blocks(text)
    chosen = choose(reply) if reply is not None else None
    for block in chosen[0] if chosen else []:
        try:
            value = json.loads(text[block.start : block.end], object_pairs_hook=_once)
        except ValueError:  # not whole, or a key twice
            continue
        yield from value if isinstance(value, list) else [value]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice")
    return found
