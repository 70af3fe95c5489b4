"""How sure a number is: clustered bootstrap of the benchmarks' own headlines.

Questions about one image are not independent, so images (clusters) are resampled, not questions. Every headline here
is a function of sums over questions (a mean, a mean of means, F1, MME's pair scores), so a resample needs only the
clusters' sums: weights (resamples, clusters) times sums (clusters, terms). Where the headline adds or averages
categories, clusters are resampled within each. All values are percent of the headline's
maximum. Intervals are percentile intervals; two runs are compared on the same resampled clusters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl
from mmevol_eval.headlines import HEADLINES, Headline, Row, mean_headline

Array = NDArray[np.float64]
Measure = Literal["score", "blind_score", "real_minus_blind"]
RESAMPLES = 2000
LEVEL = 0.95
AVERAGE = "average"
FEWEST = 3  # benchmarks, below which leaving one out says nothing about an average
MEASURES: dict[Measure, str] = {  # compared between runs; what a reader must know of each
    "score": "the benchmark's own headline, percent of its maximum",
    "real_minus_blind": "real minus exchanged pictures: the score minus the score of the same questions asked with "
    "another item's picture. An exchanged picture can mislead as well as withhold, so a model that trusts pictures "
    "more also gains here by scoring lower on exchanged ones",
}


@dataclass(frozen=True)
class Estimate:
    """A value in percent, its interval, and the resampled values behind it.

    `unseen` is the standard error where all resamples are equal, as when every item is right: that of a share p~ =
    (p n + 2) / (n + 4) of n + 4 clusters (Agresti and Coull 1998), p the value and n the clusters. Where n of m
    clusters are alone in their category it is n / m times that of these n. Else 0.
    """

    value: float
    interval: tuple[float, float]
    draws: Array  # (resamples,)
    unseen: float = 0.0

    @property
    def error(self) -> float:
        """Standard error, percent."""
        return math.hypot(float(np.std(self.draws, ddof=1)), self.unseen)


@dataclass(frozen=True)
class Difference:
    """`a` minus `b` on one benchmark (or their average), percentage points, with a two-sided p value.

    `n` is the number of questions, `mde` the smallest true difference that would be found in four of five runs; None
    where no difference would be.
    """

    a: str
    b: str
    benchmark: str
    measure: str
    delta: float
    ci95: tuple[float, float]
    p: float
    n: int
    mde: float | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def read_items(path: Path) -> dict[str, list[Row]]:
    """Rows of an `items.jsonl` by benchmark, in file order."""
    rows: dict[str, list[Row]] = {}
    for line in read_jsonl(path):
        rows.setdefault(line["benchmark"], []).append(line)
    return rows


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
    weights = _weights(sizes, resamples, f"{seed}:{rows[0]['benchmark']}")
    values = _values(rows, measure, headline, clusters, np.vstack([np.ones((1, len(clusters))), weights]))
    return _estimated(values, sizes)


def compare(
    items_a: Mapping[str, Sequence[Row]],
    items_b: Mapping[str, Sequence[Row]],
    benchmarks: Iterable[str] | None = None,
    names: tuple[str, str] = ("a", "b"),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Difference]:
    """Paired differences `a` minus `b`, per benchmark and on the average, for every one of `MEASURES`.

    Args:
        items_a: benchmark -> rows, as `read_items` gives them; `items_b` must hold the same questions.
        items_b: the other run.
        benchmarks: which to compare; all of `items_a` by default.
        names: how the rows name the two runs.
        resamples: number of bootstrap resamples.
        seed: of the resampling.

    Raises:
        UserError: the two runs did not answer the same questions of a benchmark.
    """
    chosen = list(benchmarks if benchmarks is not None else items_a)
    found: list[Difference] = []
    for measure, deltas in _paired(items_a, items_b, chosen, resamples, seed):
        sizes = {name: len(items_a[name]) for name in deltas}
        found += [_difference(names, name, measure, delta, sizes[name]) for name, delta in deltas.items()]
        if deltas:
            found.append(_difference(names, AVERAGE, measure, average(list(deltas.values())), sum(sizes.values())))
    return found


def leave_one_out(
    items_a: Mapping[str, Sequence[Row]],
    items_b: Mapping[str, Sequence[Row]],
    names: tuple[str, str] = ("a", "b"),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Difference]:
    """What the difference on the average would be without each benchmark, which `benchmark` names.

    One benchmark, one format, can carry a whole average; empty with fewer than three. Arguments as of `compare`.
    """
    found: list[Difference] = []
    for measure, deltas in _paired(items_a, items_b, list(items_a), resamples, seed):
        for left_out in deltas if len(deltas) >= FEWEST else ():
            rest = {name: delta for name, delta in deltas.items() if name != left_out}
            n = sum(len(items_a[name]) for name in rest)
            found.append(_difference(names, left_out, measure, average(list(rest.values())), n))
    return found


def _paired(
    items_a: Mapping[str, Sequence[Row]],
    items_b: Mapping[str, Sequence[Row]],
    chosen: Sequence[str],
    resamples: int,
    seed: int,
) -> Iterator[tuple[Measure, dict[str, Estimate]]]:
    """For every measure that both runs have: benchmark -> `a` minus `b` on the same resampled clusters."""
    for name in chosen:
        _check_same_items(name, items_a.get(name, ()), items_b.get(name, ()))
    runs = (items_a, items_b)
    for measure in MEASURES:
        if measure == "real_minus_blind" and not all(_has_blind(items[name]) for items in runs for name in chosen):
            continue
        deltas: dict[str, Estimate] = {}
        for name in chosen:
            a, b = (estimate(items[name], measure, resamples, seed) for items in runs)
            values = np.concatenate([[a.value], a.draws]) - np.concatenate([[b.value], b.draws])
            deltas[name] = _estimated(values, _strata(items_a[name], headline_for(items_a[name]).stratum)[1])
        yield measure, deltas


def average(estimates: Sequence[Estimate]) -> Estimate:
    """Mean over benchmarks; they are resampled independently of each other."""
    values = np.mean([np.concatenate([[one.value], one.draws]) for one in estimates], axis=0)
    found = _estimated(values)
    return replace(found, unseen=math.hypot(*(one.unseen for one in estimates)) / len(estimates))


def p_value(draws: Array) -> float:
    """Two-sided p of "no difference": how often resampled differences lie on the other side of zero."""
    low, high = np.sum(draws <= 0), np.sum(draws >= 0)
    return float(min(1.0, 2 * (min(low, high) + 1) / (len(draws) + 1)))


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
    return float(_values(rows, measure, headline, clusters, np.ones((1, len(clusters))))[0])


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


def _difference(names: tuple[str, str], benchmark: str, measure: str, delta: Estimate, n: int) -> Difference:
    mde = minimum_detectable(delta.error)
    return Difference(*names, benchmark, measure, delta.value, delta.interval, p_value(delta.draws), n, mde)


def _values(
    rows: Sequence[Row], measure: Measure, headline: Headline, clusters: Sequence[str], weights: Array
) -> Array:
    """Headline of every weighting; weights (resamples, clusters) -> (resamples,)."""
    if measure == "real_minus_blind":
        real = _values(rows, "score", headline, clusters, weights)
        return real - _values(rows, "blind_score", headline, clusters, weights)
    place = {cluster: number for number, cluster in enumerate(clusters)}
    terms = headline.terms(rows, measure)  # (items, terms)
    sums = np.zeros((len(clusters), terms.shape[1]))
    np.add.at(sums, [place[str(row["cluster"])] for row in rows], terms)
    return headline.value(weights @ sums)


@lru_cache(maxsize=32)
def _weights(strata: tuple[int, ...], resamples: int, seed: str) -> Array:
    """How often each cluster was drawn, (resamples, clusters); kept, for runs are compared on equal ones.

    Of n clusters of one of several strata n - 1 are drawn and weighted by n / (n - 1) (Rao and Wu 1988): with a few
    clusters each, n of n would claim too narrow an interval. A stratum's only cluster stays, and adds no width.
    """
    generator = np.random.default_rng(list(seed.encode()))
    parts = []
    for size in strata:
        drawn = size if len(strata) == 1 else max(1, size - 1)
        times = generator.multinomial(drawn, np.full(size, 1 / size), size=resamples)
        parts.append(times.astype(np.float64) * (size / drawn))
    return np.hstack(parts)


def _estimated(values: Array, strata: tuple[int, ...] = ()) -> Estimate:
    """Estimate from the value itself followed by its resamples; with `strata` these may be equal by chance."""
    draws = values[1:]
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    unseen = 0.0
    still = sum(strata) if np.ptp(draws) < 1e-9 else strata.count(1) if len(strata) > 1 else 0
    if still:
        share = (min(1.0, abs(float(values[0])) / 100) * still + 2) / (still + 4)
        unseen = 100 * math.sqrt(share * (1 - share) / (still + 4)) * (still / sum(strata))
    return Estimate(float(values[0]), (float(low), float(high)), draws, unseen)


def _has_blind(rows: Sequence[Row]) -> bool:
    return all("blind_score" in row for row in rows)


def _check_same_items(name: str, rows_a: Sequence[Row], rows_b: Sequence[Row]) -> None:
    a, b = ([(row["index"], row["cluster"]) for row in rows] for rows in (rows_a, rows_b))
    if not a or a != b:
        raise UserError(
            f"{name}: the runs hold {len(a)} and {len(b)} items that are not the same; evaluate both on one data set"
        )
