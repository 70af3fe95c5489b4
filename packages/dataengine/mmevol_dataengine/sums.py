"""Sums, parities and comparisons in an answer: false ones, and conclusions that their own reasons deny.

Only a whole clause of plain numbers is read ("so 3 + 4 = 8."). A part of a longer term (2 + 3 × 4), a power, a root, a
function, a time of day, a number with separators or a unit that may convert says nothing.
"""

from __future__ import annotations

import re
from operator import add, mul, sub

from mmevol_core.sample import QA
from mmevol_dataengine.claims import said, stem
from mmevol_dataengine.vocabulary import words

# A whole number that is no part of another.
_PLAIN = r"(?<![\w.,:/^√%$€£°~+*×÷·=\-−–)\]])(\d+)(?!\w|[.,:/^]\d|[%°!'²³^])"
_SUM = re.compile(
    rf"{_PLAIN}\s*(?:(\+|\*|×|plus|minus|times)\s*(\d+)\s*(?:=|is|are|equals|makes|gives)"
    r"|([-−])\s*(\d+)\s*(?:=|equals|gives|makes))\s*(\d+)(?=[.;?,)\"'*]*\s*$|[.;?,]\s|\s+so\b)",
    re.IGNORECASE,
)
# What may stand before a sum: nothing, the end of a sentence, a word with comma or colon, a word that introduces.
_BEFORE = re.compile(
    r"(?:^|[.;!?]\s+|\n\s*|[a-z][,:]\s+\(?|[a-z]\s+is:?\s+|,\s+and\s+|\b(?:so|because|since|as|then|thus|hence|therefore|that"
    r"|means|have|get|of)\s+)$",
    re.IGNORECASE,
)
_OTHER_ARITHMETIC = re.compile(
    r"\b(mod\w*|clock|time|o'clock|hours?|minutes?|[ap]m|binary|boolean|bits?|base|hex\w*|octal|concat\w*|log\w*"
    r"|if|suppose\w*|assum\w*|instead|wrong\w*|mistak\w*|incorrect\w*|puzzle|operator|operation|code|false"
    r"|odd (?:one|man|number) out|belong\w*|differ\w* from)\b",
    re.IGNORECASE,
)
_PARITY = re.compile(
    rf"{_PLAIN} is (?:an? )?(even|odd)\b(?=\s+number\s*[.;,!?]|\s+number$|\s*[.;,!?]|\s*$|\s+(?:so|because|since)\b)",
    re.IGNORECASE,
)
_DOUBTED = re.compile(
    r"\b(not|whether|claim\w*|says?|said|or|unless|nor|never|statement|plus|minus|times|sum|product|squared?|root|by)\b"
    r"|n't|[+*×÷√=−-]",
    re.IGNORECASE,
)
_THAN = re.compile(
    r"\b(more|larger|bigger|greater|higher|fewer|less|smaller|lower) than (\d+)\b(?![.,:/^]\d|%)", re.IGNORECASE
)
_LARGER = ("more", "larger", "bigger", "greater", "higher")
_ANY_NUMBER = re.compile(r"\d[\d.,:/^]*\d|\d")
_CHANGES = re.compile(
    r"\b(plus|minus|times|sum|add\w*|and|next|after|before|twice|double\w*|half|pairs?|each|every|per|both|dozens?"
    r"|hundreds?|thousands?|millions?|successor|previous|total|other|left|remain\w*)\b|[+*×÷√^%]",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"^\W*(?:(?:so|thus|hence|therefore)\W+)?(?:(?:the|my) (?:final )?answer is:?|it is)\s*(\d+)\W*$", re.IGNORECASE
)

_OPERATIONS = {
    "+": add, "plus": add, "-": sub, "−": sub, "minus": sub, "*": mul, "×": mul, "times": mul,
}  # fmt: skip


def wrong_sum(item: QA) -> str | None:
    """A sum, a parity or a comparison in the answer that is false, or that its own conclusion denies."""
    if _OTHER_ARITHMETIC.search(item.question) or _OTHER_ARITHMETIC.search(item.answer):
        return None
    return _false_sum(item.answer) or _wrong_parity(item) or _wrong_comparison(item)


def _false_sum(answer: str) -> str | None:
    for found in _SUM.finditer(answer):
        if not _BEFORE.search(answer[: found.start()]):
            continue
        one, result = int(found.group(1)), found.group(6)
        sign, other = (found.group(2) or found.group(4)).lower(), int(found.group(3) or found.group(5))
        true = _OPERATIONS[sign](one, other)
        if int(result) != true:
            return f"{one} {sign} {other} is {true}, not {result}"
        last = _CONCLUDES.match(answer[found.end() :])
        if last and int(last.group(1)) not in {true, one, other}:
            return f"finds {result} and concludes {last.group(1)}"
    return None


def _wrong_parity(item: QA) -> str | None:
    read = [
        found for found in _PARITY.finditer(item.answer) if not _DOUBTED.search(_clause(item.answer, found.start()))
    ]
    parities = {(found.group(1), found.group(2).lower()) for found in read}
    for number, parity in parities:
        if (int(number) % 2 == 0) != (parity == "even"):
            return f"{number} is not {parity}"
    if len(parities) != 1 or len(set(_ANY_NUMBER.findall(item.answer))) != 1 or _CHANGES.search(stem(item)):
        return None
    ((_, parity),) = parities
    last = said(item).lower()
    asked = [word for word in ("even", "odd") if word in words(stem(item))]
    denied = last in {"even", "odd"} and last != parity
    denied = denied or (len(asked) == 1 and last in {"yes", "no"} and (asked[0] == parity) != (last == "yes"))
    return f"concludes {last} against its own reason" if denied else None


def _clause(text: str, end: int) -> str:
    """What stands before `end` in its sentence."""
    return re.split(r"[.;!?\n]", text[:end])[-1]


def _wrong_comparison(item: QA) -> str | None:
    """Yes or no to "more than N" when the answer speaks of one other number."""
    asked, last = _THAN.findall(stem(item)), said(item).lower()
    if len(asked) != 1 or last not in {"yes", "no"}:
        return None
    how, limit = asked[0][0].lower(), int(asked[0][1])
    numbers = set(_ANY_NUMBER.findall(item.answer)) - {str(limit)}
    if len(numbers) != 1 or _CHANGES.search(stem(item)) or _CHANGES.search(re.sub(r"\band\b", "", item.answer)):
        return None
    (text,) = numbers
    if not text.isdigit() or not re.search(_PLAIN, item.answer):
        return None
    number = int(text)
    true = number > limit if how in _LARGER else number < limit
    return (
        None
        if true == (last == "yes")
        else f"concludes {last}, but {number} is {'' if true else 'not '}{how} than {limit}"
    )
