"""HallusionBench: yes/no questions in groups that tell seeing from guessing.

Data: VLMEvalKit `HallusionBench.tsv` (951 rows with an image); the index reads
`<VD|VS>_<sub>_<visual>_<set>_<figure>_<question>`.
Prompt: the question as it is; MMEvol appends ` Yes or No?`.
Unparsed: wrong.
Formula (percent): aAcc = mean over questions; fAcc = share of figures with every question right; qAcc = share of
questions right on every figure; Avg = their mean, the number of the OpenCompass table. MMEvol prints aAcc.
Source: Guan et al. 2023; VLMEvalKit at e8e78f05, `Hallusion_rating`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import MMEVOL, Benchmark, Graded, Headline, Item
from mmevol_eval.grading import mmevol_prompts, yes_no
from mmevol_eval.grading.tables import all_correct, percent
from mmevol_eval.grading.tsv import read_items

_SET, _FIGURE, _QUESTION = 3, 4, 5  # places in the index, split at underscores


def load(path: Path) -> Iterator[Item]:
    """Items with an image; the questions and figures of one set are a cluster."""
    for item in read_items(path, need=("answer", "category", "l2-category")):
        places = item.index.split("_")
        if len(places) <= _QUESTION:
            raise UserError(f"{path} row {item.index}: the index has no set, figure and question number")
        yield replace(item, cluster=f"{item.l2_category}_{places[_SET]}")


def scores(graded: Sequence[Graded], rules: str) -> dict[str, float]:
    """aAcc, fAcc, qAcc and Avg of all items; `NAME|aAcc`... of each category and l2-category."""
    result = _table(graded)
    for attribute in ("category", "l2_category"):
        for name in sorted({getattr(row.item, attribute) for row in graded}):
            table = _table([row for row in graded if getattr(row.item, attribute) == name])
            result |= {f"{name}|{column}": value for column, value in table.items()}
    return result


def _table(rows: Sequence[Graded]) -> dict[str, float]:
    table = {
        "aAcc": percent(row.score for row in rows),
        "fAcc": all_correct(rows, lambda row: _group(row, _FIGURE)),
        "qAcc": all_correct(rows, lambda row: _group(row, _QUESTION)),
    }
    return table | {"Avg": sum(table.values()) / len(table)}


def _group(row: Graded, place: int) -> tuple[str, str, str]:
    places = row.index.split("_")
    return row.item.l2_category, places[_SET], places[place]


BENCHMARK = Benchmark(
    name="HallusionBench",
    version="1",
    load=load,
    prompt=mmevol_prompts.yes_no_asked,
    grade=yes_no.grade,
    scores=scores,
    headline=lambda rules: Headline("aAcc" if rules == MMEVOL else "Avg"),
)
