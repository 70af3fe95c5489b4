"""VQA accuracy and the string normalisation that other rules borrow.

Source: GT-Vision-Lab/VQA `vqaEval.py` at a013f004; VLMEvalKit at e8e78f05, `vqa_eval.py`; LLaVA's submission converter.
The accuracy of one answer is the mean over the references of min(1, agreeing others / 3): Antol et al. 2015.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_PERIOD_NOT_AFTER_DIGIT = re.compile(r"(?<!\d)\.(?!\d)")
_PERIODS_REMOVED = 32  # all three sources pass a flag (re.UNICODE = 32) where `sub` takes a count

_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_DIGITS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS)}
_ARTICLES = frozenset(("a", "an", "the"))

_ONE_APOSTROPHE = """
ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't
it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't
somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's
they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's
where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
_TWO_APOSTROPHES = """
couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've something'd've
there'd've they'd've we'd've who'd've wouldn't've y'all'll you'd've
"""
_IRREGULAR = {
    "somebody'd": "somebodyd",  # the wrong way round in the sources
    "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at",
    "'ow'sat": "'ow's'at",
    "yall'd've": "y'all'd've",
    "y'alld've": "y'all'd've",
    "y'all'dve": "y'all'd've",
}


@cache
def contractions() -> dict[str, str]:
    """Misspelt contraction -> the form it stands for; a form with two apostrophes has two misspellings."""
    table = {word.replace("'", ""): word for word in _ONE_APOSTROPHE.split()}
    for word in _TWO_APOSTROPHES.split():
        head, middle, tail = word.split("'")
        table[f"{head}{middle}'{tail}"] = table[f"{head}'{middle}{tail}"] = word
    return table | _IRREGULAR


def strip_punctuation(text: str, *, keep_after_digit: bool) -> str:
    """Delete or blank punctuation, then delete periods; `keep_after_digit` keeps those that follow a digit (kit)."""
    delete_all = _DIGIT_COMMA_DIGIT.search(text) is not None
    stripped = text
    for mark in _PUNCTUATION:
        if mark in text:
            touches_space = mark + " " in text or " " + mark in text
            stripped = stripped.replace(mark, "" if delete_all or touches_space else " ")
    period = _PERIOD_NOT_AFTER_DIGIT if keep_after_digit else _PERIOD
    return period.sub("", stripped, count=_PERIODS_REMOVED)


def simplify_words(text: str) -> str:
    """Lower-case, number words to digits, articles dropped, contractions restored, single spaces."""
    words = [_DIGITS.get(word, word) for word in text.lower().split()]
    return " ".join(contractions().get(word, word) for word in words if word not in _ARTICLES)


def one_line(text: str) -> str:
    """New lines and tabs to spaces, ends stripped."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def normalise(text: str, *, keep_after_digit: bool = False) -> str:
    """Both steps after `one_line`, as `official` and (with `keep_after_digit`) the kit apply them."""
    return simplify_words(strip_punctuation(one_line(text), keep_after_digit=keep_after_digit))


def for_submission(reply: str) -> str:
    """What LLaVA's converter writes into a VQA submission for a reply."""
    early = reply.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return normalise(early)


def accuracy(reply: str, references: Sequence[str], keep_after_digit: bool) -> float:
    """Accuracy (0..1) as in the kit: both sides always normalised, a reference is compared with all others."""
    answer = normalise(reply, keep_after_digit=keep_after_digit)
    matches = [normalise(reference, keep_after_digit=keep_after_digit) == answer for reference in references]
    return _mean(min(1.0, (sum(matches) - match) / 3) for match in matches)


def official_accuracy(reply: str, references: Sequence[dict[str, Any]]) -> tuple[float, str]:
    """Accuracy (0..1) as in the official evaluator, and the string it compared.

    `references` are the `answers` of one annotation. They and the reply are normalised only where the references are
    not all equal. The official code tells references apart by their whole record, so equal records exclude each other.
    """
    answer = one_line(reply)
    records = [{**record, "answer": one_line(str(record["answer"]))} for record in references]
    if len({record["answer"] for record in records}) > 1:
        records = [{**record, "answer": _normalise_again(record["answer"])} for record in records]
        answer = _normalise_again(answer)
    matches = [record for record in records if record["answer"] == answer]
    score = _mean(min(1.0, sum(match != record for match in matches) / 3) for record in records)
    return score, answer


@cache
def _normalise_again(text: str) -> str:
    return simplify_words(strip_punctuation(text, keep_after_digit=False))


def _mean(values: Iterator[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
