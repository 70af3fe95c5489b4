"""MMMU, development and validation splits: college questions, some with several images.

Data: VLMEvalKit `MMMU_DEV_VAL.tsv` (150 dev, 900 validation), up to nine options.
Prompt: as for multiple choice, with images in the places that the text names.
Unparsed: wrong (the official tool draws a random letter after three judge calls).
Formula: accuracy in percent by split, overall and by category. A question without options becomes a choice between
its answer (A) and `Other Answers` (B).
Source: Yue et al. 2023; VLMEvalKit at e8e78f05, `MMMU_preproc`.
"""

from __future__ import annotations

import random
from dataclasses import replace

from mmevol_eval.benchmark import LETTERS, Graded, Headline, Item, Judge
from mmevol_eval.grading import choice, mmevol_prompts
from mmevol_eval.grading.tables import by_split

HEADLINE = "validation|Overall"
ALL = "Overall"  # the headline of a file that has splits, but not validation


def grade(item: Item, reply: str, rules: str, judge: Judge | None, *, draw: random.Random | None = None) -> Graded:
    """Grade as multiple choice, open questions as a choice of two."""
    gold = item.answer if len(item.answer) == 1 and item.answer in LETTERS else "A"
    if "A" not in item.options:
        item = replace(item, options={"A": item.answer, "B": "Other Answers"} | _beyond(item))
    return choice.grade(item, reply, rules, judge, gold=gold, draw=draw)


def _beyond(item: Item) -> dict[str, str]:
    return {letter: text for letter, text in item.options.items() if letter > "B"}


def scores(graded: list[Graded], rules: str) -> dict[str, float]:
    """Percent by split; a file without splits is taken for validation."""
    table = by_split(graded)
    return table if any(row.item.split for row in graded) else {HEADLINE: table["Overall"]} | table


BENCHMARK = choice.benchmark(
    "MMMU_DEV_VAL",
    version="4",  # 4: the headline of a file with splits, but not validation, is `Overall`
    aliases=("MMMU", "MMMU_VAL"),
    prompt=mmevol_prompts.mmmu,
    grade=grade,
    scores=scores,
    headline=lambda rules: Headline(HEADLINE, otherwise=ALL),
)
