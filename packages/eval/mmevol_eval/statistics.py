"""How sure a number is: clustered bootstrap of the benchmarks' own headlines.

Questions about one image are not independent, so images (clusters) are resampled, not questions. Every headline here
is a function of sums over questions (a mean, a mean of means, F1, MME's pair scores), so a resample needs only the
clusters' sums: weights (resamples, clusters) times sums (clusters, terms). All values are percent of the headline's
maximum. Intervals are percentile intervals; two runs are compared on the same resampled clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
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
    """A value in percent, its interval, and the resampled values behind it."""

    value: float
    interval: tuple[float, float]
    draws: Array  # (resamples,)


@dataclass(frozen=True)
class Difference:
    """`a` minus `b` on one benchmark (or their average), percentage points, with a two-sided p value.

    `n` is the number of questions, `mde` the smallest true difference that would be found in four of five runs.
    """

    a: str
    b: str
    benchmark: str
    measure: str
    delta: float
    ci95: tuple[float, float]
    p: float
    n: int
    mde: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def read_items(path: Path) -> dict[str, list[Row]]:
    """Rows of an `items.jsonl` by benchmark, in file order."""
    rows: dict[str, list[Row]] = {}
    for line in read_jsonl(path):
        rows.setdefault(line["benchmark"], []).append(line)
    return rows


def estimate(rows: Sequence[Row], measure: Measure = "score", resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """A benchmark's headline with its clustered interval.

    Args:
        rows: the benchmark's items (see `headlines.Row`).
        measure: the headline itself, that of the blind run, or the former minus the latter.
        resamples: number of bootstrap resamples.
        seed: equal seeds resample equal clusters, which is what pairs two runs.
    """
    clusters = sorted({str(row["cluster"]) for row in rows})
    weights = _weights(len(clusters), resamples, f"{seed}:{rows[0]['benchmark']}")
    return _estimated(_values(rows, measure, clusters, np.vstack([np.ones((1, len(clusters))), weights])))


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
            deltas[name] = _estimated(np.concatenate([[a.value], a.draws]) - np.concatenate([[b.value], b.draws]))
        yield measure, deltas


def average(estimates: Sequence[Estimate]) -> Estimate:
    """Mean over benchmarks; they are resampled independently of each other."""
    values = np.mean([np.concatenate([[one.value], one.draws]) for one in estimates], axis=0)
    return _estimated(values)


def p_value(draws: Array) -> float:
    """Two-sided p of "no difference": how often resampled differences lie on the other side of zero."""
    low, high = np.sum(draws <= 0), np.sum(draws >= 0)
    return float(min(1.0, 2 * (min(low, high) + 1) / (len(draws) + 1)))


def minimum_detectable(standard_error: float, power: float = 0.8, level: float = LEVEL) -> float:
    """Smallest true difference that a two-sided test at `level` finds with probability `power`."""
    normal = NormalDist()
    return (normal.inv_cdf(1 - (1 - level) / 2) + normal.inv_cdf(power)) * standard_error


def headline_of(rows: Sequence[Row], measure: Measure = "score") -> float:
    """The headline itself, percent of its maximum."""
    clusters = sorted({str(row["cluster"]) for row in rows})
    return float(_values(rows, measure, clusters, np.ones((1, len(clusters))))[0])


def _difference(names: tuple[str, str], benchmark: str, measure: str, delta: Estimate, n: int) -> Difference:
    mde = minimum_detectable(float(np.std(delta.draws, ddof=1)))
    return Difference(*names, benchmark, measure, delta.value, delta.interval, p_value(delta.draws), n, mde)


def _values(rows: Sequence[Row], measure: Measure, clusters: Sequence[str], weights: Array) -> Array:
    """Headline of every weighting; weights (resamples, clusters) -> (resamples,)."""
    if measure == "real_minus_blind":
        real = _values(rows, "score", clusters, weights)
        return real - _values(rows, "blind_score", clusters, weights)
    headline: Headline = HEADLINES.get((rows[0]["benchmark"], rows[0].get("headline", "")), mean_headline)
    place = {cluster: number for number, cluster in enumerate(clusters)}
    terms = headline.terms(rows, measure)  # (items, terms)
    sums = np.zeros((len(clusters), terms.shape[1]))
    np.add.at(sums, [place[str(row["cluster"])] for row in rows], terms)
    return headline.value(weights @ sums)


@lru_cache(maxsize=32)
def _weights(clusters: int, resamples: int, seed: str) -> Array:
    """How often each cluster was drawn, (resamples, clusters); kept, for runs are compared on equal ones."""
    generator = np.random.default_rng(list(seed.encode()))
    drawn = generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    return drawn.astype(np.float64)


def _estimated(values: Array) -> Estimate:
    """Estimate from the value itself followed by its resamples."""
    draws = values[1:]
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(values[0]), (float(low), float(high)), draws)


def _has_blind(rows: Sequence[Row]) -> bool:
    return all("blind_score" in row for row in rows)


def _check_same_items(name: str, rows_a: Sequence[Row], rows_b: Sequence[Row]) -> None:
    a, b = ([(row["index"], row["cluster"]) for row in rows] for rows in (rows_a, rows_b))
    if not a or a != b:
        raise UserError(
            f"{name}: the runs hold {len(a)} and {len(b)} items that are not the same; evaluate both on one data set"
        )
