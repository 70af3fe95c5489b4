"""Benchmark files of any layout as items: number, questions and pictures, for the contamination gate."""

from __future__ import annotations

import base64
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
_TABLES = {".tsv": "\t", ".csv": ","}
READ = PICTURES | _TABLES.keys() | {".json", ".jsonl", ".parquet"}  # by suffix, in lower case
# Keys and columns, in lower case: those of a question, those that number an item (without one: its key or place), and
# how those of pictures begin.
_QUESTIONS = ("question", "text", "query", "instruction", "problem", "prompt")
_NUMBERS = ("index", "question_id", "id", "pid")
_SHOW = ("image", "img", "picture")
_SPEAKERS = {"human": True, "user": True, "gpt": False, "assistant": False, "system": False}  # of turns: who asks
# what JPEG, PNG, GIF, WebP, TIFF and BMP begin with, in base64
_BEGINNINGS = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "SUkqA", "TU0AK", "Qk")
_NUMBER = 64  # a cell for a picture that is not longer holds the index of another row


@dataclass(frozen=True, slots=True)
class Item:
    """A question, one or more encoded pictures, or both; `like` is the index of the item whose pictures it shows."""

    index: str
    question: str = ""
    pictures: tuple[bytes, ...] = ()
    like: str = ""


def read_items(path: Path) -> Iterator[Item]:
    """The items of a file that is no picture; parts of one may come apart, under the same index.

    Raises:
        OSError, ValueError, csv.Error: the file is broken.
    """
    kind = path.suffix.lower()
    if kind in _TABLES:
        yield from _table(path, _TABLES[kind])
        return
    if kind == ".parquet":
        rows: Iterator[Any] = _parquet(path)
    else:
        raw = path.read_bytes()
        rows = (orjson.loads(line) for line in (raw.splitlines() if kind == ".jsonl" else [raw]) if line.strip())
    for number, row in enumerate(rows):
        yield from _found(row, str(number), numbered=kind != ".json")


def _table(path: Path, delimiter: str) -> Iterator[Item]:
    csv.field_size_limit(1 << 28)  # pictures in base64
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        for number, row in enumerate(reader):
            cell = row.get("image") or ""
            pictures = tuple(raw for one in _several(cell) if (raw := _decoded(one)))
            question = next((row[key] for key in _QUESTIONS if row.get(key)), "")
            yield Item(row.get("index") or str(number), question, pictures, "" if pictures else cell[:_NUMBER])


def _several(cell: str) -> list[str]:
    """The pictures of a cell: one in base64, or a list of them as Python writes it."""
    return [one.strip(" '\"") for one in cell.strip("[]").split(",")] if cell.startswith("[") else [cell]


def _decoded(text: str) -> bytes | None:
    """A picture in base64, also as data URL; None for an index, a name, a text. ValueError when it is broken."""
    text = text.partition(";base64,")[2] or text
    if len(text) <= _NUMBER or not text.startswith(_BEGINNINGS):
        return None
    return base64.b64decode(text, validate=True)


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow as pa  # costs time, and few folders have such files
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=64):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def _found(value: Any, index: str, *, numbered: bool, key: str = "") -> Iterator[Item]:
    """Questions and pictures at any depth. `numbered`: the index is an item's, which holds for all below it."""
    if isinstance(value, bytes):
        yield Item(index, pictures=(value,))
    elif isinstance(value, str) and key in _QUESTIONS:
        yield Item(index, value)
    elif isinstance(value, str) and key.startswith(_SHOW):
        if raw := _decoded(value):
            yield Item(index, pictures=(raw,))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _found(inner, index if numbered else str(place), numbered=True, key=key)
    elif isinstance(value, dict):
        yield from _found_in({str(name).lower(): inner for name, inner in value.items()}, index, numbered, key)


def _found_in(row: dict[str, Any], index: str, numbered: bool, key: str) -> Iterator[Item]:
    asks = _SPEAKERS.get(str(row.get("from", row.get("role"))).lower())
    if asks is False:  # an answer
        return
    own = next((str(row[name]) for name in _NUMBERS if isinstance(row.get(name), str | int)), None)
    for name, inner in row.items():
        if asks and name in ("value", "content") and isinstance(inner, str):
            yield Item(own or index, inner)
        elif isinstance(inner, str | bytes):
            yield from _found(inner, own or index, numbered=numbered, key=key if name == "bytes" else name)
        else:
            known = own is not None or numbered
            yield from _found(inner, (own or index) if known else name, numbered=known, key=name)
