"""Loose comparison of short answers, as Multi-modal Self-Instruct's `scripts/eval_vqa.py` does it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from mmevol_core.errors import UserError

TOLERANCE = 0.05  # relative error that still counts as the same number
ROUGE_FLOOR = 1e-8  # keeps the F1 of no shared word at 0
_FINAL = re.compile(r"the answer is (.*?)(?:\.\s|$)")
_NUMBER = re.compile(r"\d[\d,]*\.?\d+")  # two or more digits, as in the source
_MARKER = re.compile(r"[A-Za-z][0-9]|[0-9][A-Za-z]")
_MEASURE = re.compile(
    r"([-+]?\d[\d,]*(?:\.\d+)?)(?:\s+[^\W\d_]+|\s*(?:[kcm]?m|k?g|mg|ft|mph|[kmgt]b))"
)  # a number and one word; a unit may touch the number
_LETTERS = ("a", "b", "c", "d")


def prepared(text: str, periods: int, nlp: bool) -> str:
    """Lower case, the part after "the answer is", final periods (up to `periods`), percent and degree sign dropped.

    Then units: with `nlp` as the source does, by parts of speech; without it, the one word of a text that is a number
    and a word, which is the common case.
    """
    text = text.strip().lower()
    stated = _FINAL.search(text)
    text = stated[1] if stated else text
    for _ in range(periods):
        text = text.removesuffix(".")
    text = text.removesuffix("%").removesuffix("°c")
    if nlp:
        return without_units(text)
    measure = _MEASURE.fullmatch(text)
    return measure[1] if measure else text


def right(said: str, gold: str, nlp: bool) -> bool:
    """Whether two prepared texts mean the same; the first rule that applies decides."""
    said_number, gold_number = _number(said), _number(gold)
    if gold_number is not None:
        found = [] if said_number is None else [said_number]
        return any(_close(value, gold_number) for value in (*found, *_numbers(said)))
    if said in _LETTERS or gold in _LETTERS or _wrapped(gold, "[]"):
        return said == gold
    if _wrapped(gold, "()"):
        return False  # the source compares single characters with numbers of two and more digits
    if (said and said in gold) or gold in said:
        return True
    return bool(said) and nlp and _synonyms(said, gold)


def markers(text: str) -> list[str]:
    """Letter-digit and digit-letter pairs, each once, in order."""
    return list(dict.fromkeys(_MARKER.findall(text)))


def _wrapped(text: str, pair: str) -> bool:
    return len(text) >= 2 and text[0] == pair[0] and text[-1] == pair[1]


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def _numbers(text: str) -> Iterable[float]:
    return (float(found.replace(",", "")) for found in _NUMBER.findall(text))


def _close(value: float, gold: float) -> bool:
    return abs(value - gold) <= TOLERANCE * abs(gold)


@cache
def _tagger() -> Any:
    try:
        import spacy

        return spacy.load("en_core_web_sm")
    except (ImportError, OSError) as error:
        raise UserError(
            "MMSInst's official rules need spaCy and its model en_core_web_sm; install both, or take "
            "--protocol without_nlp"
        ) from error


def without_units(text: str) -> str:
    """Tokens joined by spaces, nouns and prepositions right after a number dropped."""
    if not text:
        return text
    words, after_number = [], False
    for token in _tagger()(text):
        if after_number and (token.pos_ in ("NOUN", "ADP") or token.tag_ in ("NN", "IN")):
            continue
        words.append(token.text)
        after_number = token.pos_ == "NUM"
    return " ".join(words)


def nlp_here() -> bool:
    """Whether spaCy's model and WordNet are installed."""
    try:
        _tagger()
        _wordnet()
    except UserError:
        return False
    return True


@cache
def _wordnet() -> Any:
    try:
        from nltk.corpus import wordnet

        wordnet.ensure_loaded()
    except (ImportError, LookupError) as error:
        raise UserError(
            "MMSInst's official rules need nltk and its WordNet data; install both, or take --protocol without_nlp"
        ) from error
    return wordnet


def _synonyms(said: str, gold: str) -> bool:
    wordnet = _wordnet()
    return not set(wordnet.synsets(said)).isdisjoint(wordnet.synsets(gold))


def rouge_l(said: str, gold: str) -> float:
    """Summary-level ROUGE-L F1 (0..1) as the package `rouge` 1.0.1 computes it; 0 for an empty reply.

    Sentences end at periods and words count once: shared are the words that stand in the longest common subsequence
    of any pair of sentences.
    """
    found, wanted = _sentences(said), _sentences(gold)
    if not found or not wanted:
        return 0.0
    shared: set[str] = set()
    for sentence in found:
        for other in wanted:
            shared.update(_common(sentence, other))
    precision = len(shared) / len({word for sentence in found for word in sentence})
    recall = len(shared) / len({word for sentence in wanted for word in sentence})
    return 2 * precision * recall / (precision + recall + ROUGE_FLOOR)


def _sentences(text: str) -> list[list[str]]:
    """Words by sentence; a blank sentence is one empty word, as in the source."""
    return [sentence.split() or [""] for sentence in text.split(".") if sentence]


def _common(left: Sequence[str], right_words: Sequence[str]) -> list[str]:
    """Words of a longest common subsequence, from the end; at a tie the right side's last word is left out first."""
    lengths = [[0] * (len(right_words) + 1)]
    for word in left:
        above, row = lengths[-1], [0]
        for place, other in enumerate(right_words):
            row.append(above[place] + 1 if word == other else max(above[place + 1], row[place]))
        lengths.append(row)
    words, i, j = [], len(left), len(right_words)
    while i and j:
        if left[i - 1] == right_words[j - 1]:
            words.append(left[i - 1])
            i, j = i - 1, j - 1
        elif lengths[i - 1][j] > lengths[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return words
