"""Folders of official files: one JSON of each kind, images beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, overload

from mmevol_core.errors import UserError
from mmevol_core.files import files_below
from mmevol_eval.benchmark import Image, Item

IMAGES = "images"
_EXTENSIONS = (".jpg", ".png", ".jpeg", ".webp")


def one_file(folder: Path, *patterns: str) -> Path:
    """The only file that matches the first pattern that any file matches.

    Raises:
        UserError: none, or several, or `folder` is a file.
    """
    if folder.is_file():
        raise UserError(f"{folder} is a file; give the folder that holds it and its images/")
    found = optional_file(folder, *patterns)
    if not found:
        raise UserError(f"{folder} holds no {' or '.join(patterns)}; put the official file there")
    return found


def optional_file(folder: Path, *patterns: str) -> Path | None:
    """The same, None when nothing matches; UserError when several files do."""
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            raise UserError(f"{folder} holds {len(found)} files {pattern} ({found[0].name}, {found[1].name}); keep one")
        if found:
            return found[0]
    return None


class Pictures:
    """The images of a folder, looked up by what the records call them; nobody looks before a picture is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / IMAGES
        self._named: dict[str, set[str]] = defaultdict(set)  # names in use, by the stem that they share

    def of(self, name: object) -> Sequence[Image]:
        """The one image of that name, found when it is looked at: an id, a file name or a path.

        A path that does not exist stands for an image that is not there. A UserError at the first look says that
        several files could be meant, or that another name means the same file.
        """
        text = str(name)
        self._named[_stem(text)].add(_plain(text))
        return _Named(self, text)

    def find(self, name: str) -> Path:
        """Where it lies; the most alike folders decide between files of one name."""
        asked = PurePosixPath(_plain(name))
        found = self._best(asked)
        if len(found) > 1:
            raise UserError(
                f"{self._folder}: picture {name!r} may be {self._below(found[0])} or {self._below(found[1])}; name the "
                "file with its folder and extension, or keep one"
            )
        if not found:
            return self._folder / asked.name
        for other in sorted(self._named[_stem(name)] - {str(asked)}):
            if found == self._best(PurePosixPath(other)):
                raise UserError(
                    f"{self._folder}: {str(asked)!r} and {other!r} both lead to {self._below(found[0])}; keep the "
                    "folders and extensions that the official file names"
                )
        return found[0]

    def _best(self, asked: PurePosixPath) -> list[Path]:
        """The files of that name, or else of that stem, whose folders are most like those asked for."""
        found = self._by_name.get(asked.name) or self._by_stem.get(_stem(asked.name), [])
        if len(found) < 2:
            return found
        alike = [_alike(PurePosixPath(self._below(file)).parts[:-1], asked.parts[:-1]) for file in found]
        most = max(alike)
        return [file for file, likeness in zip(found, alike, strict=True) if likeness == most]

    def _below(self, file: Path) -> str:
        return file.relative_to(self._folder).as_posix()

    @cached_property
    def _files(self) -> list[Path]:
        return [file for file in files_below(self._folder) if file.suffix.lower() in _EXTENSIONS]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        for file in self._files:
            found[file.name].append(file)
        return dict(found)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        """By stem, and for COCO's names also by the bare number."""
        found: dict[str, list[Path]] = defaultdict(list)
        for file in self._files:
            found[file.stem].append(file)
            number = file.stem.rsplit("_", 1)[-1]
            if file.stem.startswith("COCO_") and number.isdigit():
                found[str(int(number))].append(file)
        return dict(found)


class _Named(Sequence[Image]):
    """One image, found when it is looked at: scoring never does."""

    def __init__(self, pictures: Pictures, name: str) -> None:
        self._pictures, self._name = pictures, name

    def __len__(self) -> int:
        return 1

    @overload
    def __getitem__(self, place: int) -> Image: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Image]: ...
    def __getitem__(self, place: int | slice) -> Image | Sequence[Image]:
        return (self._found,)[place]

    @cached_property
    def _found(self) -> Path:
        return self._pictures.find(self._name)


def _plain(name: str) -> str:
    """A name without `./` and `images/` before it."""
    return str(PurePosixPath(name)).removeprefix(f"{IMAGES}/")


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in _EXTENSIONS else path.name


def _alike(folders: Sequence[str], asked: Sequence[str]) -> tuple[int, bool]:
    """How many folders two paths share at their ends, and whether they share all."""
    pairs = zip(reversed(folders), reversed(asked), strict=False)
    shared = next((count for count, (one, other) in enumerate(pairs) if one != other), min(len(folders), len(asked)))
    return shared, list(folders) == list(asked)


def records(file: Path, rows: Any, *fields: str) -> list[dict[str, Any]]:
    """The records of a file, each with these fields.

    Raises:
        UserError: it holds something else, or a record lacks a field.
    """
    if not isinstance(rows, Iterable) or isinstance(rows, str | Mapping):
        raise UserError(f"{file} holds no list of records; put the official file there")
    checked: list[dict[str, Any]] = []
    for number, row in enumerate(rows, start=1):
        missing = [name for name in fields if name not in row] if isinstance(row, dict) else list(fields)
        if missing or not isinstance(row, dict):
            raise UserError(f"{file} record {number}: field {', '.join(missing[:1])} is missing")
        checked.append(row)
    return checked


def unique(items: Iterable[Item], file: Path) -> Iterator[Item]:
    """The items; UserError when an index occurs twice."""
    seen: set[str] = set()
    for item in items:
        if item.index in seen:
            raise UserError(f"{file} question {item.index}: this index occurs twice; indices must be unique")
        seen.add(item.index)
        yield item
