"""JSON rows to training rows: text, token ids, what is learned, and how many tokens each picture takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from mmevol_train.encoding import newline_ids
from mmevol_train.images import image_size
from mmevol_train.llava import image_names, row_id, row_problem
from mmevol_train.pieces import Pieces


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
        for number, row in enumerate(stored, start):
            try:
                rows.append(self.row(number, row))
            except BadRow as problem:
                refused.add(number, str(problem))
        return len(stored), to_batch(rows), refused

    def row(self, number: int, stored: Any) -> Row:
        """One row; BadRow with the reason why it cannot be trained on."""
        if problem := row_problem(stored):
            raise BadRow(problem)
        names = image_names(stored)
        ids, supervised = self._pieces.encode(self.rendered(stored["conversations"], len(names)))
        slots = ids == self._slot
        found = int(np.count_nonzero(slots))
        if found != len(names):
            raise BadRow(f"{len(names)} images for {found} placeholders")
        pictures = tuple(self._picture(name) for name in names)
        row = Row(number, ids, supervised & ~slots, pictures, row_id(stored), _source(names))
        if row.length > self._reading.max_length:
            raise BadRow("longer than max_length")
        if not row.supervised[1:].any():
            raise BadRow("nothing supervised")
        return row

    def rendered(self, turns: Sequence[Mapping[str, str]], images: int) -> Rendered:
        """The text of a conversation and what of it is learned; BadRow where the label rule cannot read it."""
        reading = self._reading
        if reading.mode == "answer":
            return render_answer(turns, reading.jinja, self._special, reading.special_text, images)
        shape = template(reading.template)
        cleaned = [
            {key: clean(turn[key], self._special, reading.special_text) for key in ("from", "value")} for turn in turns
        ]
        if reading.stage == "pretrain":
            return render_plain(cleaned, shape.start, images > 0)
        if cleaned[0]["from"] != "human":
            raise BadRow("label mode mmevol drops a first turn that is not `human`")
        if all(turn["from"] in ("human", "user", "system") for turn in cleaned):
            raise BadRow("no answer")
        return render_mmevol(cleaned, shape, images > 0, reading.system)

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


_makers: list[Maker] = []  # of a process that shares the work: its only one


def begin_sharing(images: Path, reading: Reading) -> None:
    """Make this process ready for `shared_batch`."""
    _makers[:] = [Maker(images, reading)]


def shared_batch(start: int, stored: Sequence[Any]) -> tuple[int, pa.RecordBatch, Refused]:
    """`Maker.batch` in a process that has begun."""
    return _makers[0].batch(start, stored)
