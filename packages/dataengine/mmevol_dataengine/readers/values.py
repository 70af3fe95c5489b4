"""What every reader of seed rows needs: a row's values with their types checked, and the failure of a row."""

from __future__ import annotations

from typing import Any

MARK = "<image>"  # stands in a conversation's text where a picture is shown


class BadRow(Exception):  # noqa: N818 - a row's failure, not a defect
    """A row that cannot be used; `reason` is a name to count, `detail` is for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def list_of(row: Any, key: str) -> list[Any]:
    """The list under a key, empty where there is none; BadRow when it is something else."""
    value = row.get(key) if isinstance(row, dict) else None
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRow("does_not_fit", f"{key} is a {type(value).__name__}, not a list")
    return value


def text_of(row: Any, key: str) -> str:
    """The text under a key without outer blanks, "" where there is none; BadRow when `row` is no object."""
    if not isinstance(row, dict):
        raise BadRow("does_not_fit", f"{str(row)[:40]!r} is not an object with {key!r}")
    value = row.get(key)
    return "" if value is None else str(value).strip()


def images_of(row: dict[str, Any]) -> tuple[str, ...]:
    """Names under `image` or `images`. Absent, null, "" and an empty list all say that the row is text alone.

    Raises:
        BadRow: a name is no text or is empty, or the two keys name different pictures.
    """
    first, *others = [_names(row[key]) for key in ("image", "images") if row.get(key)] or [()]
    if any(names != first for names in others):
        raise BadRow("image_keys_differ", f"image is {str(row['image'])[:40]!r}, images {str(row['images'])[:40]!r}")
    return first


def _names(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name for name in names):
        raise BadRow("no_image", f"image is {str(value)[:40]!r}")
    return tuple(names)
