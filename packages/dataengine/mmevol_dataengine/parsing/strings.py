"""Strings: where one provably ends, and what its escapes mean.

A quote ends a string only where the structure goes on after it (a separator and a key, a closing bracket) and the
quotes left inside are balanced. A string whose end is in doubt makes its item unusable; it is never guessed.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from itertools import islice

from mmevol_dataengine.parsing.lexis import (
    CLOSE_LIST,
    CLOSE_OBJECT,
    FIELDS,
    OPEN_LIST,
    OPEN_OBJECT,
    QUOTES,
    SEPARATORS,
    VALUE_START,
    BrokenError,
    CutError,
    key_at,
    skip,
    skip_separators,
)

_CLOSERS = {
    '"': '"', "＂": '"＂', "“": '”"“', "”": '”"', "„": '“”"', "'": "'", "‘": "’'", "’": "’'",
}  # fmt: skip
# Signs that a "repaired" string has swallowed structure: strings side by side, a bracket or a field between quotes.
_ADJACENT = re.compile(
    rf"""["“”]\s*\+?\s*["“”]|["“”'’]\s*[\[{{\]}}]+\s*["“”'‘]|["“”'‘](?:{FIELDS})["“”'’]\s*["“”'‘\[\]{{}}:,]|```json"""
)
_TWO_WORDS = re.compile(rf"""^\s*[{SEPARATORS}]|["“”'’＂]\s*[{SEPARATORS}]""")  # in a list of words: a quote was lost
# The next of several strings side by side; and a number that a string of its own held.
_NEXT = re.compile(rf"""[{QUOTES}]\s*(?:[{SEPARATORS}/|&]+|\b(?:and|or)\b|[和或])\s*[{QUOTES}]""")
_NUMBER_ALONE = re.compile(rf"""\s*[\d.]+["”＂]\s*[{SEPARATORS}]""")
_APOSTROPHES = re.compile(r"(?P<opens>(?<!\w)['‘](?=\w))|(?P<closes>(?<=\w)['’](?!\w))")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|U00[01][0-9a-fA-F]{5}|[A-Za-z]+|.)", re.DOTALL)
_FIELD = re.compile(FIELDS)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r"}
# Commands of LaTeX that begin with the letter of a JSON escape: "\times" is never a tab and "imes".
_COMMANDS = """
    nabla neg neq newline nexists ngeq nleq nmid nolimits notin nparallel nsubseteq rVert rangle rbrace rbrack
    rceil rfloor rho right rightarrow rightarrows rightharpoonup root rvert tanh tau tbinom text textbf textcolor
    textit textrm textsf textstyle texttt tfrac therefore theta thickapprox tilde times triangle triangleleft
    triangleq triangleright
"""
_LATEX = frozenset(_COMMANDS.split())
_LATEX_IN_MATH = frozenset(
    ["to", "tan", "top", "tag", "tt", "nu", "ne", "ni", "not", "rm"]
)  # tab + "an" is English outside of formulas
# C:\temp\new with single backslashes: escapes or folders, nobody can tell.
_PATH = re.compile(r"(?<![A-Za-z])[A-Z]:\\(?:[tr][a-z]|[a-z]\w*\\[A-Za-z])")
# Between two dollars that hug their formula; not between two amounts of money.
_MATH = re.compile(r"\$(?=[^\s$])[^$]*(?<=[^\s$])\$(?!\w)|\$\$[^$]*\$\$|\\\([^()]*\\\)|\\\[[^\[\]]*\\\]")
_MATH_SIGN = re.compile(r"\$(?!\d)|\\[(\[]|\\[A-Za-z]+\{|[_^]\{")  # outside of such pairs: perhaps a formula


def read_string(text: str, start: int, *, in_list: bool) -> tuple[str, int]:
    """Read the string that opens at `start`; return it decoded and the position after its closing quote.

    Raises:
        CutError: the text ends before the string.
        BrokenError: its end or its escapes are ambiguous.
    """
    mark = text[start]
    for fence in ('"""', "'''"):
        if text.startswith(fence, start) and not text.startswith(fence[0], start + 3):
            found = _triple(text, start, fence, in_list)
            if found is not None:
                return found
    closers = _CLOSERS[mark]
    inner: list[int] = []
    position = start + 1
    while True:
        position = _next_quote(text, position, closers)
        after = position + 1
        ends = _continues(text, after, in_list=in_list, repaired=bool(inner))
        sure = not inner and mark not in "“”"  # an opened “ shows that the first ” after it is its own
        if ends and (sure or _balanced(text, start + 1, position, inner, mark)):
            raw = text[start + 1 : position]
            swallowed = inner and (_ADJACENT.search(raw) or _is_list(raw, closers))
            if swallowed or (in_list and (inner or mark != '"') and _TWO_WORDS.search(raw)):
                raise BrokenError(position)
            return decode(raw, start, python=mark == "'"), after
        if skip(text, after) >= len(text):
            raise CutError
        if _looks_like_key(text, position, mark):
            raise BrokenError(position)
        inner.append(position)
        position = after


def _triple(text: str, start: int, fence: str, in_list: bool) -> tuple[str, int] | None:
    end = text.find(fence, start + 3)
    if end < 0 or not _continues(text, end + 3, in_list=in_list, repaired=True):
        return None
    return decode(text[start + 3 : end], start, python=False), end + 3


def _next_quote(text: str, position: int, closers: str) -> int:
    """Position of the next closing quote that is not escaped."""
    pattern = _quote_pattern(closers)
    found = pattern.search(text, position)
    while found is not None and found[0][0] == "\\":
        found = pattern.search(text, found.end())
    if found is None:
        raise CutError
    return found.start()


def _quote_pattern(closers: str) -> re.Pattern[str]:
    return re.compile(rf"\\.|[{closers}]", re.DOTALL)  # `re` caches compiled patterns


def _looks_like_key(text: str, position: int, mark: str) -> bool:
    """An inner quote that opens `"key": VALUE` means that the quote before it was forgotten."""
    if text[position] not in QUOTES:
        return False
    key = key_at(text, position, quoted_only=mark not in "'‘’")
    return key is not None and (_FIELD.fullmatch(key[0]) is not None or VALUE_START.match(text, key[1]) is not None)


def _continues(text: str, after: int, *, in_list: bool, repaired: bool) -> bool:
    """Does the structure go on after a string that ends before `after`?"""
    here = skip(text, after)
    if repaired and any(mark in QUOTES for mark in text[after:here]):
        return False  # a comment that holds quotes may be text after an inner quote
    beyond, separated = skip_separators(text, here)
    if beyond >= len(text):
        return False
    mark = text[beyond]
    if mark in CLOSE_OBJECT or mark in CLOSE_LIST:
        return True
    key = key_at(text, beyond, quoted_only=not separated and "\n" not in text[after:here])
    if key is not None:
        return True
    if in_list:
        return (mark in QUOTES and (separated or not repaired)) or (separated and mark in OPEN_OBJECT)
    return separated and (mark in OPEN_OBJECT or (mark in OPEN_LIST and mark != "("))


def _balanced(text: str, start: int, end: int, inner: list[int], mark: str) -> bool:
    """Are the quotes kept inside text[start:end] pairs (or one inch mark, or apostrophes)?"""
    if mark in "'‘’":
        openers = sum(_opens(text, place) for place in inner if place >= start)
        closers = sum(text[place + 1 : place + 2].isalnum() is False and text[place - 1].isalnum() for place in inner)
        return openers <= closers
    if mark in "“”":
        inside = text[start:end]
        return inside.count("“") == inside.count("”")
    if len(inner) % 2 == 0:
        return True
    return len(inner) == 1 and text[inner[0] - 1].isdigit()


def _is_list(raw: str, closers: str) -> bool:
    """Is the repaired text a list that lost its brackets: `one", "two`, not `he said "one", "two"`?"""
    places = islice((found for found in _NEXT.finditer(raw) if found[0][0] in closers), 20)  # hostile texts have more
    return _NUMBER_ALONE.match(raw) is not None or any(not _quoting(raw[: each.start()], closers) for each in places)


def _quoting(before: str, closers: str) -> bool:
    """Is an inner quote still open at the end of this part of a text, or the next one escaped?"""
    plain = re.sub(r"\\.", "", before)
    if plain.endswith("\\"):
        return True
    if "'" in closers:
        kinds = [found.lastgroup for found in _APOSTROPHES.finditer(plain)]
        return kinds.count("opens") > kinds.count("closes")
    marks = Counter(plain)
    return (marks['"'] + marks["＂"]) % 2 == 1 or marks["“"] + marks["„"] > marks["”"]


def _opens(text: str, place: int) -> bool:
    return not text[place - 1].isalnum() and text[place + 1 : place + 2].isalnum()


def decode(raw: str, where: int, *, python: bool) -> str:
    """Replace escapes; a backslash that JSON does not know, or that begins a LaTeX command, is content.

    Raises:
        BrokenError: for half a surrogate pair or a control character that nobody writes on purpose.
    """
    if "\\" not in raw:
        return raw
    if _PATH.search(raw) is not None:
        raise BrokenError(where)
    formulas = [0, *(place for found in _MATH.finditer(raw) for place in found.span())]  # outside, inside, outside, ...
    doubtful = _MATH_SIGN.search(_MATH.sub(" ", raw)) is not None
    doubled = kept = False

    def replace(match: re.Match[str]) -> str:
        nonlocal doubled, kept
        math = bisect_right(formulas, match.start()) % 2 == 0
        if doubtful and not math and match[1] in _LATEX_IN_MATH:
            raise BrokenError(where)
        value = _unescape(match[1], where, math=math, python=python)
        doubled = doubled or match[1] == "\\"
        kept = kept or (value[0] == "\\" and match[1] != "\\")
        return value

    value = _ESCAPE.sub(replace, raw)
    if doubled and kept:  # escaped or not: is "\\\\" a row break or one backslash?
        raise BrokenError(where)
    try:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise BrokenError(where) from error


def _unescape(body: str, where: int, *, math: bool, python: bool) -> str:
    first = body[0]
    if first in "uUx" and len(body) in (3, 5, 9) and _is_hex(body[1:]):
        return _character(body, where, python=python)
    if first in "bf":  # form feed and backspace do not occur in answers; \frac and \beta do
        if len(body) == 1:
            raise BrokenError(where)
        return "\\" + body
    if first in _SIMPLE and not (body in _LATEX or (math and body in _LATEX_IN_MATH)):
        return _SIMPLE[first] + body[1:]
    if first in "“”＂":
        return '"'
    if first in "\"'/\\":
        return first + body[1:]
    if first == "\n":
        raise BrokenError(where)
    return "\\" + body


def _character(body: str, where: int, *, python: bool) -> str:
    """Character of a numeric escape; `\\xNN` is known to Python only, elsewhere it is in doubt."""
    if (body[0] == "x" and not python) or int(body[1:], 16) > 0x10FFFF:
        raise BrokenError(where)
    return chr(int(body[1:], 16))


def _is_hex(digits: str) -> bool:
    return all(digit in "0123456789abcdefABCDEF" for digit in digits)
