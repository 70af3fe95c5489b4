"""Small file helpers: every write is complete or absent."""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson

from mmevol_core.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write to `path.part` and rename it over `path` on success, so that no reader sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys in the order given."""
    with replacing(path) as file:
        file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))


def read_json(path: Path) -> Any:
    """Read a JSON file; UserError when it is absent or broken."""
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"file not found: {path}") from error
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON: {error}") from error


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON value a line atomically; return how many."""
    count = 0
    with replacing(path) as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS))
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[Any]:
    """Yield one JSON value a line; UserError with the line number when one is broken."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)  # editors on Windows write one
                if line.strip():
                    try:
                        yield orjson.loads(line)
                    except orjson.JSONDecodeError as error:
                        raise UserError(f"{path} line {number} is not JSON: {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"file not found: {path}") from error


def digest(value: Any, length: int = 16) -> str:
    """Stable hexadecimal fingerprint of a JSON-like value (key order does not matter)."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return hashlib.blake2b(orjson.dumps(value, option=options), digest_size=32).hexdigest()[:length]


def file_digest(path: Path, length: int = 16) -> str:
    """Fingerprint of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()[:length]


def folders_below(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder of a tree with the names in it that are no folders, in order; links to folders are followed once."""
    seen: set[Path] = set()
    for here, inner, names in os.walk(root, followlinks=True):
        place = Path(here).resolve()
        if place in seen:
            inner.clear()
            continue
        seen.add(place)
        inner.sort()
        yield Path(here), sorted(names)


def files_below(root: Path) -> Iterator[Path]:
    """Every file of a folder's tree, in the order of `folders_below`."""
    return (here / name for here, names in folders_below(root) for name in names if (here / name).is_file())
