"""MME: yes/no questions in pairs, 14 abilities, 0..2800 points.

Data: VLMEvalKit `MME.tsv` (2,374 rows), columns index, image, question, answer (Yes/No), category, image_path.
Prompt: the question as it is; it ends in a request for yes or no.
Unparsed: a reply with both or neither of yes and no is wrong.
Formula: a category scores 100 x accuracy + 100 x share of images whose two answers are both right; perception is the
sum of ten categories (0..2000), cognition of four (0..800; `reasoning` in the kit). MMEvol prints cognition / 8.
Source: Fu et al. 2023; VLMEvalKit at e8e78f05, `MME_rating`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmevol_eval.benchmark import MMEVOL, Benchmark, Graded, Headline, Item
from mmevol_eval.grading import mmevol_prompts, yes_no
from mmevol_eval.grading.tables import distinct, grouped, percent
from mmevol_eval.grading.tsv import read_items

if TYPE_CHECKING:
    from collections.abc import Iterator

PERCEPTION = (
    "OCR", "artwork", "celebrity", "color", "count", "existence", "landmark", "position", "posters", "scene",
)  # fmt: skip
COGNITION = ("code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation")


def load(path: Path) -> Iterator[Item]:
    """Items of `MME.tsv`; the two questions about one image are a cluster."""
    for item in read_items(path, need=("answer", "category", "image_path")):
        yield replace(item, cluster=f"{item.category}/{item.extra['image_path']}")


def scores(graded: Sequence[Graded], rules: str) -> dict[str, float]:
    """Points: total (0..2800), perception, reasoning, each category (0..200); `cognition_percent` is reasoning / 8."""
    points = {str(name): _points(rows) for name, rows in grouped(graded, lambda row: row.item.category).items()}
    perception = sum(points.get(name, 0.0) for name in PERCEPTION)
    reasoning = sum(points.get(name, 0.0) for name in COGNITION)
    totals = {"total": perception + reasoning, "perception": perception, "reasoning": reasoning}
    return totals | {"cognition_percent": reasoning / 8} | points


def _points(rows: Sequence[Graded]) -> float:
    both: list[float] = []
    for group in grouped(rows, lambda row: row.item.extra["image_path"]).values():
        pair, times = distinct(group)
        both += [float(len(pair) > 1 and all(row.score == 1 for row in pair[:2]))] * times
    return percent(row.score for row in rows) + percent(both)


def headline(rules: str) -> Headline:
    """All points; under MMEvol's rules its column MME_C."""
    if rules == MMEVOL:
        return Headline("cognition_percent")
    return Headline("total", "points", 2800.0)


BENCHMARK = Benchmark(
    name="MME",
    version="1",
    load=load,
    prompt=mmevol_prompts.yes_no,
    grade=yes_no.grade,
    scores=scores,
    headline=headline,
)
