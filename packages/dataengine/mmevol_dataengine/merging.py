"""Records that share their images become one: questions joined, annotations united (paper, appendix A)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from mmevol_core.errors import UserError
from mmevol_core.files import digest
from mmevol_core.sample import QA, Sample, from_dict


@dataclass
class Merging:
    """What merging did: records = kept + absorbed, items = kept + the same again."""

    records: int = 0
    absorbed: int = 0
    items: int = 0
    same_items: int = 0
    captions_dropped: int = 0
    other_answers: int = 0  # kept items whose question the record has with another answer, beside the first of them


def merged(path: Path, counts: Merging, *, join: bool = True) -> Iterator[Sample]:
    """The records of a JSONL file in the order of their first appearance, those with equal images joined.

    Two passes over the file; memory holds one offset a record. Records without images, and all when `join` is off,
    stay apart.

    Raises:
        UserError: the file is missing, or a line is no record.
    """
    try:
        groups = _groups(path, join)
        with path.open("rb") as file:
            for offsets in groups.values():
                rows = []
                for offset in offsets:
                    file.seek(offset)
                    rows.append(from_dict(orjson.loads(file.readline()), f"{path} byte {offset}"))
                yield _joined(rows, counts)
    except FileNotFoundError as error:
        raise UserError(f"file not found: {path}") from error


def _groups(path: Path, join: bool) -> dict[str, list[int]]:
    """Offsets of the lines that belong together, by what they share."""
    groups: dict[str, list[int]] = {}
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                try:
                    images = orjson.loads(line).get("images") if join else None
                except (orjson.JSONDecodeError, AttributeError) as error:
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
    captions = list(dict.fromkeys(row.caption for row in rows if row.caption))
    counts.captions_dropped += max(0, len(captions) - 1)
    return replace(
        first,
        sizes=next((row.sizes for row in rows if row.sizes), ()),
        caption=max(captions, key=len, default=""),
        boxes=tuple(dict.fromkeys(box for row in rows for box in row.boxes)),
        ocr=tuple(dict.fromkeys(text for row in rows for text in row.ocr)),
        topic=next((row.topic for row in rows if row.topic), ""),
        source="+".join(dict.fromkeys(row.source for row in rows if row.source)),
        license="+".join(dict.fromkeys(row.license for row in rows if row.license)),
        rounds=(tuple(kept),),
    )


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
