"""MM-Vet: open questions, scored 0..1 by a judge.

Data: VLMEvalKit `MMVet.tsv` (218 rows), answer with <AND> and <OR>, category = comma-separated capabilities.
Prompt: the question as it is; MMEvol asks for detail.
Unparsed: 0 (five judge calls without a number in 0..1).
Formula: mean score in percent, overall, by capability (`rec`...) and by combination (`rec_ocr`). As in
the kit, both share one table, so an item of a single capability counts twice in that capability's row.
Source: Yu et al. 2023; VLMEvalKit at e8e78f05, `mmvet.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmevol_eval.benchmark import Benchmark, Graded, Headline, Item, Judge
from mmevol_eval.grading import mmevol_prompts
from mmevol_eval.grading.judging import rate_against
from mmevol_eval.grading.tables import overall_and
from mmevol_eval.grading.tsv import read_items

CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")
JUDGE_CALLS = 5


def grade(item: Item, reply: str, rules: str, judge: Judge | None) -> Graded:
    """The first number in 0..1 that the judge gives."""
    for call in range(JUDGE_CALLS if judge else 0):
        score = _number(judge.ask(rate_against(item, reply, call))) if judge else None
        if score is not None:
            return Graded(item, score, str(score), "judge")
    return Graded(item, 0.0, "", "none")


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def scores(graded: Sequence[Graded], rules: str) -> dict[str, float]:
    """Percent, overall, by capability and by combination of capabilities."""
    return overall_and(graded, _names)


def _names(row: Graded) -> Iterator[str]:
    category = row.item.category
    yield from (name for name in CAPABILITIES if name in category)
    yield category.replace(",", "_")


BENCHMARK = Benchmark(
    name="MMVet",
    aliases=("MM-Vet",),
    version="1",
    load=lambda path: read_items(path, need=("answer", "category")),
    prompt=mmevol_prompts.detailed,
    grade=grade,
    scores=scores,
    headline=lambda rules: Headline("Overall"),
    needs_judge=True,
)
