"""What every reader of seed rows needs: a row's values with their types checked, and the failure of a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MARK = "<image>"  # stands in a conversation's text where a picture is shown


class BadRow(Exception):  # noqa: N818 - a row's failure, not a defect
    """A row that cannot be used; `reason` is a name to count, `detail` is for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, printable(detail)
        super().__init__(f"{reason}: {self.detail}")


def list_of(row: Any, key: str) -> list[Any]:
    """The list under a key, empty where there is none; BadRow when it is something else."""
    value = row.get(key) if isinstance(row, dict) else None
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRow("does_not_fit", f"{key} is a {type(value).__name__}, not a list")
    return value


def text_of(row: Any, key: str) -> str:
    """The text under a key without outer blanks, a number as it is written, "" where there is none.

    Raises:
        BadRow: `row` is no object, or the value is a list, an object or a truth value, which no text stands for.
    """
    if not isinstance(row, dict):
        raise BadRow("does_not_fit", f"{str(row)[:40]!r} is not an object with {key!r}")
    return plain_text(row.get(key), key)


def plain_text(value: Any, key: str) -> str:
    """A value as text, see `text_of`; `key` names it in the failure."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRow("does_not_fit", f"{key} is a {type(value).__name__}, not a text: {str(value)[:40]}")
    return str(value).strip()


def names_of(row: Any, key: str) -> list[str]:
    """The texts of the list under a key, empty ones left out; BadRow when one is no text."""
    return [name for name in (plain_text(value, key) for value in list_of(row, key)) if name]


def printable(text: str) -> str:
    """The text with halves of surrogate pairs written as escapes: JSON may hold them, files and terminals may not."""
    return text.encode("utf-8", "backslashreplace").decode()


def check_unicode(texts: Iterable[str]) -> None:
    """BadRow when a text holds half of a surrogate pair, which is no character and cannot be written."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadRow("not_unicode", f"half of a surrogate pair in {printable(text)[:60]!r}") from error


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
