"""POPE: is this object in the image? Yes/no, three ways of choosing the absent objects.

Data: VLMEvalKit `POPE.tsv`, columns index, image, question, answer (Yes/No), category (a comma-separated list of
adversarial, popular, random: one row stands for a question of each).
Prompt: the question as it is.
Unparsed: wrong for accuracy; counts as No for precision, recall and F1, as in the kit.
Formula: F1 of Yes, accuracy, precision and recall in percent, over the rows of each category and over all of them
after splitting. The kit calls the F1 column `Overall`.
Source: Li et al. 2023; VLMEvalKit at e8e78f05, `POPE_rating`.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmevol_eval.benchmark import Benchmark, Graded, Headline
from mmevol_eval.grading import mmevol_prompts, yes_no
from mmevol_eval.grading.tables import percent
from mmevol_eval.grading.tsv import read_items


def scores(graded: Sequence[Graded], rules: str) -> dict[str, float]:
    """F1 (`Overall`), acc, precision and recall in percent: of all rows, and `CATEGORY|...` of each category."""
    exploded = [(category, row) for row in graded for category in row.item.category.split(",")]
    result = _table([row for _, row in exploded])
    for category in sorted({category for category, _ in exploded if category}):
        table = _table([row for name, row in exploded if name == category])
        result |= {f"{category}|{column}": value for column, value in table.items()}
    return result


def _table(rows: Sequence[Graded]) -> dict[str, float]:
    said = sum(row.parsed == "Yes" for row in rows)
    present = sum(row.item.answer == "Yes" for row in rows)
    found = sum(row.parsed == "Yes" == row.item.answer for row in rows)
    precision = found / said if said else 0.0
    recall = found / present if present else 0.0
    f1 = 2 * precision * recall / (precision + recall) if found else 0.0
    return {
        "Overall": 100 * f1,
        "acc": percent(row.score for row in rows),
        "precision": 100 * precision,
        "recall": 100 * recall,
    }


BENCHMARK = Benchmark(
    name="POPE",
    version="1",
    load=lambda path: read_items(path, need=("answer", "category")),
    prompt=mmevol_prompts.yes_no,
    grade=yes_no.grade,
    scores=scores,
    headline=lambda rules: Headline("Overall", "F1, percent"),
)
