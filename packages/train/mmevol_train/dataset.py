"""LLaVA JSON to training rows: everything but the pixels is known before the first step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from mmevol_core.errors import UserError
from mmevol_core.files import digest, file_digest
from mmevol_core.json_stream import json_rows
from mmevol_train.anyres import grid
from mmevol_train.conversation import IGNORED, IMAGE, BadRow
from mmevol_train.corpus import BATCH_ROWS, NAMED, Corpus, Picture, Refused, Row, in_memory, read, write
from mmevol_train.images import MENDABLE, Views, cut, locate_image, read_views
from mmevol_train.rows import Maker, Reading, begin_sharing, shared_batch

CORPUS_VERSION = 5  # raise when rows are made in another way


def read_corpus(
    path: Path, images: Path, reading: Reading, max_bad_share: float, cache: Path | None = None, workers: int = 0,
    *, begun: bool = False, refused: Path | None = None,
) -> Corpus:  # fmt: skip
    """Tokenise a LLaVA JSON file; pictures are only asked for their size.

    With `cache`, a folder, the rows are kept there as an Arrow file named by the digest of everything they depend on
    (file, image root, tokenizer, template, geometry), and mapped when it is there already. `workers` processes share
    the work of writing it. Rows whose picture was missing may have one by now, so that a file that lists such rows is
    written again, unless a run has `begun` on it. All rows that are not taken are listed in the file `refused`.

    Raises:
        UserError: when the file holds no list, or more than `max_bad_share` of its rows are refused.
    """
    if cache is None:
        corpus = in_memory(_batches(path, images, reading, workers))
    else:
        file = cache / f"{corpus_digest(path, images, reading)}.arrow"
        if not file.is_file() or not (begun or MENDABLE.isdisjoint(read(file).refused)):
            write(file, _batches(path, images, reading, workers))
        corpus = read(file)
    if not corpus.rows_in:
        raise UserError(f"{path} must hold a non-empty JSON list of rows with `conversations`")
    if refused is not None:
        corpus.list_refused(refused)
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
        maker = Maker(images, reading)
        for start, rows in parts:
            yield maker.batch(start, rows)
        return
    # the reading, tokenizer and all, is sent once
    with ProcessPoolExecutor(workers, get_context("spawn"), begin_sharing, (images, reading)) as pool:
        waiting: deque[Future[tuple[int, pa.RecordBatch, Refused]]] = deque()
        for start, rows in parts:
            waiting.append(pool.submit(shared_batch, start, rows))
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


class Conversations(Dataset[dict[str, Any]]):
    """Rows with their pixels: ids and labels with images expanded, and uint8 views."""

    def __init__(self, corpus: Corpus, images: Path, reading: Reading, cache_mb: int = 0) -> None:
        self._rows, self._images, self._reading = corpus.rows, images, reading
        slot = reading.tokenizer.token_to_id(IMAGE)
        if slot is None:  # any other id would be a word of the text
            raise UserError(f"the tokenizer has no token {IMAGE}; train from a checkpoint that `mmevol` has built")
        self._slot = int(slot)
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
            raise UserError(
                f"row {row.number} (id {row.name or 'none'}), image {self._images / name}: {problem}; mend the image or"
                f" remove the row; `mmevol data check {self._images}` finds all such pictures before a run"
            ) from problem
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


def _refuse_too_many(path: Path, corpus: Corpus, max_bad_share: float) -> None:
    share = corpus.refused.total() / corpus.rows_in
    if corpus.rows and share <= max_bad_share:
        return
    reasons = "; ".join(
        f"{count} x {reason} (rows {', '.join(map(str, corpus.numbers[reason][:NAMED]))})"
        for reason, count in corpus.refused.most_common(4)
    )
    raise UserError(
        f"{path}: {corpus.refused.total()} of {corpus.rows_in} rows refused: {reasons}. Mend or raise max_bad_share"
    )
