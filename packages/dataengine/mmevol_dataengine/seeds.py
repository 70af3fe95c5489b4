"""Readers of seed files: a row becomes a `Sample`, or a counted failure with its reason; nothing gets lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ijson

from mmevol_core.errors import UserError
from mmevol_core.files import digest, read_jsonl
from mmevol_core.sample import QA, Box, Sample, Step, Text, from_dict, qa_id, sample_id
from mmevol_dataengine.vocabulary import normal_format, normal_skill

BOX_SLACK = 1e-3  # boxes in public files are rounded to three decimals and may pass the edge by that much


class BadRow(Exception):  # noqa: N818 - a row's failure, not a defect
    """A row that cannot become a sample; `reason` is a name to count, `detail` is for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed row that was refused: its number in the file (from 1), its own id, and why."""

    row: int
    id: str
    reason: str
    detail: str


def read_mmevol(path: Path) -> Iterator[Sample | Failure]:
    """Stream MMEvol's seed JSON (`conversations_v0`, `caption`, `det`, `topic_name`); memory does not grow with it."""
    return _convert(_json_rows(path), _from_mmevol)


def read_llava(path: Path) -> Iterator[Sample | Failure]:
    """Stream LLaVA JSON (`image`: none, one or several; `conversations`: human and gpt turns, also as ShareGPT)."""
    return _convert(_json_rows(path), _from_llava)


def read_sample_rows(path: Path) -> Iterator[Sample | Failure]:
    """Stream JSONL of `Sample`; a row that does not fit is a failure."""
    return _convert(read_jsonl(path), _from_sample)


def _json_rows(path: Path) -> Iterator[Any]:
    """The elements of a JSON list, one at a time."""
    try:
        with path.open("rb") as file:
            events = ijson.basic_parse(file, use_float=True)
            if next(events)[0] != "start_array":
                raise UserError(f"{path} is not a JSON list of records")
            file.seek(0)
            yield from ijson.items(file, "item", use_float=True)
    except FileNotFoundError as error:
        raise UserError(f"file not found: {path}") from error
    except (ijson.JSONError, StopIteration) as error:
        raise UserError(f"{path} is not whole JSON: {error}; download it again") from error


def _convert(rows: Iterator[Any], convert: Callable[[Any], Sample]) -> Iterator[Sample | Failure]:
    """Convert rows one by one; ids are content hashes, and repeated records get distinct ones."""
    seen: Counter[str] = Counter()
    for number, row in enumerate(rows, start=1):
        own = str(row.get("id", "")) if isinstance(row, dict) else ""
        try:
            if not isinstance(row, dict):
                raise BadRow("not_an_object", f"a {type(row).__name__} instead of a record")
            sample = convert(row)
        except BadRow as bad:
            yield Failure(number, own, bad.reason, bad.detail)
            continue
        key = digest([own, sample.images])
        identity = sample.id or sample_id(own, sample.images, seen[key])
        if sample.id and seen[key]:
            identity = sample_id(sample.id, sample.images, seen[key])
        seen[key] += 1
        yield _identified(sample, identity)


def _identified(sample: Sample, identity: str) -> Sample:
    """Give the sample its id, and every item that has none an id that depends on it."""
    if sample.id == identity:
        return sample
    generation = tuple(
        replace(item, id=qa_id(identity, item.question, item.answer, place=place))
        for place, item in enumerate(sample.rounds[0])
    )
    return replace(sample, id=identity, rounds=(generation, *sample.rounds[1:]))


def _from_mmevol(row: dict[str, Any]) -> Sample:
    items = _list(row, "conversations_v0")
    if not items:
        raise BadRow("no_questions", "conversations_v0 is empty or absent")
    turns = _list(row, "caption")
    return Sample(
        id="",
        images=_images(row),
        caption=_text(turns[1], "value") if len(turns) > 1 else "",
        boxes=tuple(_box(entry) for entry in _list(row, "det")),
        ocr=tuple(Text(text=_text(entry, "text"), xyxy=_xyxy(entry.get("bbox"), "ocr")) for entry in _list(row, "ocr")),
        topic=str(row.get("topic_name") or ""),
        source=str(row.get("source") or "mmevol_seed"),
        rounds=(tuple(_item(item) for item in items),),
    )


def _item(value: Any) -> QA:
    question, answer = _text(value, "question"), _text(value, "answer")
    if not question or not answer:
        raise BadRow("no_questions", "an item has an empty question or answer")
    return QA(
        id="",
        question=question,
        answer=answer,
        objects=tuple(str(name) for name in _list(value, "objects")),
        skills=tuple(dict.fromkeys(normal_skill(str(name)) for name in _list(value, "skills"))),
        format=normal_format(str(value.get("format") or "")),
        steps=tuple(
            Step(manipulation=_text(step, "manipulation"), description=_text(step, "description"))
            for step in _list(value, "steps")
        ),
        image_position=str(value.get("image_position") or "single"),
    )


def _from_llava(row: dict[str, Any]) -> Sample:
    turns = [turn for turn in _list(row, "conversations") if _role(turn) != "system"]
    if len(turns) < 2:
        raise BadRow("no_questions", "conversations has fewer than two turns")
    roles = [_role(turn) for turn in turns]
    if len(turns) % 2 or roles != ["human", "gpt"] * (len(turns) // 2):
        raise BadRow("turns_do_not_alternate", f"turns are {', '.join(roles)[:80]}")
    texts = [_text(turn, "value").replace("<image>", "").strip() for turn in turns]
    if not all(texts):
        raise BadRow("no_questions", "a turn is empty")
    images = _images(row) if row.get("image") else ()
    items = tuple(QA(id="", question=texts[at], answer=texts[at + 1]) for at in range(0, len(texts), 2))
    return Sample(id="", images=images, source=str(row.get("source") or "llava"), rounds=(items,))


def _role(turn: Any) -> str:
    name = _text(turn, "from").lower()
    return {"user": "human", "assistant": "gpt"}.get(name, name)


def _from_sample(row: dict[str, Any]) -> Sample:
    try:
        sample = from_dict(row, "row")
    except UserError as error:
        raise BadRow("does_not_fit", str(error)) from error
    if not sample.rounds or not sample.rounds[0]:
        raise BadRow("no_questions", "rounds has no seed items")
    for box in sample.boxes:
        _xyxy(list(box.xyxy), box.label)
    return sample


def _images(row: dict[str, Any]) -> tuple[str, ...]:
    value = row.get("image")
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise BadRow("no_image", f"image is {str(value)[:40]!r}")
    return tuple(names)


def _box(entry: Any) -> Box:
    label = _text(entry, "label")
    corners = _xyxy(entry.get("bbox"), label)
    if corners is None:
        raise BadRow("box_malformed", f"{label!r} has no corners")
    return Box(label=label, xyxy=corners)


def _xyxy(value: Any, label: str) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom as shares of the image; None when absent; BadRow when outside 0..1 or inside out."""
    if value is None:
        return None
    try:
        left, top, right, bottom = map(float, value)
    except (TypeError, ValueError) as error:
        raise BadRow("box_malformed", f"{label!r}: {str(value)[:60]}") from error
    low, high = -BOX_SLACK, 1 + BOX_SLACK
    if not (low <= left <= high and low <= top <= high and low <= right <= high and low <= bottom <= high):  # nor NaN
        raise BadRow("box_outside", f"{label!r}: {value}")
    left, top, right, bottom = max(0.0, left), max(0.0, top), min(1.0, right), min(1.0, bottom)
    if left > right or top > bottom:
        raise BadRow("box_malformed", f"{label!r}: corners are swapped: {value}")
    return (left, top, right, bottom)


def _list(row: Any, key: str) -> list[Any]:
    value = row.get(key) if isinstance(row, dict) else None
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRow("does_not_fit", f"{key} is a {type(value).__name__}, not a list")
    return value


def _text(row: Any, key: str) -> str:
    if not isinstance(row, dict):
        raise BadRow("does_not_fit", f"{str(row)[:40]!r} is not an object with {key!r}")
    value = row.get(key)
    return "" if value is None else str(value).strip()
