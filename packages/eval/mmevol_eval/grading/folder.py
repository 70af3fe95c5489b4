"""Folders of official files: one JSON of each kind, images beside them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mmevol_core.errors import UserError

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


@lru_cache(maxsize=8)
def _pictures(folder: Path) -> dict[str, Path]:
    """Images by the name they are asked for: their stem, and for COCO names also the bare number."""
    found: dict[str, Path] = {}
    for file in sorted((folder / "images").rglob("*")):
        if file.suffix.lower() in _EXTENSIONS:
            found[file.stem] = file
            number = file.stem.rsplit("_", 1)[-1]
            if file.stem.startswith("COCO_") and number.isdigit():
                found[str(int(number))] = file
    return found


def find_image(folder: Path, name: str) -> tuple[Path, ...]:
    """The image of that id in `folder/images`, or nothing when it is not there (scoring does not need it)."""
    picture = _pictures(folder).get(name)
    return (picture,) if picture else ()
