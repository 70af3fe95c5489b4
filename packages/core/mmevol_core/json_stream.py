"""The elements of a JSON file one at a time, at the speed of the standard library's scanner and in one chunk of memory.

Whole elements go to the scanner of `json`: 600 MB take about three seconds of CPU (benchmarks/seeds.py).
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mmevol_core.errors import UserError

CHUNK = 4 << 20  # bytes read at once
LONGEST = 256 << 20  # characters of one element; more means a quote that never closes
_AFTER = frozenset(",]} \t\n\r")  # what shows that a number is whole; it may go on behind the window
_BLANK = re.compile(r"[ \t\n\r]*")


def json_rows(path: Path) -> Iterator[Any]:
    """Elements of a JSON list, or the values of a `.jsonl` file.

    Raises:
        UserError: the file is missing, is no list, or breaks off.
    """
    try:
        with path.open("rb") as file:
            text = _Text(file, path)
            if path.suffix == ".jsonl":
                while not text.at_end():
                    yield text.value()
                return
            if text.next_mark() != "[":
                raise UserError(f"{path} is not a JSON list of records")
            yield from _list(text)
    except FileNotFoundError as error:
        raise UserError(f"file not found: {path}") from error


def _list(text: _Text) -> Iterator[Any]:
    """Elements up to the closing bracket, the opening one being read."""
    if text.peek() == "]":
        text.next_mark()
        return
    while True:
        yield text.value()
        mark = text.next_mark()
        if mark == "]":
            return
        if mark != ",":
            raise text.broken(f"{mark!r} where a comma or the list's end belongs" if mark else "it breaks off")


class _Text:
    """A window on a UTF-8 file that starts at the next unread character and grows as far as one value needs."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._scan = json.JSONDecoder().raw_decode
        self._window, self._at, self._before = "", 0, 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is not blank, "" at the end of the file."""
        while True:
            self._at = _BLANK.match(self._window, self._at).end()  # type: ignore[union-attr]  # always matches
            if self._at < len(self._window) or not self._more():
                return self._window[self._at : self._at + 1]

    def at_end(self) -> bool:
        """Whether nothing but blanks is left."""
        return not self.peek()

    def next_mark(self) -> str:
        """Take the next character that is not blank."""
        mark = self.peek()
        self._at += len(mark)
        return mark

    def value(self) -> Any:
        """Take one whole JSON value."""
        while True:
            self.peek()
            try:
                value, end = self._scan(self._window, self._at)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise self.broken(f"{error.msg}, in the element that begins there") from error
                continue
            except ValueError as error:  # only whole numbers: Python reads no more than 4,300 digits
                raise self.broken("a number of too many digits, in the element that begins there") from error
            except RecursionError as error:
                raise self.broken("lists within lists too deep, in the element that begins there") from error
            if not isinstance(value, int | float) or self._window[end : end + 1] in _AFTER or not self._more():
                self._at = end
                return value

    def broken(self, what: str) -> UserError:
        """The error that names where the file stops to be JSON."""
        return UserError(
            f"{self._path} is not whole JSON: {what} (character {self._before + self._at}); download it again"
        )

    def _more(self) -> bool:
        """Read on: at least as much as the window holds, so that a long element is not scanned over and over."""
        if self._ended:
            return False
        held = len(self._window) - self._at
        if held > LONGEST:
            raise self.broken(f"one element has more than {LONGEST} characters")
        raw = self._file.read(max(CHUNK, held))
        self._ended = not raw
        try:
            more = self._decode(raw, final=self._ended)
        except UnicodeDecodeError as error:
            raise self.broken(f"not UTF-8: {error.reason}") from error
        self._window, self._before, self._at = self._window[self._at :] + more, self._before + self._at, 0
        return True
