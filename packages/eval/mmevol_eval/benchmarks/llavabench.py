"""LLaVA-Bench in the wild: a judge rates a reference answer and the model's, 1..10 each.

Data: VLMEvalKit `LLaVABench.tsv` (60 rows) with caption, gpt4_ans, category conv, detail or complex.
Prompt: the question as it is.
Unparsed: -1 for both, which the official means include (first line must be two numbers with one space between).
Formula: 100 x mean rating of the model / mean rating of the reference, overall and by category, one decimal; both
means x 10 beside it. An item's own score is its rating / 10.
Source: Liu et al. 2023; VLMEvalKit at e8e78f05, `llavabench.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from mmevol_eval.benchmark import Benchmark, Graded, Headline, Item, Judge
from mmevol_eval.grading import mmevol_prompts
from mmevol_eval.grading.judging import rate_two
from mmevol_eval.grading.tsv import read_items

MAIN = "Relative Score (main)"


def grade(item: Item, reply: str, rules: str, judge: Judge | None) -> Graded:
    """Both ratings of one judge call."""
    pair = _pair(judge.ask(rate_two(item, reply))) if judge else None
    if pair is None:
        return Graded(item, 0.0, "", "none", {"reference": -1.0, "model": -1.0})
    reference, model = pair
    detail = {"reference": reference, "model": model}
    return Graded(item, min(1.0, max(0.0, model / 10)), f"{reference:g} {model:g}", "judge", detail)


def _pair(review: str) -> tuple[float, float] | None:
    words = review.split("\n")[0].replace(",", " ").split(" ")
    try:
        pair = (float(words[0]), float(words[1])) if len(words) == 2 else None
    except ValueError:
        return None
    return pair if pair and all(map(isfinite, pair)) else None


def scores(graded: Sequence[Graded], rules: str) -> dict[str, float]:
    """The three columns overall, and `CATEGORY|...` of each category."""
    result = _columns(graded)
    for category in sorted({row.item.category for row in graded}):
        table = _columns([row for row in graded if row.item.category == category])
        result |= {f"{category}|{name}": value for name, value in table.items()}
    return result


def _columns(rows: Sequence[Graded]) -> dict[str, float]:
    model = sum(row.detail["model"] for row in rows) / len(rows)
    reference = sum(row.detail["reference"] for row in rows) / len(rows)
    columns = {MAIN: model / reference * 100 if reference else 0.0, "VLM Score": 10 * model}
    columns["GPT4 Score"] = 10 * reference
    return {name: round(value * 10) / 10 for name, value in columns.items()}


BENCHMARK = Benchmark(
    name="LLaVABench",
    version="2",  # 2: a judge's `nan` or `inf` is no rating
    load=lambda path: read_items(path, need=("category", "caption", "gpt4_ans")),
    prompt=mmevol_prompts.plain,
    grade=grade,
    scores=scores,
    headline=lambda rules: Headline(MAIN),
    no_reply=lambda item: {"reference": 10.0, "model": 0.0},
    needs_judge=True,
    has_answer=lambda item: bool(item.extra["gpt4_ans"].strip()),
)
