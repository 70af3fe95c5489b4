"""What may stand between values: white space, comments, keys, and the errors of reading."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import orjson

OPEN_LIST, CLOSE_LIST = "[［【(", "]］】)"
OPEN_OBJECT, CLOSE_OBJECT = "{｛", "}｝"
SEPARATORS = ",，;；、"
QUOTES = "\"“”„'‘’＂"

FIELDS = (
    "objects?|skills?|format|question|steps?|answers?|manipulation|description|improved|score|reasons?|"
    "id|parent|image_position|confidence"
)
_COLON = r"\s*[:：]"
_QUOTED_KEY = re.compile(
    rf"""[*_]*(?:["“”„＂]([^"“”„＂\n:：]{{1,60}})["“”＂]|['‘’]([^'‘’\n:：]{{1,60}})['‘’])[*_]*{_COLON}"""
)
_FIELD_KEY = re.compile(rf"""[*_`"“'‘]*({FIELDS})[*_`"”'’]*{_COLON}""", re.IGNORECASE)
_NAME_KEY = re.compile(rf"([A-Za-z_]\w{{0,40}}){_COLON}")
_ITEM_FIELDS = FIELDS.replace("manipulation|description|", "")
ITEM_START = re.compile(rf"""[{{｛]\s*[*_`"“”'‘]*(?:{_ITEM_FIELDS})[*_`"“”'’]*{_COLON}""", re.IGNORECASE)
VALUE_START = re.compile(rf"""\s*(?:[{QUOTES}{{｛\[［【(]|[\w.+\-]+\s*[,，}}\]])""")
LIST_OPENS = re.compile(rf"^[ \t]*([{re.escape(OPEN_LIST)}])\s*\Z", re.MULTILINE)
_SPACE = re.compile(
    r"(?:[\s\ufeff\u200b\u200c\u2060]|\\[nrt](?![A-Za-z]))*"
)  # also a line feed spelled out between tokens
_COMMENTS = {"/*": "*/", "<!--": "-->", "//": "\n", "#": "\n"}
_LONGEST_COMMENT = (
    10_000  # characters; thousands of comments that nothing closes must not cost a search of the whole each
)


class BrokenError(ValueError):
    """The text at `position` is no value, and no repair of it can be trusted."""

    def __init__(self, position: int) -> None:
        super().__init__(f"cannot be read at {position}")
        self.position = position


class CutError(ValueError):
    """The text ended inside a value."""


class Bare(str):
    """A value written without quotes (number, true, NaN, a word), exactly as written."""

    __slots__ = ()


def skip(text: str, position: int) -> int:
    """First position at or after `position` that is neither white space nor in a comment."""
    while True:
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        if text[position : position + 1] not in {"/", "#", "<"}:
            return position
        beyond = comment_end(text, position)
        if beyond is None:
            return position
        position = beyond


def comment_end(text: str, position: int) -> int | None:
    """Where the comment that opens at `position` ends; None when there is none, or none that is soon closed."""
    for opening, closing in _COMMENTS.items():
        if text.startswith(opening, position):
            end = text.find(closing, position + len(opening), position + _LONGEST_COMMENT)
            if closing == "\n":
                return end if end >= 0 else min(len(text), position + _LONGEST_COMMENT)
            return end + len(closing) if end >= 0 else None
    return None


def skip_separators(text: str, position: int) -> tuple[int, bool]:
    """Like `skip`, past separators too; also whether there was one."""
    position, seen = skip(text, position), False
    while position < len(text) and text[position] in SEPARATORS:
        position, seen = skip(text, position + 1), True
    return position, seen


def key_at(text: str, position: int, *, quoted_only: bool = False, any_name: bool = False) -> tuple[str, int] | None:
    """Key and the position after its colon, or None. A name without quotes counts when it is a field of ours."""
    found = _QUOTED_KEY.match(text, position)
    if found is None and not quoted_only:
        found = _FIELD_KEY.match(text, position)
    if found is None and any_name:
        found = _NAME_KEY.match(text, position)
    if found is None:
        return None
    name = next(group for group in found.groups() if group is not None)
    return normal_key(name), found.end()


@lru_cache(maxsize=1024)
def normal_key(name: str) -> str:
    """`**Image\\_Position**` and `image position` are both `image_position`."""
    return re.sub(r"[\s\-]+", "_", name.replace("\\", "").strip(" *`_\t")).lower()


def read_plain(text: str) -> Any:
    """The value of plain JSON.

    Raises:
        ValueError: it is none, or an object writes a key twice, in whatever case: which one counts is not ours to say.
    """
    value = orjson.loads(text)
    try:
        json.loads(text, object_pairs_hook=_each_key_once)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def _each_key_once(pairs: list[tuple[str, Any]]) -> None:
    if len({normal_key(key) for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is written twice")
