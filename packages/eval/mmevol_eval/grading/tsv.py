"""VLMEvalKit's TSV files, read as published: nothing is converted, nothing is taken for missing but an empty cell."""

from __future__ import annotations

import ast
import base64
import binascii
import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, overload

from mmevol_core.errors import UserError
from mmevol_core.files import replacing
from mmevol_core.images import ImageFailure, locate
from mmevol_eval.benchmark import LETTERS, Image, Item

REFERENCE_CHARS = 64  # an `image` cell of at most this length names the row that holds the image
_OWN = ("index", "image", "question", "answer", "category", "l2-category", "split")
_CELL_LIMIT = 1 << 30  # bytes; an image list can be large
_END = "\x03end of file"  # a row of its own, unless the file ends within a quoted cell, which then swallows it


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a TSV as raw strings; column names in lower case, except the option letters.

    Raises:
        UserError: the file is absent or a folder, has no `index` and `question` column, ends within a row or within
            a quoted cell, or a row has too many cells. Other short rows are filled with empty cells, as in the kit.
    """
    csv.field_size_limit(_CELL_LIMIT)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(chain(file, [_END]), delimiter="\t")
            header = [name if len(name) == 1 else name.lower() for name in next(reader, [])]
            missing = {"index", "question"} - set(header)
            if missing:
                raise UserError(
                    f"{path} has no column {sorted(missing)[0]!r}; expected a tab-separated VLMEvalKit file"
                )
            width = len(header)
            last = header
            for cells in filter(None, reader):
                if cells == [_END]:
                    break
                last = cells
                if len(cells) > width:
                    raise _damaged(path, f"row {cells[0][:40]!r} has {len(cells)} cells for {width} columns")
                yield dict(zip_longest(header, cells, fillvalue=""))
            else:
                raise _damaged(path, "a quoted cell never ends")
            if len(last) < width:  # rows before it may be short: the kit fills them
                raise _damaged(path, f"its last row, {last[0][:40]!r}, has {len(last)} cells for {width} columns")
    except FileNotFoundError as error:
        raise UserError(f"benchmark file not found: {path}; put VLMEvalKit's TSV there") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; give the VLMEvalKit TSV that lies in it") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} is cut or damaged: {what}; fetch it again")


def read_items(path: Path, *, need: Sequence[str] = ("answer",)) -> Iterator[Item]:
    """Items of a TSV. Rows without an image are left out when there is an `image` column, as in the kit.

    Raises:
        UserError: a needed column is absent, an index occurs twice, or an image cannot be resolved.
    """
    rows = list(read_rows(path))
    for name in need:
        if rows and name not in rows[0]:
            raise UserError(f"{path} has no column {name!r}; found {', '.join(rows[0])}")
    rows = [row for row in rows if row.get("image", " ")]
    indices = canonical([row["index"] for row in rows])
    cells = {index: row["image"] for index, row in zip(indices, rows, strict=True) if "image" in row}
    for index in cells:  # in file order: a row may refer to an earlier row that itself refers to another
        cells[index] = _resolved(cells[index], cells, f"{path} row {index}")
    seen: set[str] = set()
    for index, row in zip(indices, rows, strict=True):
        where = f"{path} row {index}"
        if index in seen:
            raise UserError(f"{where}: this index occurs twice; indices must be unique")
        seen.add(index)
        yield _item(index, row, cells.get(index, ""), path, where)


def _item(index: str, row: Mapping[str, str], cell: str, path: Path, where: str) -> Item:
    picture = cell or row.get("image_path", "")
    return Item(
        index=index,
        question=row["question"],
        answer=row.get("answer", ""),
        images=_images(cell, row, path, where),
        options={letter: row[letter] for letter in LETTERS if row.get(letter)},
        category=row.get("category", ""),
        l2_category=row.get("l2-category", ""),
        split=row.get("split", ""),
        cluster=blake2b(picture.encode(), digest_size=8).hexdigest() if picture else index,
        extra={name: value for name, value in row.items() if name not in _OWN and len(name) > 1},
    )


def canonical(indices: Sequence[str]) -> list[str]:
    """Indices as the kit names them: numbers lose leading zeros when every index is a number."""
    try:
        return [str(int(index)) for index in indices]
    except ValueError:
        return list(indices)


def plain_number(index: str) -> str:
    """The index without leading zeros where it is a number."""
    return (index.lstrip("0") or "0") if index.isascii() and index.isdigit() else index


def _resolved(cell: str, cells: Mapping[str, str], where: str) -> str:
    if not cell or len(cell) > REFERENCE_CHARS:
        return cell
    target = cells.get(cell, cells.get(cell.lstrip("0"), ""))
    if len(target) <= REFERENCE_CHARS:
        raise UserError(f"{where}: its image refers to row {cell!r}, which holds no image")
    return target


def as_list(text: str, where: str) -> list[Any]:
    """A cell that may hold a Python list literal, as a list."""
    if not (len(text) > 1 and text[0] == "[" and text[-1] == "]"):
        return [text]
    try:
        return list(ast.literal_eval(text))
    except (ValueError, SyntaxError) as error:
        raise UserError(f"{where}: not a list: {text[:60]!r}") from error


def answers_of(text: str) -> list[str]:
    """Accepted answers of a cell: the items of a list literal, or the cell itself when it is none, as in the kit."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [text]
    return [str(part) for part in value] if isinstance(value, list) and value else [text]


class Encoded(Sequence[Image]):
    """Base64 images of a cell, decoded when they are looked at: scoring never does."""

    def __init__(self, parts: Sequence[str], where: str) -> None:
        self._parts, self._where = parts, where

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, place: int) -> Image: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Image]: ...
    def __getitem__(self, place: int | slice) -> Image | Sequence[Image]:
        if isinstance(place, slice):
            return Encoded(self._parts[place], self._where)
        try:
            return base64.b64decode(self._parts[place])
        except binascii.Error as error:
            raise UserError(f"{self._where}: its image is not base64: {error}") from error


def _images(cell: str, row: Mapping[str, str], path: Path, where: str) -> Sequence[Image]:
    if cell:
        return Encoded([str(part) for part in as_list(cell, where)], where)
    names = as_list(row["image_path"], where) if row.get("image_path") else []
    return tuple(_file(path, str(name), where) for name in names)


def _file(path: Path, name: str, where: str) -> Path:
    """An `image_path`, absolute or relative to the TSV's folder or to the kit's `images/<data set>` beside it."""
    if Path(name).is_absolute():
        return Path(name)
    beside = path.parent / "images" / path.stem
    return inside(beside if (beside / name).exists() else path.parent, name, where)


def inside(root: Path, name: str, where: str) -> Path:
    """`root/name`; UserError when it would leave `root`."""
    try:
        return locate(root, name)
    except ImageFailure as failed:
        if failed.reason == "outside_root":
            raise UserError(f"{where}: image path {name!r} leaves {root}") from failed
        return root / name


def write_tsv(path: Path, rows: Iterable[Mapping[str, str]]) -> int:
    """Write rows (all with the keys of the first) as a TSV that the kit reads; return how many."""
    listed = list(rows)
    lines: list[str] = []

    class _Sink:
        def write(self, text: str) -> int:
            lines.append(text)
            return len(text)

    writer = csv.DictWriter(_Sink(), list(listed[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    with replacing(path) as file:
        file.write("".join(lines).encode())
    return len(listed)
