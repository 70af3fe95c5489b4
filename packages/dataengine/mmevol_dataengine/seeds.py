"""Readers of seed files: a row becomes a `Sample`, or a counted failure with its reason; nothing gets lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import orjson

from mmevol_core.errors import UserError
from mmevol_core.files import digest, read_jsonl
from mmevol_core.json_stream import json_rows
from mmevol_core.sample import QA, Box, Sample, Step, Text, from_dict, qa_id, sample_id
from mmevol_dataengine.readers.conversations import from_conversations
from mmevol_dataengine.readers.values import MARK, BadRow, images_of, list_of, names_of, printable, text_of
from mmevol_dataengine.vocabulary import normal_format, normal_skill

_KNOWN, _KNOWN_ITEM = ({one.name for one in fields(form)} for form in (Sample, QA))
BOX_SLACK = 1e-3  # boxes in public files are rounded to three decimals and may pass the edge by that much


Changes = dict[int, tuple[str, ...]]  # number of a row that was taken over with a change -> names of its changes


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed row that was refused: its number in the file (from 1), its own id, and why."""

    row: int
    id: str
    reason: str
    detail: str


def read_mmevol(path: Path, *, captions_alone: bool = False) -> Iterator[Sample | Failure]:
    """Stream MMEvol's seed JSON (`conversations_v0`, `caption`, `det`, `topic_name`); memory does not grow with it.

    `captions_alone` lets through rows that have a caption and no question yet (round 0 is empty), for curation.
    """
    return convert(json_rows(path), lambda row, _: from_mmevol(row, captions_alone))


def read_llava(path: Path, changes: Changes | None = None) -> Iterator[Sample | Failure]:
    """Stream LLaVA or ShareGPT JSON: `image`/`images` none, one or several; `conversations` or `messages`.

    `changes` gets the rows that are taken over with a change, each right before it is given.
    """
    return convert(json_rows(path), from_conversations, changes)


def read_sample_rows(
    path: Path, *, captions_alone: bool = False, evolved: bool = False, changes: Changes | None = None
) -> Iterator[Sample | Failure]:
    """Stream JSONL of `Sample`; a row that does not fit is a failure. `evolved` lets through rows with later rounds."""
    return convert(read_jsonl(path), lambda row, noted: from_sample(row, noted, captions_alone, evolved), changes)


def read_table(
    path: Path, image_root: Path | None, *, captions_alone: bool = False, changes: Changes | None = None
) -> Iterator[Sample | Failure]:
    """Stream Parquet or a saved data set; a row's columns say which of the layouts it has; `changes` as above.

    Pictures inside become files below `image_root`; without one they are only named.
    """
    from mmevol_dataengine.readers.tables import table_rows  # pyarrow, only where it is needed

    return convert(table_rows(path, image_root), lambda row, noted: from_any(row, captions_alone, noted), changes)


def convert(
    rows: Iterator[Any], one: Callable[[Any, list[str]], Sample], changes: Changes | None = None
) -> Iterator[Sample | Failure]:
    """Convert rows one by one; ids are content hashes, and repeated records get distinct ones.

    `one` also adds the names of what it changed to the list that it is given; these go to `changes` by row.
    """
    seen: Counter[str] = Counter()
    used: set[str] = set()
    for number, row in enumerate(rows, start=1):
        own = printable(str(row.get("id", ""))) if isinstance(row, dict) else ""
        noted: list[str] = []
        try:
            if not isinstance(row, dict):
                raise BadRow("not_an_object", f"a {type(row).__name__} instead of a record")
            sample = one(row, noted)
            _check_writable(sample)
        except BadRow as bad:
            yield Failure(number, own, bad.reason, bad.detail)
            continue
        key = digest([own, sample.images])
        identity = sample.id or sample_id(own, sample.images, seen[key])
        while identity in used:
            identity = sample_id(sample.id or own, sample.images, seen[key])
            seen[key] += 1
        seen[key] += 1
        used.add(identity)
        if noted and changes is not None:
            changes[number] = tuple(noted)
        yield _identified(sample, identity)


def _check_writable(sample: Sample) -> None:
    try:
        orjson.dumps(sample)
    except TypeError as error:  # half of a surrogate pair, which JSON files may hold
        raise BadRow("not_unicode", str(error)) from error


def _identified(sample: Sample, identity: str) -> Sample:
    """Give the sample its id, and every item that has none an id that depends on it."""
    if sample.id == identity:
        return sample
    generation = tuple(
        replace(item, id=qa_id(identity, item.question, item.answer, place=place))
        for place, item in enumerate(sample.rounds[0])
    )
    return replace(sample, id=identity, rounds=(generation, *sample.rounds[1:]))


def from_any(row: dict[str, Any], captions_alone: bool, noted: list[str]) -> Sample:
    """A row of whichever layout its keys show: `rounds`, `conversations_v0`, or a conversation (`noted`: see there)."""
    if "rounds" in row:
        return from_sample(row, noted, captions_alone)
    if "conversations_v0" in row:
        return from_mmevol(row, captions_alone)
    return from_conversations(row, noted)


def from_mmevol(row: dict[str, Any], captions_alone: bool = False) -> Sample:
    """A row of MMEvol's seed file."""
    images = images_of(row)
    if not images:
        raise BadRow("no_image", "image is empty or absent, and the row is about one")
    items, turns = list_of(row, "conversations_v0"), list_of(row, "caption")
    caption = text_of(turns[1], "value") if len(turns) > 1 else ""
    if not items and not (captions_alone and caption):
        raise BadRow("no_questions", "conversations_v0 is empty or absent")
    return Sample(
        id="",
        images=images,
        caption=caption,
        boxes=tuple(_box(entry) for entry in list_of(row, "det")),
        ocr=tuple(
            Text(text=text_of(entry, "text"), xyxy=_xyxy(entry.get("bbox"), "ocr")) for entry in list_of(row, "ocr")
        ),
        topic=text_of(row, "topic_name"),
        source=text_of(row, "source") or "mmevol_seed",
        rounds=(tuple(_item(item) for item in items),),
    )


def _item(value: Any) -> QA:
    question, answer = text_of(value, "question"), text_of(value, "answer")
    if not question or not answer:
        raise BadRow("no_questions", "an item has an empty question or answer")
    _check_unmarked(question, answer)
    return QA(
        id="",
        question=question,
        answer=answer,
        objects=tuple(names_of(value, "objects")),
        skills=tuple(dict.fromkeys(normal_skill(name) for name in names_of(value, "skills"))),
        format=normal_format(text_of(value, "format")),
        steps=tuple(
            Step(manipulation=text_of(step, "manipulation"), description=text_of(step, "description"))
            for step in list_of(value, "steps")
        ),
        image_position=text_of(value, "image_position") or "single",
    )


def from_sample(row: dict[str, Any], noted: list[str], captions_alone: bool = False, evolved: bool = False) -> Sample:
    """A row of our own. A seed has round 0 alone: rounds are counted from it when it is evolved and mixed.

    `noted` gets `unknown_keys_dropped` and, for seeds, `item_ids_renewed` where ids of items are empty or repeated.
    """
    try:
        sample = from_dict(row, "row")
    except UserError as error:
        raise BadRow("does_not_fit", str(error)) from error
    if not (sample.rounds and sample.rounds[0]) and not (captions_alone and sample.caption):
        raise BadRow("no_questions", "rounds has no seed items")
    if not evolved and len(sample.rounds) > 1:
        raise BadRow(
            "has_rounds", f"{len(sample.rounds) - 1} rounds after the seed's; leave only the one to start from"
        )
    if any(not (item.question.strip() and item.answer.strip()) for items in sample.rounds for item in items):
        raise BadRow("no_questions", "an item has an empty question or answer")
    if not all(sample.images):
        raise BadRow("no_image", "the name of an image is empty")
    for item in (item for items in sample.rounds for item in items):
        _check_unmarked(item.question, item.answer)
    sample = sample if sample.rounds else replace(sample, rounds=((),))
    for box in sample.boxes:
        _xyxy(list(box.xyxy), box.label)
    if not (
        row.keys() <= _KNOWN and all(item.keys() <= _KNOWN_ITEM for items in row.get("rounds", ()) for item in items)
    ):
        noted.append("unknown_keys_dropped")
    return sample if evolved else _with_item_ids(sample, noted)


def _with_item_ids(seed: Sample, noted: list[str]) -> Sample:
    """The seed with distinct ids of its items: parents are named by them."""
    seen = {""}
    items = []
    for place, item in enumerate(seed.rounds[0]):
        fresh = item.id not in seen
        own = item.id if fresh else qa_id(seed.id, item.question, item.answer, place=place)
        items.append(item if fresh else replace(item, id=own))
        seen.add(own)
    if tuple(items) == seed.rounds[0]:
        return seed
    noted.append("item_ids_renewed")
    return replace(seed, rounds=(tuple(items),))


def _check_unmarked(question: str, answer: str) -> None:
    """Items of records have no marks: each would show a picture too many once the record is a conversation."""
    if MARK in question or MARK in answer:
        raise BadRow("image_mark_in_text", f"{MARK} stands in an item: {question[:60]!r}")


def _box(entry: Any) -> Box:
    label = text_of(entry, "label")
    corners = _xyxy(entry.get("bbox"), label)
    if corners is None or not label:
        raise BadRow("box_malformed", f"{label!r}: a box needs a label and its corners")
    return Box(label=label, xyxy=corners)


def _xyxy(value: Any, label: str) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom as shares of the image; None when absent; BadRow when outside 0..1 or inside out."""
    if value is None:
        return None
    try:
        left, top, right, bottom = map(float, value if isinstance(value, list | tuple) else ())
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRow("box_malformed", f"{label!r}: {str(value)[:60]}") from error
    low, high = -BOX_SLACK, 1 + BOX_SLACK
    if not (low <= left <= high and low <= top <= high and low <= right <= high and low <= bottom <= high):  # nor NaN
        raise BadRow("box_outside", f"{label!r}: {value}")
    left, top, right, bottom = max(0.0, left), max(0.0, top), min(1.0, right), min(1.0, bottom)
    if left > right or top > bottom:
        raise BadRow("box_malformed", f"{label!r}: corners are swapped: {value}")
    return (left, top, right, bottom)
