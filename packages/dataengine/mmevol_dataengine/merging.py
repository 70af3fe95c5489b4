"""Records that share their images become one: questions joined, annotations united (paper, appendix A)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson

from mmevol_core.errors import UserError
from mmevol_core.files import digest
from mmevol_core.images import plain_name
from mmevol_core.sample import QA, Box, Sample, Text, from_dict

SAME_PLACE = 0.9  # intersection over union above which two rows mean one place: sources round, and annotate anew
Corners = tuple[float, float, float, float]
PlaceT = TypeVar("PlaceT", Box, Text)


@dataclass
class Merging:
    """What merging did: records = kept + absorbed, items = kept + the same again."""

    records: int = 0
    absorbed: int = 0
    items: int = 0
    same_items: int = 0
    captions_dropped: int = 0
    same_boxes: int = 0  # boxes of absorbed records that lie on one of the same label
    same_texts: int = 0  # the same of texts in the image
    other_answers: int = 0  # kept items whose question the record has with another answer, beside the first of them


def merged(path: Path, counts: Merging, *, join: bool = True) -> Iterator[Sample]:
    """The records of a JSONL file in the order of their first appearance, those with equal images joined.

    Two passes over the file; memory holds one offset a record. Records without images, and all when `join` is off,
    stay apart.

    Raises:
        UserError: the file is missing, or a line is no record, or one that has been evolved.
    """
    try:
        groups = _groups(path, join)
        with path.open("rb") as file:
            for offsets in groups.values():
                rows = []
                for offset in offsets:
                    file.seek(offset)
                    rows.append(_seed(orjson.loads(file.readline()), f"{path} byte {offset}"))
                yield _joined(rows, counts)
    except FileNotFoundError as error:
        raise UserError(f"file not found: {path}") from error


def _seed(row: Any, where: str) -> Sample:
    sample = from_dict(row, where)
    if len(sample.rounds) > 1:
        raise UserError(
            f"{where}: record {sample.id} has {len(sample.rounds) - 1} rounds after the seed's, which curating would"
            " lose; give seed records, as `mmevol data import` writes them"
        )
    return sample


def _groups(path: Path, join: bool) -> dict[str, list[int]]:
    """Offsets of the lines that belong together, by what they share."""
    groups: dict[str, list[int]] = {}
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                try:
                    images = [*map(plain_name, orjson.loads(line).get("images") or ())] if join else []
                except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
                    raise UserError(f"{path} byte {offset}: not a record: {error}") from error
                groups.setdefault(digest(images) if images else str(offset), []).append(offset)
            offset += len(line)
    return groups


def _joined(rows: list[Sample], counts: Merging) -> Sample:
    """One record of several: the first one's id, the longest caption, everything else once."""
    first = rows[0]
    items = [item for row in rows for item in row.latest]
    kept = _once(items)
    counts.records += len(rows)
    counts.absorbed += len(rows) - 1
    counts.items += len(items)
    counts.same_items += len(items) - len(kept)
    counts.other_answers += len(kept) - len({_plain(item.question) for item in kept})
    boxes, texts = _places((row.boxes for row in rows), _label), _places((row.ocr for row in rows), _text)
    counts.same_boxes += sum(len(row.boxes) for row in rows) - len(boxes)
    counts.same_texts += sum(len(row.ocr) for row in rows) - len(texts)
    captions = list(dict.fromkeys(row.caption for row in rows if row.caption))
    counts.captions_dropped += max(0, len(captions) - 1)
    return replace(
        first,
        sizes=next((row.sizes for row in rows if row.sizes), ()),
        caption=max(captions, key=len, default=""),
        boxes=boxes,
        ocr=texts,
        topic=next((row.topic for row in rows if row.topic), ""),
        source="+".join(dict.fromkeys(row.source for row in rows if row.source)),
        license="+".join(dict.fromkeys(row.license for row in rows if row.license)),
        rounds=(tuple(kept),),
    )


def _places(rows: Iterable[tuple[PlaceT, ...]], name: Callable[[PlaceT], str]) -> tuple[PlaceT, ...]:
    """The places of the first row, and of each later one those that no earlier row has, under the same name."""
    kept: list[PlaceT] = []
    for row in rows:
        kept += [new for new in row if not any(name(new) == name(old) and _same(new.xyxy, old.xyxy) for old in kept)]
    return tuple(kept)


def _same(one: Corners | None, other: Corners | None) -> bool:
    """Equal, or more than `SAME_PLACE` of what both cover is covered by each."""
    if one is None or other is None or one == other:
        return one == other
    shared = _area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))
    return shared > SAME_PLACE * (_area(one) + _area(other) - shared)


def _area(box: Corners) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _label(box: Box) -> str:
    return _plain(box.label)


def _text(text: Text) -> str:
    return text.text.strip()


def _once(items: Iterable[QA]) -> list[QA]:
    """Items whose question and answer differ in more than case and blanks; ids too are made distinct."""
    seen: dict[tuple[str, str], QA] = {}
    for item in items:
        seen.setdefault((_plain(item.question), _plain(item.answer)), item)
    ids: set[str] = set()
    kept = []
    for item in seen.values():
        unique = item if item.id not in ids else replace(item, id=digest([item.id, item.question, item.answer]))
        ids.add(unique.id)
        kept.append(unique)
    return kept


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
