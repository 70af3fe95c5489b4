"""What resamples cannot know, from a few made-up clusters at both ends of the scale.

Nineteen right answers of nineteen resample to 100 for ever, and a category's only cluster is in every resample. With
fewer than `FEW` clusters, where all but fewer than `Scale.alike` of them agree with their category or no resample
differs, and for lone clusters, Student's t around the clusters and the made-up ones says how sure they leave one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FEW = 20  # clusters


@dataclass(frozen=True)
class Scale:
    """Where clusters can lie, percent: `ends` has each end as often as a made-up cluster stands there.

    `alike`: so many clusters must differ from the others before resamples are believed.
    """

    ends: tuple[float, ...]
    alike: int


SCORE = Scale((0.0, 0.0, 100.0, 100.0), 5)  # Agresti and Coull 1998
DIFFERENCE = Scale((-100.0, 100.0), 6)  # Bonett and Price 2012; five clusters that all point one way have p = 0.06


@dataclass(frozen=True)
class Part:
    """Clusters whose error the resamples do not hold: their share of the headline, mean, variance and number."""

    share: float
    mean: float
    variance: float
    clusters: int


def corrected(
    value: float, draws: Array, means: Array, scale: Scale, strata: tuple[int, ...], seed: str
) -> tuple[Array, float]:
    """Draws around the value that hold every cluster's error, and how far made-up clusters move their center.

    Args:
        value: of the headline, on the scale of the means.
        draws: its resamples, (resamples,).
        means: of each cluster, ordered by stratum, percent; NaN where the headline counts nothing of it.
        scale: of the means.
        strata: their sizes; each weighs alike where there are several.
        seed: of the order of the draws that are no resamples.
    """
    known = ~np.isnan(means)
    stratum, means = np.repeat(np.arange(len(strata)), strata)[known], means[known]
    lone = np.bincount(stratum, minlength=1)[stratum] == 1 if len(strata) > 1 else np.zeros(len(means), dtype=bool)
    share = float(lone.sum()) / max(1, len(set(stratum.tolist())))
    parts = [Part(share, float(means[lone].mean()), float(means[lone].var()), int(lone.sum()))] if share else []
    if share < 1 and not _believable(draws, stratum[~lone], means[~lone], scale):
        parts.append(_others(value, draws, means[~lone], parts, scale))
        draws = np.full(len(draws), value)
    shift = 0.0
    for number, part in enumerate(parts):
        center, error = _with_both_ends(part, scale)
        length = scale.ends[-1] - scale.ends[0]  # t of one degree of freedom knows no bounds
        spread = np.clip(error * _student(part.clusters, len(draws), seed, number), -length, length)
        draws, shift = draws + part.share * spread, shift + part.share * (center - part.mean)
    return draws, shift


def _believable(draws: Array, stratum: NDArray[np.int64], means: Array, scale: Scale) -> bool:
    """Whether there is enough for resamples to vary by."""
    return len(means) >= FEW and _unlike(stratum, means) >= scale.alike and float(np.ptp(draws)) > 0


def _others(value: float, draws: Array, means: Array, lone: list[Part], scale: Scale) -> Part:
    """All clusters but the lone ones, whose part of the headline is what these leave."""
    share = 1 - sum(part.share for part in lone)
    mean = (value - sum(part.share * part.mean for part in lone)) / share
    mean = min(max(mean, scale.ends[0]), scale.ends[-1])  # of MME's pair scores no mean is a part
    variance = max(float(np.var(means)) if len(means) else 0.0, len(means) * float(np.var(draws)) / share**2)
    return Part(share, mean, variance, len(means))


def _unlike(stratum: NDArray[np.int64], means: Array) -> int:
    """How many clusters differ from most of their stratum, which is what resamples can vary by."""
    held = Counter(zip(stratum.tolist(), np.round(means, 6).tolist(), strict=True))
    most: dict[int, int] = {}
    for (name, _), times in held.items():
        most[name] = max(times, most.get(name, 0))
    return len(means) - sum(most.values())


def _with_both_ends(part: Part, scale: Scale) -> tuple[float, float]:
    """Mean and its standard error, made-up clusters at the ends of the scale added.

    For right and wrong answers this is the interval of Agresti and Coull (1998: two of each more), for paired
    differences of these that of Bonett and Price (2012: one won and one lost more).
    """
    n = part.clusters + len(scale.ends)
    center = (part.clusters * part.mean + sum(scale.ends)) / n
    square = (part.clusters * (part.variance + part.mean**2) + sum(end**2 for end in scale.ends)) / n
    return float(center), float(np.sqrt(max(0.0, square - center**2) / n))


def _student(clusters: int, draws: int, seed: str, number: int) -> Array:
    """Quantiles of Student's t in random order: a sample without the noise of sampling, (draws,)."""
    from scipy.special import stdtrit  # of extra `eval`; plans and checks do without it

    found = stdtrit(max(1, clusters - 1), (np.arange(draws) + 0.5) / draws)
    return np.random.default_rng([*seed.encode(), 2 + number]).permutation(found)
