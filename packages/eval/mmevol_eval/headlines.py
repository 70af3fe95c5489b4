"""Headlines as functions of sums over questions, which is what makes their bootstrap fast and exact.

The evaluation checks each of them against the benchmark's own `scores` and stops when they differ, so a headline
without an entry here is either the plain mean of the items' scores or an error, never an approximation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmevol_eval.benchmarks.mme import COGNITION, PERCEPTION

Array = NDArray[np.float64]
Row = dict[str, Any]  # a line of items.jsonl: benchmark, headline, index, cluster, category, group, answer, score, ...


@dataclass(frozen=True)
class Headline:
    """`terms(rows, measure)` -> (items, terms); `value(sums (resamples, terms))` -> (resamples,), percent.

    Terms of an item are all zero where the headline does not count it, and only there. `best(rows, measure)` is the
    value were all counted items right, percent.

    A headline that adds or averages categories names their key as `stratum`: a resample then draws within every
    category, for one without a question would count as 0. `rounding` is how far (percent) the official digits may lie
    from `value`. `clean(rows, kept)` is the headline of a part of the rows on the scale of all, where the official
    one would count what was left out as wrong.
    """

    terms: Callable[[Sequence[Row], str], Array]
    value: Callable[[Array], Array]
    stratum: str | None = None
    rounding: float = 0.011  # two digits
    clean: Callable[[Sequence[Row], Sequence[Row]], Headline] | None = None
    best: Callable[[Sequence[Row], str], float] = lambda rows, measure: 100.0


def _share(part: Array, whole: Array) -> Array:
    """part / whole, 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _mean_terms(rows: Sequence[Row], measure: str) -> Array:
    """Score and count; items that the official tool leaves out (no score) count for nothing."""
    scores = [row[measure] for row in rows]
    return np.array([[score or 0.0, float(score is not None)] for score in scores])


mean_headline = Headline(_mean_terms, lambda sums: 100 * _share(sums[:, 0], sums[:, 1]))


def _pope_terms(rows: Sequence[Row], measure: str) -> Array:
    """True positives, positive replies, positive answers and items, once for every setting that an item belongs to."""
    terms = []
    for row in rows:
        yes, right = row["answer"].strip().lower() == "yes", row[measure] == 1
        said_yes = right if yes else not right and row[f"{measure.removesuffix('score')}method"] != "none"
        settings = len(row["category"].split(","))
        terms.append([settings * float(yes and right), settings * float(said_yes), settings * float(yes), settings])
    return np.array(terms)


def _f1(sums: Array) -> Array:
    return 100 * _share(2 * sums[:, 0], sums[:, 1] + sums[:, 2])


def _mme(names: tuple[str, ...]) -> Headline:
    """Sum over categories of accuracy and accuracy+ (both questions of an image right), percent of the maximum.

    A category without a question counts as 0, as officially; those that cleaning emptied count for nothing.
    """

    def terms(rows: Sequence[Row], measure: str) -> Array:
        found = np.zeros((len(rows), len(names), 4))  # score, questions, both right, images
        pairs: dict[tuple[str, str], list[int]] = {}
        for number, row in enumerate(rows):
            if row["category"] in names:
                found[number, names.index(row["category"]), :2] = row[measure] or 0.0, 1
                pairs.setdefault((row["category"], row["group"]), []).append(number)
        for (category, _), numbers in pairs.items():
            both = float(np.prod([rows[number][measure] or 0.0 for number in numbers[:2]]))
            found[numbers[0], names.index(category), 2:] = both, 1
        return found.reshape(len(rows), -1)

    def value(sums: Array) -> Array:
        parts = sums.reshape(len(sums), -1, 4)  # (resamples, categories, 4)
        per_category = _share(parts[:, :, 0], parts[:, :, 1]) + _share(parts[:, :, 2], parts[:, :, 3])
        return np.asarray(50 * per_category.mean(axis=1))

    def clean(rows: Sequence[Row], kept: Sequence[Row]) -> Headline:
        lost = {row["category"] for row in rows} - {row["category"] for row in kept}
        return _mme(tuple(name for name in names if name not in lost) or names)

    def best(rows: Sequence[Row], measure: str) -> float:
        return 100 * len({row["category"] for row in rows} & set(names)) / len(names) or 100.0

    return Headline(terms, value, stratum="category", clean=clean, best=best)


def _mean_of_groups(rows_key: str) -> Headline:
    """Unweighted mean of the means of the groups that a field names."""

    def terms(rows: Sequence[Row], measure: str) -> Array:
        names = sorted({row[rows_key] for row in rows})
        found = np.zeros((len(rows), len(names), 2))
        for number, row in enumerate(rows):
            score = row[measure]
            found[number, names.index(row[rows_key])] = score or 0.0, float(score is not None)
        return found.reshape(len(rows), -1)

    def value(sums: Array) -> Array:
        parts = sums.reshape(len(sums), -1, 2)
        return np.asarray(100 * _share(parts[:, :, 0], parts[:, :, 1]).mean(axis=1))

    return Headline(terms, value, stratum=rows_key)


mean_of_categories = _mean_of_groups("category")
pope_headline = Headline(_pope_terms, _f1)
mme_total, mme_reasoning = _mme(PERCEPTION + COGNITION), _mme(COGNITION)


def _validation_terms(rows: Sequence[Row], measure: str) -> Array:
    """MMMU: the validation split alone, or everything when there is none."""
    inside = [row["split"] == "validation" for row in rows]
    counted = np.array(inside if any(inside) else [True] * len(rows), dtype=np.float64)
    return np.asarray(_mean_terms(rows, measure) * counted[:, None])


def _hallusion_terms(rows: Sequence[Row], measure: str) -> Array:
    """HallusionBench: questions, figures and question groups right, each with their number (groups keep to a set)."""
    found = np.zeros((len(rows), 3, 2))
    groups: dict[tuple[int, str, str], list[int]] = {}
    for number, row in enumerate(rows):
        places = row["index"].split("_")
        found[number, 0] = row[measure] or 0.0, 1
        for kind in (1, 2):  # figure, question: the last two places of the index
            groups.setdefault((kind, row["cluster"], places[3 + kind]), []).append(number)
    for (kind, _, _), numbers in groups.items():
        found[numbers[0], kind] = all(rows[number][measure] == 1 for number in numbers), 1
    return found.reshape(len(rows), -1)


def _hallusion_value(sums: Array) -> Array:
    parts = sums.reshape(len(sums), 3, 2)
    return np.asarray(100 * _share(parts[:, :, 0], parts[:, :, 1]).mean(axis=1))


def _hits(maximum: float) -> Headline:
    """OCRBench: hits in percent of a fixed number, however many items there are."""

    def terms(rows: Sequence[Row], measure: str) -> Array:
        return np.array([[row[measure] or 0.0, 1] for row in rows])

    def clean(rows: Sequence[Row], kept: Sequence[Row]) -> Headline:
        return _hits(maximum * len(kept) / len(rows))

    def best(rows: Sequence[Row], measure: str) -> float:
        return 100 * len(rows) / maximum

    return Headline(terms, lambda sums: np.asarray(100 * sums[:, 0] / maximum), clean=clean, best=best)


def _rating_terms(rows: Sequence[Row], measure: str) -> Array:
    """LLaVABench: the judge's ratings of the model's and the reference answer (-1 for both where it gave none)."""
    run = measure.removesuffix("score")
    return np.array([[row[f"{run}rating"], row[f"{run}reference"]] for row in rows], dtype=np.float64)


def _ratio(sums: Array) -> Array:
    model, reference = sums.T
    return np.asarray(100 * np.divide(model, reference, out=np.zeros_like(model), where=reference != 0))


def _best_ratio(rows: Sequence[Row], measure: str) -> float:
    """Above 100 where the reference answers have less than 10, the best rating."""
    reference = sum(row[f"{measure.removesuffix('score')}reference"] for row in rows)
    return 1000 * len(rows) / reference if reference > 0 else 100.0


relative_rating = Headline(_rating_terms, _ratio, rounding=0.051, best=_best_ratio)  # one digit
validation_mean = Headline(_validation_terms, mean_headline.value)
hallusion_average = Headline(_hallusion_terms, _hallusion_value)

HEADLINES: dict[tuple[str, str], Headline] = {  # (benchmark, name of its headline); all others are plain means
    ("MME", "total"): mme_total,
    ("MME", "cognition_percent"): mme_reasoning,
    ("POPE", "Overall"): pope_headline,
    ("HallusionBench", "Avg"): hallusion_average,
    ("MMMU_DEV_VAL", "validation|Overall"): validation_mean,
    ("MMSInst", "mean"): mean_of_categories,
    ("OCRBench", "Final Score Norm"): _hits(1000),
    ("LLaVABench", "Relative Score (main)"): relative_rating,
}
