"""Readers of seed files: a row becomes a `Sample`, or a counted failure with its reason; nothing gets lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.files import digest, read_jsonl
from mmevol_core.json_stream import json_rows
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


def read_mmevol(path: Path, *, captions_alone: bool = False) -> Iterator[Sample | Failure]:
    """Stream MMEvol's seed JSON (`conversations_v0`, `caption`, `det`, `topic_name`); memory does not grow with it.

    `captions_alone` lets through rows that have a caption and no question yet (round 0 is empty), for curation.
    """
    return convert(json_rows(path), lambda row: from_mmevol(row, captions_alone))


def read_llava(path: Path) -> Iterator[Sample | Failure]:
    """Stream LLaVA or ShareGPT JSON: `image`/`images` none, one or several; `conversations` or `messages`."""
    return convert(json_rows(path), from_conversations)


def read_sample_rows(path: Path, *, captions_alone: bool = False, evolved: bool = False) -> Iterator[Sample | Failure]:
    """Stream JSONL of `Sample`; a row that does not fit is a failure. `evolved` lets through rows with later rounds."""
    return convert(read_jsonl(path), lambda row: from_sample(row, captions_alone, evolved))


def read_table(path: Path, image_root: Path, *, captions_alone: bool = False) -> Iterator[Sample | Failure]:
    """Stream Parquet or a saved data set; each row's columns say which of the layouts it has."""
    from mmevol_dataengine.readers.tables import table_rows  # pyarrow, only where it is needed

    return convert(table_rows(path, image_root), lambda row: from_any(row, captions_alone))


def convert(rows: Iterator[Any], one: Callable[[Any], Sample]) -> Iterator[Sample | Failure]:
    """Convert rows one by one; ids are content hashes, and repeated records get distinct ones."""
    seen: Counter[str] = Counter()
    used: set[str] = set()
    for number, row in enumerate(rows, start=1):
        own = str(row.get("id", "")) if isinstance(row, dict) else ""
        try:
            if not isinstance(row, dict):
                raise BadRow("not_an_object", f"a {type(row).__name__} instead of a record")
            sample = one(row)
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


def from_any(row: dict[str, Any], captions_alone: bool = False) -> Sample:
    """A row of whichever layout its keys show: `rounds`, `conversations_v0`, or a conversation."""
    if "rounds" in row:
        return from_sample(row, captions_alone)
    if "conversations_v0" in row:
        return from_mmevol(row, captions_alone)
    return from_conversations(row)


def from_mmevol(row: dict[str, Any], captions_alone: bool = False) -> Sample:
    """A row of MMEvol's seed file."""
    items, turns = _list(row, "conversations_v0"), _list(row, "caption")
    caption = _text(turns[1], "value") if len(turns) > 1 else ""
    if not items and not (captions_alone and caption):
        raise BadRow("no_questions", "conversations_v0 is empty or absent")
    return Sample(
        id="",
        images=_images(row),
        caption=caption,
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


def from_conversations(row: dict[str, Any]) -> Sample:
    """A row of LLaVA (`conversations`: from, value), ShareGPT (`messages`: role, content) or `texts` (user, assistant).

    A content may be a list of parts, of which the texts count. `<image>` marks are taken out; where there are any,
    there must be one for each image.
    """
    turns = [turn for turn in turns_of(row) if turn[0] != "system"]
    roles = [role for role, _ in turns]
    if len(turns) < 2:
        raise BadRow("no_questions", "fewer than two turns")
    if len(turns) % 2 or roles != ["human", "gpt"] * (len(turns) // 2):
        raise BadRow("turns_do_not_alternate", f"turns are {', '.join(roles)[:80]}")
    texts = [text.replace("<image>", "").strip() for _, text in turns]
    if not all(texts):
        raise BadRow("no_questions", "a turn is empty")
    images = _images(row) if row.get("image") or row.get("images") else ()
    marks = sum(text.count("<image>") for role, text in turns if role == "human")
    if marks not in (0, len(images)):
        raise BadRow("image_marks_differ", f"{marks} times <image> for {len(images)} images")
    items = tuple(QA(id="", question=texts[at], answer=texts[at + 1]) for at in range(0, len(texts), 2))
    return Sample(id="", images=images, source=str(row.get("source") or "llava"), rounds=(items,))


_ROLES = {"user": "human", "assistant": "gpt", "model": "gpt", "chatgpt": "gpt", "bot": "gpt"}


def turns_of(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(role, text) of every turn, the roles named as LLaVA does."""
    if "texts" in row:
        pairs = _list(row, "texts")
        return [(role, _text(pair, key)) for pair in pairs for role, key in (("human", "user"), ("gpt", "assistant"))]
    found = []
    for turn in _list(row, "conversations") or _list(row, "messages"):
        role, content = ("from", "value") if isinstance(turn, dict) and "from" in turn else ("role", "content")
        name, said = _text(turn, role).lower(), turn.get(content, "")
        parts = said if isinstance(said, list) else [said]
        text = "\n".join(_text(part, "text") if isinstance(part, dict) else str(part or "") for part in parts)
        found.append((_ROLES.get(name, name), text.strip()))
    return found


def from_sample(row: dict[str, Any], captions_alone: bool = False, evolved: bool = False) -> Sample:
    """A row of our own. A seed has round 0 alone: rounds are counted from it when it is evolved and mixed."""
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
    sample = sample if sample.rounds else replace(sample, rounds=((),))
    for box in sample.boxes:
        _xyxy(list(box.xyxy), box.label)
    return sample


def _images(row: dict[str, Any]) -> tuple[str, ...]:
    value = row.get("image") or row.get("images")
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
