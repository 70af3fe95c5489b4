"""Two runs on the same questions: paired differences, their intervals and p values.

Intervals resample clusters (`bootstrap`). A p value asks how often a difference as large appears when, cluster by
cluster, chance decides which of the two runs gave which answers: it is never below what the number of clusters allows
(two of 2^n for n clusters that all point one way). Nothing is corrected for the number of comparisons.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl
from mmevol_eval.bootstrap import (
    RESAMPLES,
    Array,
    Estimate,
    Measure,
    average,
    estimate_difference,
    minimum_detectable,
)
from mmevol_eval.headlines import Row

AVERAGE = "average"
Delta = tuple[Estimate, Array]  # of a difference, and what it is with exchanged runs
FEWEST = 3  # benchmarks, below which leaving one out says nothing about an average
MEASURES: dict[Measure, str] = {  # compared between runs; what a reader must know of each
    "score": "the benchmark's own headline, percent of its maximum",
    "real_minus_blind": "real minus exchanged pictures: the score minus the score of the same questions asked with "
    "another item's picture. An exchanged picture can mislead as well as withhold, so a model that trusts pictures "
    "more also gains here by scoring lower on exchanged ones",
}


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
            found.append(_difference(names, AVERAGE, measure, _mean(deltas.values()), sum(sizes.values())))
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
            found.append(_difference(names, left_out, measure, _mean(rest.values()), n))
    return found


def _paired(
    items_a: Mapping[str, Sequence[Row]],
    items_b: Mapping[str, Sequence[Row]],
    chosen: Sequence[str],
    resamples: int,
    seed: int,
) -> Iterator[tuple[Measure, dict[str, Delta]]]:
    """For every measure that both runs have: benchmark -> `a` minus `b`."""
    for name in chosen:
        _check_same_items(name, items_a.get(name, ()), items_b.get(name, ()))
    runs = (items_a, items_b)
    for measure in MEASURES:
        if measure == "real_minus_blind" and not all(_has_blind(items[name]) for items in runs for name in chosen):
            continue
        yield (
            measure,
            {name: estimate_difference(items_a[name], items_b[name], measure, resamples, seed) for name in chosen},
        )


def _mean(deltas: Collection[Delta]) -> Delta:
    """On the average of benchmarks, whose clusters are resampled and exchanged independently."""
    return average([found for found, _ in deltas]), np.mean([exchanged for _, exchanged in deltas], axis=0)


def _difference(names: tuple[str, str], benchmark: str, measure: str, delta: Delta, n: int) -> Difference:
    found, exchanged = delta
    p, mde = p_value(found.value, exchanged), minimum_detectable(found.error)
    return Difference(*names, benchmark, measure, found.value, found.interval, p, n, mde)


def p_value(delta: float, exchanged: Array) -> float:
    """Two-sided p of "no difference": how often runs that chance exchanged differ as much (Phipson and Smyth 2010)."""
    return float((1 + np.sum(np.abs(exchanged) >= abs(delta) - 1e-9)) / (1 + len(exchanged)))


def _has_blind(rows: Sequence[Row]) -> bool:
    return all("blind_score" in row for row in rows)


def _check_same_items(name: str, rows_a: Sequence[Row], rows_b: Sequence[Row]) -> None:
    a, b = ([(row["index"], row["cluster"]) for row in rows] for rows in (rows_a, rows_b))
    if not a or a != b:
        raise UserError(
            f"{name}: the runs hold {len(a)} and {len(b)} items that are not the same; evaluate both on one data set"
        )
    headlines = sorted({str(row.get("headline", "")) for row in (*rows_a, *rows_b)})
    if len(headlines) > 1:
        raise UserError(f"{name}: the runs state {' and '.join(headlines)}; score both by the same rules")
