"""The rows of a training run as one Arrow file: written once, mapped into memory by every process that reads it.

A row in memory would be a dozen Python objects. In the file it is a slice of a few arrays, the operating system holds
one copy for all ranks and workers, and a second start maps the file instead of tokenising again.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmevol_core.files import replacing, write_jsonl

BATCH_ROWS = 4096  # rows of one Arrow batch: about 8 MB
NAMED = 5  # rows of each reason that a message names
SCHEMA = pa.schema(
    {
        "number": pa.int64(), "name": pa.string(), "source": pa.string(),
        "ids": pa.list_(pa.int32()), "supervised": pa.list_(pa.uint8()),
        "names": pa.list_(pa.string()), "sizes": pa.list_(pa.int32()), "tokens": pa.list_(pa.int32()),
        "length": pa.int64(), "learned": pa.int64(),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture of a row: its path under the image root, (width, height) in pixels, and its tokens."""

    name: str
    size: tuple[int, int]
    tokens: int


@dataclass(frozen=True)
class Row:
    """One conversation ready to train on; an image slot is one id until the row is asked for."""

    number: int  # position in the file
    ids: NDArray[np.int32]
    supervised: NDArray[np.bool_]
    pictures: tuple[Picture, ...]
    name: str = ""  # its id in the file
    source: str = "text"  # first folder of its first picture; "images" without a folder, "text" without a picture

    @property
    def length(self) -> int:
        """Tokens with images expanded."""
        return len(self.ids) + sum(picture.tokens - 1 for picture in self.pictures)


@dataclass
class Refused:
    """Rows that cannot be trained on: how many by reason, and their numbers."""

    counts: Counter[str]
    numbers: dict[str, list[int]]

    def add(self, number: int, reason: str) -> None:
        """Count one row."""
        self.counts[reason] += 1
        self.numbers.setdefault(reason, []).append(number)

    def merge(self, more: Refused) -> None:
        """Add what another part of the file, further down, has."""
        self.counts += more.counts
        for reason, numbers in more.numbers.items():
            self.numbers.setdefault(reason, []).extend(numbers)


class Rows(Sequence[Row]):
    """Rows in Arrow batches; asking for one copies nothing."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self._batches = [_Batch(batch) for batch in batches]
        self._starts = np.cumsum([0, *(batch.num_rows for batch in batches)]).tolist()

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        place = bisect_right(self._starts, index) - 1
        return self._batches[place].row(index - self._starts[place])

    def numbers(self, column: str) -> NDArray[np.int64]:
        """A column of whole numbers: `number`, `length` or `learned`."""
        parts = [batch.batch.column(column).to_numpy() for batch in self._batches]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def labels(self, column: str) -> tuple[NDArray[np.int32], list[str]]:
        """A column of few different texts as codes and what they stand for."""
        found = pa.chunked_array([batch.batch.column(column) for batch in self._batches], pa.string())
        coded = found.combine_chunks().dictionary_encode()
        return coded.indices.to_numpy(), coded.dictionary.to_pylist()


class _Batch:
    """Arrays of one Arrow batch as NumPy sees them, without a copy."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self._lists = {name: _values(batch, name) for name in ("ids", "supervised", "sizes", "tokens")}

    def _part(self, name: str, place: int) -> NDArray[Any]:
        edges, values = self._lists[name]
        return values[edges[place] : edges[place + 1]]

    def row(self, place: int) -> Row:
        names = self.batch.column("names")[place].as_py()
        sizes, tokens = self._part("sizes", place).tolist(), self._part("tokens", place).tolist()
        pictures = tuple(Picture(name, (sizes[2 * at], sizes[2 * at + 1]), tokens[at]) for at, name in enumerate(names))
        number, name, source = (self.batch.column(key)[place].as_py() for key in ("number", "name", "source"))
        supervised = self._part("supervised", place).view(bool)
        return Row(number, self._part("ids", place), supervised, pictures, name, source)


def _values(batch: pa.RecordBatch, name: str) -> tuple[NDArray[np.int32], NDArray[Any]]:
    column = batch.column(name)
    return column.offsets.to_numpy(), column.values.to_numpy()


@dataclass(frozen=True)
class Corpus:
    """Rows that can be trained on, and the count of every one that cannot, by reason."""

    rows: Rows
    rows_in: int
    refused: Counter[str]
    numbers: dict[str, list[int]]  # reason to row numbers, in order

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row, images expanded."""
        return self.rows.numbers("length")

    @property
    def supervised(self) -> NDArray[np.int64]:
        """Supervised tokens of each row."""
        return self.rows.numbers("learned")

    def accounting(self) -> dict[str, Any]:
        """Rows in = kept + refused by reason, asserted."""
        assert self.rows_in == len(self.rows) + self.refused.total()
        return {"in": self.rows_in, "kept": len(self.rows), "eliminated": dict(self.refused), "failed": {}}

    def list_refused(self, path: Path) -> None:
        """Write every row that is not trained on, one a line, in the order of the file; no file when there is none."""
        found = sorted((row, reason) for reason, rows in self.numbers.items() for row in rows)
        assert len(found) == self.refused.total()
        if found:
            write_jsonl(path, ({"row": row, "reason": reason} for row, reason in found))
        else:
            path.unlink(missing_ok=True)  # of an earlier run


def to_batch(rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows as one Arrow batch."""
    pictures = [row.pictures for row in rows]
    columns = {
        "number": [row.number for row in rows],
        "name": [row.name for row in rows],
        "source": [row.source for row in rows],
        "ids": _lists([row.ids for row in rows], pa.int32()),
        "supervised": _lists([row.supervised.view(np.uint8) for row in rows], pa.uint8()),
        "names": [[picture.name for picture in one] for one in pictures],
        "sizes": [[side for picture in one for side in picture.size] for one in pictures],
        "tokens": [[picture.tokens for picture in one] for one in pictures],
        "length": [row.length for row in rows],
        "learned": [int(row.supervised.sum()) for row in rows],
    }
    return pa.record_batch(columns, schema=SCHEMA)


def _lists(arrays: Sequence[NDArray[Any]], kind: pa.DataType) -> pa.ListArray:
    edges = np.cumsum([0, *map(len, arrays)], dtype=np.int32)
    values = np.concatenate(arrays) if arrays else np.zeros(0, kind.to_pandas_dtype())
    return pa.ListArray.from_arrays(pa.array(edges), pa.array(values, kind))


def write(path: Path, batches: Iterable[tuple[int, pa.RecordBatch, Refused]]) -> None:
    """Write an Arrow file, whole or not at all. Each batch comes with the number of rows read for it."""
    rows_in, refused = 0, Refused(Counter(), {})
    with replacing(path) as file, pa.ipc.new_stream(pa.PythonFile(file, mode="w"), SCHEMA) as writer:
        for count, batch, bad in batches:
            rows_in += count
            refused.merge(bad)
            writer.write_batch(batch)
        # what was refused is known last: it is the last batch's metadata
        facts = {"rows_in": rows_in, "refused": refused.counts, "examples": refused.numbers}
        writer.write_batch(to_batch([]), custom_metadata={"facts": json.dumps(facts)})


def read(path: Path) -> Corpus:
    """Map an Arrow file; nothing but its directory is read until rows are asked for."""
    reader = pa.ipc.open_stream(pa.memory_map(str(path)))
    batches, facts = [], None
    while facts is None:
        part = reader.read_next_batch_with_custom_metadata()
        if part.custom_metadata is not None:
            facts = json.loads(part.custom_metadata[b"facts"])
        else:
            batches.append(part.batch)
    return Corpus(Rows(batches), facts["rows_in"], Counter(facts["refused"]), facts["examples"])


def in_memory(batches: Iterable[tuple[int, pa.RecordBatch, Refused]]) -> Corpus:
    """The same without a file."""
    parts, rows_in, refused = [], 0, Refused(Counter(), {})
    for count, batch, bad in batches:
        rows_in += count
        parts.append(batch)
        refused.merge(bad)
    return Corpus(Rows(parts), rows_in, refused.counts, refused.numbers)
