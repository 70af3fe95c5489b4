"""OCRBench: is the text that stands in the image in the reply?

Data: VLMEvalKit `OCRBench.tsv` (1,000 rows), answer = list of accepted texts, ten categories.
Prompt: the question as it is.
Unparsed: nothing is; every reply is searched.
Formula: a hit when an accepted text (lower case, one line) is part of the reply; handwritten formulas are compared
with all spaces removed and case kept. Sums of hits by group; Final Score of 1,000; Final Score Norm = a tenth of it.
Source: Liu et al. 2023; VLMEvalKit at e8e78f05, `OCRBench.evaluate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import Benchmark, Graded, Headline, Item, Judge
from mmevol_eval.grading import mmevol_prompts
from mmevol_eval.grading.tsv import answers_of, read_items

FORMULAS = "Handwritten Mathematical Expression Recognition"
RECOGNITION = tuple(
    f"{kind} Recognition"
    for kind in ("Regular Text", "Irregular Text", "Artistic Text", "Handwriting", "Digit String", "Non-Semantic Text")
)
OTHERS = ("Scene Text-centric VQA", "Doc-oriented VQA", "Key Information Extraction", FORMULAS)


def load(path: Path) -> Iterator[Item]:
    """Items; UserError for a category that OCRBench does not have."""
    for item in read_items(path, need=("answer", "category")):
        if item.category not in RECOGNITION + OTHERS:
            raise UserError(f"{path} row {item.index}: {item.category!r} is no category of OCRBench")
        yield item


def grade(item: Item, reply: str, rules: str, judge: Judge | None) -> Graded:
    """1 when an accepted text is part of the reply."""
    formula = item.category == FORMULAS
    accepted = [_prepared(text, formula) for text in answers_of(item.answer)]
    text = _prepared(reply, formula)
    return Graded(item, float(any(part in text for part in accepted)), reply, "rule")


def _prepared(text: str, formula: bool) -> str:
    line = text.strip().replace("\n", " ")
    return line.replace(" ", "") if formula else line.lower()


def scores(graded: Sequence[Graded], rules: str) -> dict[str, float]:
    """Hits by group, Final Score, and Final Score Norm (a tenth)."""
    hits = dict.fromkeys(("Text Recognition", *OTHERS), 0.0)
    for row in graded:
        hits["Text Recognition" if row.item.category in RECOGNITION else row.item.category] += row.score or 0.0
    total = sum(hits.values())
    return hits | {"Final Score": total, "Final Score Norm": total / 10}


BENCHMARK = Benchmark(
    name="OCRBench",
    version="1",
    load=load,
    prompt=mmevol_prompts.plain,
    grade=grade,
    scores=scores,
    headline=lambda rules: Headline("Final Score Norm", "tenths of hits (percent of 1,000 items)"),
)
