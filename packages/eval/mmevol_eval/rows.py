"""Graded items as rows that statistics are computed from, and what follows from them for one score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import Graded, Headline
from mmevol_eval.bootstrap import RESAMPLES, Estimate, estimate, headline_for, minimum_detectable
from mmevol_eval.headlines import Row


def graded_row(verdict: Graded) -> Row:
    """An item with its verdict, and all that the sums of a headline need of it."""
    item = verdict.item
    return {
        "index": item.index,
        "cluster": item.cluster or item.index,
        "category": item.category,
        "split": item.split,
        "group": item.extra.get("image_path", item.cluster),
        "answer": item.answer,
        "parsed": verdict.parsed,
        "method": verdict.method,
        "score": verdict.score,
    } | ratings(verdict, "")


def ratings(verdict: Graded, run: str) -> Row:
    """A judge's ratings of the model's and the reference answer, where it gives two."""
    if "reference" not in verdict.detail:
        return {}
    return {f"{run}rating": verdict.detail["model"], f"{run}reference": verdict.detail["reference"]}


def check_scored(benchmark: str, graded: Sequence[Graded]) -> None:
    """A mean of nothing is no 0.

    Raises:
        UserError: the official tool leaves every item out, as where nothing that the judge said can be read.
    """
    if graded and all(verdict.score is None and verdict.method == "none" for verdict in graded):
        raise UserError(
            f"{benchmark}: none of the judge's replies about {len(graded)} items could be read, so there is no score; "
            "see whether it follows the prompt, or is cut at its max_tokens"
        )


def of_headline(rows: Sequence[Row], benchmark: str, headline: str) -> list[Row]:
    """Rows that name what they are of, as statistics read them."""
    return [{"benchmark": benchmark, "headline": headline, **row} for row in rows]


def agrees(headline: Headline, scores: Mapping[str, float], rows: Sequence[Row], percent: float) -> bool:
    """Whether the benchmark's own headline is what its sums give, as far as official tools round."""
    scale = headline.maximum / 100
    return abs(percent * scale - scores[headline.name]) <= headline_for(rows).rounding * max(scale, 1)


def affordable(rows: Sequence[Row]) -> int:
    """Resamples that fit in memory: all up to 10,000 clusters, for VQAv2's 40,000 a quarter, at least 400."""
    return min(RESAMPLES, max(400, 10_000 * RESAMPLES // len({row["cluster"] for row in rows})))


def detectable(found: Estimate) -> float | None:
    """Smallest true difference (percent) to another model that four of five runs of this size would show; None: none.

    For two models whose right answers have nothing to do with each other; a paired comparison finds smaller ones.
    """
    return minimum_detectable(math.sqrt(2) * found.error)


def error_bars(benchmark: str, headline: Headline, scores: Mapping[str, float], rows: Sequence[Row]) -> dict[str, Any]:
    """`ci95` and `mde` in the headline's unit; None without items, or where their scores do not add up to it."""
    if not rows:
        return {"ci95": None, "mde": None}
    headline, scale = headline.within(scores), headline.maximum / 100
    rows = of_headline(rows, benchmark, headline.name)
    found = estimate(rows, resamples=affordable(rows))
    if not agrees(headline, scores, rows, found.value):
        return {"ci95": None, "mde": None}
    smallest = detectable(found)
    return {"ci95": [edge * scale for edge in found.interval], "mde": None if smallest is None else smallest * scale}
