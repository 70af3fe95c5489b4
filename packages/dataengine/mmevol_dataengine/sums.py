"""Sums, parities and comparisons in an answer: false ones, and conclusions that their own reasons deny."""

from __future__ import annotations

import re

from mmevol_core.sample import QA
from mmevol_dataengine.claims import said, stem
from mmevol_dataengine.vocabulary import words

_SUM = re.compile(
    r"(?<![\d.])(\d+)\s*(\+|-|−|\*|×|plus|minus|times)\s*(\d+)\s*(?:=|is|are|equals|makes|gives)\s*(\d+)(?![\d.]*\d)",
    re.I,
)
_PARITY = re.compile(r"(?<![\d.])(\d+) is (?:an? )?(even|odd)\b", re.IGNORECASE)
_THAN = re.compile(r"\b(more|larger|bigger|greater|higher|fewer|less|smaller|lower) than (\d+)\b", re.IGNORECASE)
_LARGER = ("more", "larger", "bigger", "greater", "higher")
_NUMBER = re.compile(r"(?<![\d.])\d+(?![\d.]*\d)")


def wrong_sum(item: QA) -> str | None:
    """A sum, a parity or a comparison in the answer that is false, or that its own conclusion denies."""
    answer, last, result = item.answer, said(item).lower(), ""
    for one, sign, other, result in _SUM.findall(answer):
        left, right = int(one), int(other)
        true = {
            "+": left + right,
            "plus": left + right,
            "*": left * right,
            "×": left * right,
            "times": left * right,
        }.get(sign.lower(), left - right)
        if int(result) != true:
            return f"{one} {sign} {other} is {true}, not {result}"
    if result and last.isdigit() and last != result and len(answer.split()) > 4:
        return f"finds {result} and concludes {last}"
    parities = set(_PARITY.findall(answer))
    for number, parity in parities:
        if (int(number) % 2 == 0) != (parity.lower() == "even"):
            return f"{number} is not {parity}"
    if len(parities) == 1 and last in {"even", "odd"} and last not in {parity.lower() for _, parity in parities}:
        return f"concludes {last} against its own reason"
    asked = [word for word in ("even", "odd") if word in words(stem(item))]
    if (
        len(parities) == len(asked) == 1
        and last in {"yes", "no"}
        and (asked[0] in {p.lower() for _, p in parities}) != (last == "yes")
    ):
        return f"concludes {last} against its own reason"
    return _wrong_comparison(item, answer, last)


def _wrong_comparison(item: QA, answer: str, last: str) -> str | None:
    """Yes or no to "more than N" when the answer speaks of one other number."""
    asked = _THAN.findall(stem(item))
    if len(asked) != 1 or last not in {"yes", "no"}:
        return None
    how, limit = asked[0][0].lower(), int(asked[0][1])
    numbers = {int(number) for number in _NUMBER.findall(answer)} - {limit}
    if len(numbers) != 1 or re.search(r"\b(plus|minus|times|sum|add|and)\b|[+*×]", stem(item), re.IGNORECASE):
        return None
    (number,) = numbers
    true = number > limit if how in _LARGER else number < limit
    return (
        None
        if true == (last == "yes")
        else f"concludes {last}, but {number} is {'' if true else 'not '}{how} than {limit}"
    )
