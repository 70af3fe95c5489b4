"""JSON rows to training rows: text, token ids, what is learned, and how many tokens each picture takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from mmevol_train.anyres import Pinpoints, grid
from mmevol_train.conversation import (
    IMAGE,
    BadRow,
    LabelMode,
    Rendered,
    SpecialText,
    clean,
    render_answer,
    render_mmevol,
    render_plain,
    special_tokens,
    template,
)
from mmevol_train.corpus import Picture, Refused, Row, to_batch
from mmevol_train.images import image_size
from mmevol_train.labels import newline_ids, row_problem
from mmevol_train.pieces import Ids, Pieces

AT_ONCE = 256  # rows whose texts are held in pieces together


@dataclass(frozen=True)
class Reading:
    """How rows become tokens: the tokenizer with its template, the geometry of pictures, and what is refused."""

    tokenizer: Tokenizer
    template: str
    jinja: str
    system: str | None
    stage: str  # pretrain | finetune
    mode: LabelMode
    special_text: SpecialText
    max_length: int
    pinpoints: Pinpoints
    tile: int
    patch: int


@dataclass(frozen=True)
class Draft:
    """A row whose text is known, or the problem why there is none."""

    number: int
    name: str = ""
    pictures: tuple[str, ...] = ()
    rendered: Rendered | None = None
    problem: str = ""


class Maker:
    """Makes rows; what one batch taught it about words and pictures serves the next."""

    def __init__(self, images: Path, reading: Reading) -> None:
        self._images, self._reading = images.resolve(), reading
        self._special = special_tokens(reading.tokenizer)
        self._slot = reading.tokenizer.token_to_id(IMAGE)
        also: tuple[int, ...] = ()
        if reading.mode == "mmevol":
            also = newline_ids(reading.tokenizer, template(reading.template), reading.mode, reading.stage)
        self._pieces = Pieces(reading.tokenizer, also)
        self._pictures: dict[str, Picture] = {}

    def batch(self, start: int, stored: Sequence[Any]) -> tuple[int, pa.RecordBatch, Refused]:
        """How many rows came in, those that can be trained on, and why the others cannot; `start` numbers the first."""
        rows, refused = [], Refused(Counter(), {})
        drafts = (self._draft(number, row) for number, row in enumerate(stored, start))
        while some := list(islice(drafts, AT_ONCE)):
            for draft, ids in self._encoded(some):
                try:
                    rows.append(self._row(draft, ids))
                except BadRow as problem:
                    refused.add(draft.number, str(problem))
        return len(stored), to_batch(rows), refused

    def _draft(self, number: int, row: Any) -> Draft:
        try:
            if problem := row_problem(row):
                raise BadRow(problem)
            names = _image_names(row)
            rendered = self._rendered(row["conversations"], bool(names))
        except BadRow as problem:
            return Draft(number, problem=str(problem))
        return Draft(number, str(row.get("id") or ""), names, rendered)

    def _rendered(self, turns: Sequence[Mapping[str, str]], has_image: bool) -> Rendered:
        reading = self._reading
        if reading.mode == "answer":
            return render_answer(turns, reading.jinja, self._special, reading.special_text)
        shape = template(reading.template)
        cleaned = [{**turn, "value": clean(turn["value"], self._special, reading.special_text)} for turn in turns]
        if reading.stage == "pretrain":
            return render_plain(cleaned, shape.start, has_image)
        return render_mmevol(cleaned, shape, has_image, reading.system)

    def _encoded(self, drafts: Sequence[Draft]) -> Iterator[tuple[Draft, Ids | None]]:
        """Each draft with its tokens; None where it has no text."""
        ids = iter(self._pieces.encode([draft.rendered for draft in drafts if draft.rendered is not None]))
        for draft in drafts:
            yield draft, None if draft.rendered is None else next(ids)

    def _row(self, draft: Draft, encoded: Ids | None) -> Row:
        if encoded is None:
            raise BadRow(draft.problem)
        ids, supervised = encoded
        slots = ids == self._slot
        found = int(np.count_nonzero(slots))
        if found != len(draft.pictures):
            raise BadRow(f"{len(draft.pictures)} images for {found} placeholders")
        pictures = tuple(self._picture(name) for name in draft.pictures)
        row = Row(draft.number, ids, supervised & ~slots, pictures, draft.name, _source(draft.pictures))
        if row.length > self._reading.max_length:
            raise BadRow("longer than max_length")
        if not row.supervised[1:].any():
            raise BadRow("nothing supervised")
        return row

    def _picture(self, name: str) -> Picture:
        if name not in self._pictures:
            size = image_size(self._images, name)
            tokens = grid(*size, self._reading.pinpoints, self._reading.tile, self._reading.patch).tokens
            self._pictures[name] = Picture(name, size, tokens)
        return self._pictures[name]


def _source(names: Sequence[str]) -> str:
    """Where a row comes from, as far as its first picture's path says."""
    if not names:
        return "text"
    folder, _, rest = names[0].partition("/")
    return folder if rest else "images"


def _image_names(row: Mapping[str, Any]) -> tuple[str, ...]:
    value = row.get("image") or []
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BadRow("`image` is neither a path nor a list of paths")
    return tuple(names)


_makers: list[Maker] = []  # of a process that shares the work: its only one


def begin_sharing(images: Path, reading: Reading) -> None:
    """Make this process ready for `shared_batch`."""
    _makers[:] = [Maker(images, reading)]


def shared_batch(start: int, stored: Sequence[Any]) -> tuple[int, pa.RecordBatch, Refused]:
    """`Maker.batch` in a process that has begun."""
    return _makers[0].batch(start, stored)
