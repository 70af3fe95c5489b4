"""LLaVA JSON to training rows: everything but the pixels is known before the first step."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer
from torch.utils.data import Dataset

from mmevol_core.errors import UserError
from mmevol_core.files import digest, file_digest
from mmevol_core.json_stream import json_rows
from mmevol_train.anyres import Pinpoints, grid
from mmevol_train.conversation import (
    IGNORED,
    IMAGE,
    BadRow,
    Encoded,
    LabelMode,
    Rendered,
    SpecialText,
    clean,
    encode,
    render_answer,
    render_mmevol,
    render_plain,
    special_tokens,
    template,
)
from mmevol_train.corpus import BATCH_ROWS, Corpus, Picture, Refused, Row, in_memory, read, to_batch, write
from mmevol_train.images import Views, cut, image_size, locate_image, read_views
from mmevol_train.labels import newline_ids, row_problem

CORPUS_VERSION = 2  # raise when rows are made in another way


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


def read_corpus(
    path: Path, images: Path, reading: Reading, max_bad_share: float, cache: Path | None = None, workers: int = 0
) -> Corpus:
    """Tokenise a LLaVA JSON file; pictures are only asked for their size.

    With `cache`, a folder, the rows are kept there as an Arrow file named by the digest of everything they depend on
    (file, image root, tokenizer, template, geometry), and mapped when it is there already. `workers` processes share
    the work of writing it.

    Raises:
        UserError: when the file holds no list, or more than `max_bad_share` of its rows are refused.
    """
    if cache is None:
        corpus = in_memory(_batches(path, images, reading, workers))
    else:
        file = cache / f"{corpus_digest(path, images, reading)}.arrow"
        if not file.is_file():
            write(file, _batches(path, images, reading, workers))
        corpus = read(file)
    if not corpus.rows_in:
        raise UserError(f"{path} must hold a non-empty JSON list of rows with `conversations`")
    _refuse_too_many(path, corpus, max_bad_share)
    return corpus


def corpus_digest(path: Path, images: Path, reading: Reading) -> str:
    """Digest of what the rows of a corpus depend on; pictures count by their root, and are checked when opened."""
    if not path.is_file():
        raise UserError(f"file not found: {path}")
    values = {name: getattr(reading, name) for name in reading.__dataclass_fields__ if name != "tokenizer"}
    return digest([CORPUS_VERSION, file_digest(path), str(images.resolve()), reading.tokenizer.to_str(), values])


def _batches(path: Path, images: Path, reading: Reading, workers: int) -> Iterator[tuple[int, pa.RecordBatch, Refused]]:
    """Rows in parts, in the order of the file."""
    parts = _parts(json_rows(path))
    if workers < 2:
        for start, rows in parts:
            yield _batch(start, rows, images, reading)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[tuple[int, pa.RecordBatch, Refused]]] = deque()
        for start, rows in parts:
            waiting.append(pool.submit(_batch, start, rows, images, reading))
            if len(waiting) > 2 * workers:  # what is read ahead is held in memory
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _parts(rows: Iterable[Any]) -> Iterator[tuple[int, list[Any]]]:
    """(number of the first row, rows) of each part."""
    iterator, start = iter(rows), 0
    while part := list(islice(iterator, BATCH_ROWS)):
        yield start, part
        start += len(part)


def _batch(start: int, stored: list[Any], images: Path, reading: Reading) -> tuple[int, pa.RecordBatch, Refused]:
    rows, refused = [], Refused(Counter(), {})
    sizes: dict[str, tuple[int, int]] = {}
    special = special_tokens(reading.tokenizer)
    for number, row in enumerate(stored, start):
        try:
            rows.append(_row(number, row, images, reading, sizes, special))
        except BadRow as problem:
            refused.add(number, str(problem))
    return len(stored), to_batch(rows), refused


class Conversations(Dataset[dict[str, Any]]):
    """Rows with their pixels: ids and labels with images expanded, and uint8 views."""

    def __init__(self, corpus: Corpus, images: Path, reading: Reading, cache_mb: int = 0) -> None:
        self._rows, self._images, self._reading = corpus.rows, images, reading
        self._slot = int(reading.tokenizer.token_to_id(IMAGE) or 0)
        self._cache: dict[str, Views] = {}
        self._room = cache_mb * 2**20

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """ids (T,) int64, labels (T,) int64 with -100 where nothing is learned, views [(n, 3, tile, tile)], sizes."""
        row = self._rows[index]
        ids, labels = expand(row, self._slot)
        views = [self._views(row, picture) for picture in row.pictures]
        sizes = [(picture.size[1], picture.size[0]) for picture in row.pictures]
        return {"ids": ids, "labels": labels, "views": views, "sizes": sizes, "row": row.number}

    def _views(self, row: Row, picture: Picture) -> Views:
        name = picture.name
        if name in self._cache:
            return self._cache[name]
        try:
            path = locate_image(self._images, name)
            views = read_views(path, self._reading.pinpoints, self._reading.tile, picture.size)
        except BadRow as problem:
            raise UserError(f"row {row.number}, image {name}: {problem}; mend the image or remove the row") from problem
        if views.nbytes <= self._room:
            self._room -= views.nbytes
            self._cache[name] = views
        return views


def expand(row: Row, slot: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and labels with each image slot repeated to its number of tokens; image tokens are never learned."""
    ids = row.ids.astype(np.int64)
    labels = np.where(row.supervised, ids, IGNORED)
    repeats = np.ones(len(ids), np.int64)
    places = ids == slot
    labels[places] = IGNORED
    labels[0] = IGNORED  # nothing stands before it
    repeats[places] = [picture.tokens for picture in row.pictures]
    return ids.repeat(repeats), labels.repeat(repeats)


def blank_row(slot: int, reading: Reading) -> dict[str, Any]:
    """A black picture of one tile that nothing is learned from."""
    tokens = grid(reading.tile, reading.tile, reading.pinpoints, reading.tile, reading.patch).tokens
    views = cut(Image.new("RGB", (reading.tile, reading.tile)), reading.pinpoints, reading.tile)
    return {
        "ids": np.full(tokens, slot, np.int64), "labels": np.full(tokens, IGNORED, np.int64), "views": [views],
        "sizes": [(reading.tile, reading.tile)], "row": -1,
    }  # fmt: skip


def _row(
    number: int, row: Any, images: Path, reading: Reading, sizes: dict[str, tuple[int, int]], special: tuple[str, ...]
) -> Row:
    if row_problem(row):
        raise BadRow(row_problem(row))
    names = _image_names(row)
    encoded = _encoded(_rendered(row, bool(names), reading, special), reading)
    ids = np.array(encoded.ids, np.int32)
    supervised = np.array(encoded.supervised, bool)
    slots = ids == reading.tokenizer.token_to_id(IMAGE)
    if int(slots.sum()) != len(names):
        raise BadRow(f"{len(names)} images for {int(slots.sum())} placeholders")
    pictures = tuple(_picture(name, images, reading, sizes) for name in names)
    result = Row(number, ids, supervised & ~slots, pictures, str(row.get("id") or ""), _source(names))
    if result.length > reading.max_length:
        raise BadRow("longer than max_length")
    if not result.supervised[1:].any():
        raise BadRow("nothing supervised")
    return result


def _source(names: list[str]) -> str:
    """Where a row comes from, as far as its first picture's path says."""
    if not names:
        return "text"
    folder, _, rest = names[0].partition("/")
    return folder if rest else "images"


def _image_names(row: Mapping[str, Any]) -> list[str]:
    value = row.get("image") or []
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BadRow("`image` is neither a path nor a list of paths")
    return names


def _rendered(row: Mapping[str, Any], has_image: bool, reading: Reading, special: tuple[str, ...]) -> Rendered:
    turns = row["conversations"]
    if reading.mode == "answer":
        return render_answer(turns, reading.jinja, special, reading.special_text)
    shape = template(reading.template)
    cleaned = [{**turn, "value": clean(turn["value"], special, reading.special_text)} for turn in turns]
    if reading.stage == "pretrain":
        return render_plain(cleaned, shape.start, has_image)
    return render_mmevol(cleaned, shape, has_image, reading.system)


def _encoded(rendered: Rendered, reading: Reading) -> Encoded:
    extra: tuple[int, ...] = ()
    if reading.mode == "mmevol":
        extra = newline_ids(reading.tokenizer, template(reading.template), reading.mode, reading.stage)
    return encode(rendered, reading.tokenizer, extra)


def _picture(name: str, images: Path, reading: Reading, sizes: dict[str, tuple[int, int]]) -> Picture:
    if name not in sizes:
        sizes[name] = image_size(images, name)
    width, height = sizes[name]
    tokens = grid(width, height, reading.pinpoints, reading.tile, reading.patch).tokens
    return Picture(name, (width, height), tokens)


def _refuse_too_many(path: Path, corpus: Corpus, max_bad_share: float) -> None:
    share = corpus.refused.total() / corpus.rows_in
    if corpus.rows and share <= max_bad_share:
        return
    reasons = "; ".join(
        f"{count} x {reason} (rows {', '.join(map(str, corpus.examples[reason]))})"
        for reason, count in corpus.refused.most_common(4)
    )
    raise UserError(
        f"{path}: {corpus.refused.total()} of {corpus.rows_in} rows refused: {reasons}. Mend or raise max_bad_share"
    )
