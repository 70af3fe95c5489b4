"""Values: a recursive reader of JSON and of what teachers write instead of JSON.

It repairs structure that can be read in one way only (missing comma, trailing comma, missing bracket, comments,
full-width punctuation, names without quotes). Everything else raises: the text is cut, or broken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from mmevol_dataengine.parsing.lexis import (
    CLOSE_LIST,
    CLOSE_OBJECT,
    ITEM_START,
    LIST_OPENS,
    OPEN_LIST,
    OPEN_OBJECT,
    QUOTES,
    SEPARATORS,
    Bare,
    BrokenError,
    CutError,
    key_at,
    skip,
    skip_separators,
)
from mmevol_dataengine.parsing.strings import read_string

_BARE = re.compile(r"[-+]?[\w.][\w.+\-]*(?:/\d+)?")
_CUT_KEY = re.compile(rf"[{QUOTES}]?\w*[{QUOTES}]?\s*(?:```)?\s*\Z")
_LEFT = re.compile(
    r"[\]］}｝]\s*\n\s*(?:```|[^\W\d_])"
)  # after the last bracket a line of prose, or the end of the fence
_MAX_DEPTH = 40
_NEAR = 80  # characters of white space that may stand before a key or an item


class Conflict:
    """The value of a key that was written twice with different values."""


CONFLICT = Conflict()


@dataclass
class Block:
    """One value found in a reply: text[start:end]; `cut` and `broken` say that elements are missing from it."""

    start: int
    end: int
    values: list[Any] = field(default_factory=list)
    cut: bool = False
    broken: bool = False


def read_value(text: str, position: int, depth: int = 0, *, in_list: bool = False) -> tuple[Any, int]:
    """Read one value at or after `position`; return it and where it ends."""
    position = skip(text, position)
    if position >= len(text):
        raise CutError
    if depth > _MAX_DEPTH:
        raise BrokenError(position)
    mark = text[position]
    if mark in OPEN_OBJECT:
        return read_object(text, position, depth + 1)
    if mark in OPEN_LIST:
        return _read_list(text, position, depth + 1)
    if mark in QUOTES:
        return read_string(text, position, in_list=in_list)
    return _read_bare(text, position)


def _read_bare(text: str, position: int) -> tuple[Bare, int]:
    found = _BARE.match(text, position)
    if found is None:
        raise BrokenError(position)
    after = skip(text, found.end())
    if after >= len(text):
        raise CutError
    if text[after] in SEPARATORS or text[after] in CLOSE_OBJECT or text[after] in CLOSE_LIST:
        return Bare(found[0]), found.end()
    if after > found.end() and key_at(text, after, quoted_only="\n" not in text[found.end() : after]):
        return Bare(found[0]), found.end()
    raise BrokenError(after)


def read_object(text: str, position: int, depth: int = 0) -> tuple[dict[str, Any] | list[str], int]:
    """Read the object that opens at `position`; a set of strings in braces becomes a list."""
    start = position
    found: dict[str, Any] = {}
    position += 1
    while True:
        before = position
        position, separated = skip_separators(text, position)
        if position >= len(text):
            raise CutError
        mark = text[position]
        if mark in CLOSE_OBJECT:
            return found, position + 1
        if found and (mark in CLOSE_LIST or mark in OPEN_OBJECT):
            return found, position  # its closing brace was forgotten
        key = key_at(text, position, any_name=separated or not found or "\n" in text[before:position])
        if key is None:
            if not found and mark in QUOTES:
                return _read_set(text, start, depth)
            if _CUT_KEY.match(text, position):
                raise CutError
            raise BrokenError(position)
        name, position = key
        value, position = read_value(text, position, depth)
        found[name] = value if name not in found or found[name] == value else CONFLICT


def _read_set(text: str, position: int, depth: int) -> tuple[list[str], int]:
    """`{"dog", "cat"}`: the reference's worked examples write lists of objects like this."""
    values: list[str] = []
    position += 1
    while True:
        position, _ = skip_separators(text, position)
        if position >= len(text):
            raise CutError
        if text[position] in CLOSE_OBJECT:
            return values, position + 1
        value, position = read_value(text, position, depth, in_list=True)
        if isinstance(value, Bare) or not isinstance(value, str):
            raise BrokenError(position)
        values.append(value)


def _read_list(text: str, position: int, depth: int) -> tuple[list[Any], int]:
    values: list[Any] = []
    position += 1
    while True:
        position, _ = skip_separators(text, position)
        if position >= len(text):
            raise CutError
        mark = text[position]
        if mark in CLOSE_LIST:
            return values, position + 1
        if values and (mark in CLOSE_OBJECT or key_at(text, position, quoted_only=True)):
            return values, position  # its closing bracket was forgotten
        value, position = read_value(text, position, depth, in_list=True)
        values.append(value)


def read_block(text: str, position: int) -> Block:
    """Read the outermost value at `position`: an object, or a list whose whole elements survive a bad one."""
    block = Block(position, position)
    if text[position] in OPEN_OBJECT:
        value, block.end = read_object(text, position)
        block.values = [value]
        return block
    position += 1
    while True:
        position, _ = skip_separators(text, position)
        if position >= len(text):
            block.cut, block.end = True, len(text)
            return block
        mark = text[position]
        if mark in CLOSE_LIST:
            block.end = position + 1
            return block
        if text.startswith(("...", "…"), position):
            block.broken = True
            position += 3 if mark == "." else 1
            continue
        if block.values and mark in CLOSE_OBJECT:
            position += 1
            continue
        if mark not in OPEN_OBJECT and mark not in OPEN_LIST and mark not in QUOTES:
            block.cut, block.end = True, position
            return block
        following = _read_element(text, position, block)
        if following is None:
            return block
        position = following


def _read_element(text: str, position: int, block: Block) -> int | None:
    """Add one element to the block; after a broken one go on where the next item begins, None when none does."""
    try:
        value, after = read_value(text, position, in_list=True)
    except CutError:
        following = ITEM_START.search(text, position + 1)
        block.cut = True
        block.broken |= following is not None  # a quote was opened and never closed, with more items after it
    except BrokenError as error:
        following = ITEM_START.search(text, max(_item_around(text, error.position), position + 1))
        if following is None and not re.search(r"[\]］}｝]", text[error.position :]):
            block.cut = True  # cut inside a key, perhaps with the fence closed after it
        else:
            block.broken = True
    else:
        block.values.append(value)
        return after
    block.end = following.start() if following else len(text)
    begun_again = LIST_OPENS.search(text[max(position, block.end - _NEAR) : block.end])
    if following is None:
        return None
    if (left := _LEFT.search(text, position, block.end)) is not None:
        block.broken, block.end = True, left.start() + 1  # what follows belongs to another list
        return None
    if begun_again is None:
        return block.end
    block.cut, block.end = True, block.end - len(begun_again[0].lstrip())
    return None


def _item_around(text: str, position: int) -> int:
    """Where the item begins whose first key is at `position`; a string that was never closed ends in such a key."""
    brace = text.rfind("{", max(0, position - _NEAR), position)
    return brace if brace >= 0 and not text[brace + 1 : position].strip() else position
