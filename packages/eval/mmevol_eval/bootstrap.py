"""How sure a number is: clustered bootstrap of the benchmarks' own headlines.

Questions about one image are not independent, so images (clusters) are resampled, not questions. Every headline here
is a function of sums over questions (a mean, a mean of means, F1, MME's pair scores), so a resample needs only the
clusters' sums: weights (resamples, clusters) times sums (clusters, terms). Where the headline adds or averages
categories, clusters are resampled within each. All values are percent of the headline's maximum. Intervals are
percentile intervals; two runs are compared on the same resampled clusters.

Resamples know only what was drawn: nineteen right answers of nineteen resample to 100 for ever. Where they cannot
be believed, Student's t around the clusters and a few made-up ones takes their place (see `made_up`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmevol_eval.headlines import HEADLINES, Headline, Row, mean_headline
from mmevol_eval.made_up import DIFFERENCE, SCORE, Scale, corrected

Array = NDArray[np.float64]
Measure = Literal["score", "blind_score", "real_minus_blind"]
RESAMPLES = 2000
LEVEL = 0.95
PARTS: dict[Measure, tuple[tuple[int, str], ...]] = {  # sign and key of the rows
    "score": ((1, "score"),),
    "blind_score": ((1, "blind_score"),),
    "real_minus_blind": ((1, "score"), (-1, "blind_score")),
}


@dataclass(frozen=True)
class Estimate:
    """A value in percent, its interval, and the values behind it that chance might have given instead.

    `draws` lie around the value, so that means of them are not drawn to the middle of the scale; the interval of a few
    clusters is. `reach` is the scale, which no interval leaves.
    """

    value: float
    interval: tuple[float, float]
    draws: Array  # (resamples,)
    reach: tuple[float, float]

    @property
    def error(self) -> float:
        """Standard error, percent."""
        return float(np.std(self.draws, ddof=1))


def estimate(
    rows: Sequence[Row],
    measure: Measure = "score",
    resamples: int = RESAMPLES,
    seed: int = 0,
    headline: Headline | None = None,
) -> Estimate:
    """A benchmark's headline with its clustered interval.

    Args:
        rows: the benchmark's items (see `headlines.Row`).
        measure: the headline itself, that of the blind run, or the former minus the latter.
        resamples: number of bootstrap resamples.
        seed: equal seeds resample equal clusters, which is what pairs two runs.
        headline: None: that of the rows' benchmark.
    """
    headline = headline or headline_for(rows)
    clusters, sizes = _strata(rows, headline.stratum)
    key = f"{seed}:{rows[0]['benchmark']}"
    values = _resampled(rows, measure, headline, clusters, _weights(sizes, resamples, key))
    scale = DIFFERENCE if measure == "real_minus_blind" else SCORE
    means, best = _means(rows, measure, headline, clusters), _best(rows, measure, headline)
    return _estimated(values, best, means, scale, sizes, key)


def estimate_difference(
    rows_a: Sequence[Row], rows_b: Sequence[Row], measure: Measure, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Estimate, Array]:
    """`a` minus `b` on the same resampled clusters, and what it would be with runs exchanged in random clusters.

    Args:
        rows_a: a benchmark's items.
        rows_b: the same items, answered by the other run.
        measure: what is compared.
        resamples: number of bootstrap resamples, and of exchanges.
        seed: of both.
    """
    headline = headline_for(rows_a)
    clusters, sizes = _strata(rows_a, headline.stratum)
    key = f"{seed}:{rows_a[0]['benchmark']}"
    weights = _weights(sizes, resamples, key)
    a, b = (_resampled(rows, measure, headline, clusters, weights) for rows in (rows_a, rows_b))
    means = _means(rows_a, measure, headline, clusters) - _means(rows_b, measure, headline, clusters)
    best = max(_best(rows, measure, headline) for rows in (rows_a, rows_b))
    found = _estimated(a - b, best, means, DIFFERENCE, sizes, key)
    return found, _exchanged(rows_a, rows_b, measure, headline, clusters, resamples, key)


def average(estimates: Sequence[Estimate]) -> Estimate:
    """Mean over benchmarks; they are resampled independently of each other."""
    if len(estimates) == 1:
        return estimates[0]
    draws = np.mean([one.draws for one in estimates], axis=0)
    low, high = (float(np.mean([one.reach[end] for one in estimates])) for end in (0, 1))
    value = float(np.mean([one.value for one in estimates]))
    return Estimate(value, _interval(draws, value, (low, high)), draws, (low, high))


def minimum_detectable(standard_error: float, power: float = 0.8, level: float = LEVEL) -> float | None:
    """Smallest true difference (percent) that a two-sided test at `level` finds with probability `power`.

    None above 100: no two models differ by more than the scale is long.
    """
    normal = NormalDist()
    found = (normal.inv_cdf(1 - (1 - level) / 2) + normal.inv_cdf(power)) * standard_error
    return found if found <= 100 else None


def headline_of(rows: Sequence[Row], measure: Measure = "score") -> float:
    """The headline itself, percent of its maximum."""
    headline = headline_for(rows)
    clusters, _ = _strata(rows, headline.stratum)
    return float(_resampled(rows, measure, headline, clusters, np.empty((0, len(clusters))))[0])


def headline_for(rows: Sequence[Row]) -> Headline:
    """How the rows' headline follows from sums over them."""
    return HEADLINES.get((rows[0]["benchmark"], rows[0].get("headline", "")), mean_headline)


def _strata(rows: Sequence[Row], key: str | None) -> tuple[list[str], tuple[int, ...]]:
    """Clusters ordered by stratum and name, and the number of clusters of every stratum.

    A cluster's stratum is all the categories it holds, so every resample holds every category. Without a key there is
    one stratum.
    """
    held: dict[str, set[str]] = {}
    for row in rows:
        held.setdefault(str(row["cluster"]), set()).add(str(row[key]) if key else "")
    strata = {cluster: "\n".join(sorted(names)) for cluster, names in held.items()}
    sizes = Counter(strata.values())
    ordered = sorted(strata, key=lambda cluster: (strata[cluster], cluster))
    return ordered, tuple(sizes[name] for name in sorted(sizes))


@lru_cache(maxsize=32)
def _weights(strata: tuple[int, ...], resamples: int, seed: str) -> Array:
    """How often each cluster was drawn, (resamples, clusters); kept, for runs are compared on equal ones.

    Of n clusters of one of several strata n - 1 are drawn and weighted by n / (n - 1) (Rao and Wu 1988): with a few
    clusters each, n of n would claim too narrow an interval. A stratum's only cluster stays.
    """
    generator = np.random.default_rng(list(seed.encode()))
    parts = []
    for size in strata:
        drawn = size if len(strata) == 1 else max(1, size - 1)
        times = generator.multinomial(drawn, np.full(size, 1 / size), size=resamples)
        parts.append(times.astype(np.float64) * (size / drawn))
    return np.hstack(parts)


def _sums(rows: Sequence[Row], key: str, headline: Headline, clusters: Sequence[str]) -> Array:
    """What each cluster adds to the headline, (clusters, terms)."""
    place = {cluster: number for number, cluster in enumerate(clusters)}
    terms = headline.terms(rows, key)  # (items, terms)
    sums = np.zeros((len(clusters), terms.shape[1]))
    np.add.at(sums, [place[str(row["cluster"])] for row in rows], terms)
    return sums


def _resampled(
    rows: Sequence[Row], measure: Measure, headline: Headline, clusters: Sequence[str], weights: Array
) -> Array:
    """The headline itself, followed by that of every weighting; weights (resamples, clusters) -> (1 + resamples,)."""
    values = np.zeros(1 + len(weights))
    for sign, key in PARTS[measure]:
        sums = _sums(rows, key, headline, clusters)
        values += sign * headline.value(np.vstack([sums.sum(axis=0, keepdims=True), weights @ sums]))
    return values


def _exchanged(
    rows_a: Sequence[Row],
    rows_b: Sequence[Row],
    measure: Measure,
    headline: Headline,
    clusters: Sequence[str],
    resamples: int,
    seed: str,
) -> Array:
    """`a` minus `b` when each cluster's answers change sides with probability one half, (resamples,)."""
    stays = np.random.default_rng([*seed.encode(), 1]).integers(0, 2, (resamples, len(clusters))).astype(np.float64)
    values = np.zeros(resamples)
    for sign, key in PARTS[measure]:
        a, b = (_sums(rows, key, headline, clusters) for rows in (rows_a, rows_b))
        moved = stays @ (a - b)
        values += sign * (headline.value(b.sum(axis=0) + moved) - headline.value(a.sum(axis=0) - moved))
    return values


def _means(rows: Sequence[Row], measure: Measure, headline: Headline, clusters: Sequence[str]) -> Array:
    """Mean score of each cluster's items, percent; NaN where the headline counts none of them."""
    place = {cluster: number for number, cluster in enumerate(clusters)}
    places = np.array([place[str(row["cluster"])] for row in rows])
    found = np.zeros(len(clusters))
    for sign, key in PARTS[measure]:
        counted = headline.terms(rows, key).any(axis=1) & np.array([row[key] is not None for row in rows])
        scores = np.array([row[key] or 0.0 for row in rows]) * counted
        total, count = (np.bincount(places, weights=part, minlength=len(clusters)) for part in (scores, counted))
        found += sign * 100 * np.divide(total, count, out=np.full(len(clusters), np.nan), where=count > 0)
    return found


def _best(rows: Sequence[Row], measure: Measure, headline: Headline) -> float:
    """What the headline would be were all of its items right, percent: where a mean of 100 stands on its scale."""
    return max(headline.best(rows, key) for _, key in PARTS[measure])


def _estimated(values: Array, best: float, means: Array, scale: Scale, strata: tuple[int, ...], seed: str) -> Estimate:
    """Estimate from the value itself followed by its resamples, corrected where these cannot be believed.

    Args:
        values: (1 + resamples,).
        best: of the headline, percent.
        means: of each cluster, ordered by stratum, percent of `best`.
        scale: of the means.
        strata: their sizes.
        seed: of the order of the draws that are no resamples.
    """
    unit, value = best / 100, float(values[0])
    draws, shift = corrected(value / unit, values[1:] / unit, means, scale, strata, seed)
    draws, reach = draws * unit, (scale.ends[0] * unit, scale.ends[-1] * unit)
    return Estimate(value, _interval(draws + shift * unit, value, reach), draws, reach)


def _interval(draws: Array, value: float, reach: tuple[float, float]) -> tuple[float, float]:
    """Percentile interval within the scale; the value lies in it."""
    low, high = np.clip(np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]), *reach)
    return min(float(low), value), max(float(high), value)
