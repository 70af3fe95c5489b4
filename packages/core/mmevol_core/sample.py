"""The records that travel from seed to report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mmevol_core.errors import UserError
from mmevol_core.files import digest, read_jsonl, write_jsonl

SKILLS = (  # MMEvol section 2.2: five vision-centric, four language-centric
    "grounding", "referencing", "calculating", "ocr", "existence",
    "relationship description", "context understanding", "behavior prediction", "knowledge integration",
)  # fmt: skip
DIRECTIONS = ("fine_grained_perception", "cognitive_reasoning", "interaction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A labelled region; xyxy are left, top, right, bottom as shares of the image (0..1)."""

    label: str
    xyxy: tuple[float, float, float, float]
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Text read in the image (OCR), with its place as in `Box`."""

    text: str
    xyxy: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One visual manipulation of a solution, for example `grounding_1(cat)->bbx_1`, and what it does."""

    manipulation: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QA:
    """One question and answer. Scores and parents refer to `id`, never to a position.

    `direction`, `parent`, `score` (0-10), `reason`, `teacher` and `prompt_version` are set on evolved items only.
    """

    id: str
    question: str
    answer: str
    objects: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    format: str = ""
    steps: tuple[Step, ...] = ()
    image_position: str = "single"
    direction: str | None = None
    parent: str | None = None
    score: float | None = None
    reason: str | None = None
    teacher: str | None = None
    prompt_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An image (or several) with its annotations and every generation of its questions.

    `images` are relative to an image root; `rounds[0]` is the seed, `rounds[n]` what survived round n.
    """

    id: str
    images: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...] = ()  # (width, height) of each image, pixels
    caption: str = ""
    boxes: tuple[Box, ...] = ()
    ocr: tuple[Text, ...] = ()
    topic: str = ""
    source: str = ""
    license: str = ""
    rounds: tuple[tuple[QA, ...], ...] = ()

    @property
    def latest(self) -> tuple[QA, ...]:
        """The newest generation that is not empty (an eliminated round leaves its parents in force)."""
        return next((generation for generation in reversed(self.rounds) if generation), ())

    def evolved(self, generation: tuple[QA, ...]) -> Sample:
        """The same sample with one more round."""
        return replace(self, rounds=(*self.rounds, generation))


def sample_id(source: str, images: Iterable[str], number: int) -> str:
    """Id of a seed record; `number` tells apart records that share source and images."""
    return digest([source, list(images), number])


def qa_id(sample: str, question: str, answer: str, parent: str | None = None, place: int = 0) -> str:
    """Content id of one item; `place` tells apart equal items of one sample."""
    return digest([sample, question, answer, parent, place])


@cache
def _adapter() -> TypeAdapter[Sample]:
    return TypeAdapter(Sample)


def to_dict(sample: Sample) -> dict[str, Any]:
    """Plain JSON-ready form of a sample."""
    return dict(_adapter().dump_python(sample, mode="json", exclude_defaults=True))


def from_dict(value: Any, where: str) -> Sample:
    """Read one sample; UserError naming `where` and the field when it does not fit."""
    try:
        return _adapter().validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where}: field {field or '(record)'}: {first['msg']}") from error


def read_samples(path: Path) -> Iterator[Sample]:
    """Yield the samples of a JSONL file in file order."""
    for number, row in enumerate(read_jsonl(path), start=1):
        yield from_dict(row, f"{path} record {number}")


def write_samples(path: Path, samples: Iterable[Sample]) -> int:
    """Write samples as JSONL, atomically; return how many."""
    return write_jsonl(path, (to_dict(sample) for sample in samples))
