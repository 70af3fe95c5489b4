"""Multiple choice: from a reply to an option letter.

Source: VLMEvalKit at e8e78f05, `can_infer` and the multiple-choice evaluation, with the two other versions of it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import CALL_FAILED, MMEVOL, VLMEVALKIT_02RC1, Benchmark, Graded, Headline, Item, Judge
from mmevol_eval.grading import mmevol_prompts
from mmevol_eval.grading.judging import question_about
from mmevol_eval.grading.tables import by_split
from mmevol_eval.grading.tsv import read_items

UNSURE = "Z"  # the letter for "none of the options"
JUDGE_CALLS = 3
SEED = 2680  # of the letters that MMEvol's copy draws; the kit's own are unseeded
TAIL = 4  # a lone letter counts only among the last so many words (kit)

_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_SEPARATORS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_STATED = re.compile(r"answer\s+is\s+\**([a-d])", re.IGNORECASE)  # no word boundary after the letter, as in the kit


def infer(reply: str, choices: Mapping[str, str], rules: str) -> str | None:
    """The option letter a reply means, `Z` for a refusal, None when the rules do not find one."""
    return _by_letter(reply, choices, rules) or _by_text(reply, choices, rules)


def _by_letter(reply: str, choices: Mapping[str, str], rules: str) -> str | None:
    if CALL_FAILED in reply:
        return None
    if any(refusal in reply for refusal in _REFUSALS):
        return UNSURE
    words = reply.translate(_SEPARATORS).split()
    named = [letter for letter in choices if letter in words]
    if len(named) == 1 and (rules == MMEVOL or words.index(named[0]) >= len(words) - TAIL):
        return named[0]
    if not named and UNSURE in words:
        return UNSURE
    stated = _STATED.search(reply) if rules not in (MMEVOL, VLMEVALKIT_02RC1) else None
    if stated and stated[1].upper() in choices:
        return stated[1].upper()
    return None


def _by_text(reply: str, choices: Mapping[str, str], rules: str) -> str | None:
    lowered = reply.lower()
    if rules != MMEVOL and len(lowered) > 2 * sum(len(text) for text in choices.values()):
        return None
    inside = [letter for letter, text in choices.items() if text.lower() in lowered]
    return inside[0] if len(inside) == 1 else None


def grade(
    item: Item,
    reply: str,
    rules: str,
    judge: Judge | None,
    *,
    gold: str | None = None,
    prompt: str = "choice",
    draw: random.Random | None = None,
) -> Graded:
    """Grade one reply: the rules first, then up to three calls to the judge.

    `gold` replaces `item.answer`; `prompt` names the judge's instruction. The official tool draws a random letter
    when the judge's replies cannot be read either; here the item is unparsed and wrong, unless `draw` is given.
    """
    gold = item.answer if gold is None else gold
    letter = infer(reply, item.options, rules)
    if letter:
        return Graded(item, float(letter == gold), letter, "rule")
    if judge:
        for call in range(JUDGE_CALLS):
            answer = judge.ask(question_about(item, reply, prompt, call))
            letter = None if CALL_FAILED in answer else infer(answer, item.options, rules)
            if letter:
                return Graded(item, float(letter == gold), letter, "judge")
    if judge and draw:
        letter = draw.choice([*item.options, UNSURE])
        return Graded(item, float(letter == gold), letter, "none")
    return Graded(item, 0.0, "", "none")


class Grade(Protocol):
    """A grader of one choice that can also draw."""

    def __call__(
        self, item: Item, reply: str, rules: str, judge: Judge | None, *, draw: random.Random | None = None
    ) -> Graded:
        """The verdict on one reply; letters come from `draw` where neither rules nor judge settle it."""
        ...  # pragma: no cover


def guessing(
    items: Sequence[Item], replies: Mapping[str, str], rules: str, judge: Judge | None, grade: Grade
) -> list[Graded]:
    """Grade one after the other by ascending index, drawing letters as MMEvol's copy does with one worker."""
    draw = random.Random(SEED)
    verdicts = {item.index: grade(item, replies[item.index], rules, judge, draw=draw) for item in ascending(items)}
    return [verdicts[item.index] for item in items]


def ascending(items: Sequence[Item]) -> list[Item]:
    """Items in the order of their indices.

    Raises:
        UserError: an index is no whole number; MMEvol's copy cannot read such a file either.
    """
    odd = next((item.index for item in items if not item.index.lstrip("-").isdecimal()), None)
    if odd is not None:
        raise UserError(f"the official fallback goes by numbered rows, and index {odd!r} is no whole number")
    return sorted(items, key=lambda item: int(item.index))


def benchmark(name: str, **changes: Any) -> Benchmark:
    """A multiple-choice benchmark of the kit with nothing special about it; `changes` are fields of `Benchmark`."""
    fields: dict[str, Any] = {
        "version": "3",  # 2: a judge call that failed is not read; 3: a blank split among others has no row
        "load": read_items,
        "prompt": mmevol_prompts.choice,
        "grade": grade,
        "scores": lambda graded, rules: by_split(graded),
        "headline": lambda rules: Headline("Overall"),
        "notes": "an unreadable reply is wrong; the official tool draws a random letter after three judge calls",
    }
    fields |= changes
    fields = {"guess": partial(guessing, grade=fields["grade"])} | fields
    return Benchmark(name=name, **fields)
