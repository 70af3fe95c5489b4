"""Where records come from: counts by source and domain, as the figure of SEED-163K shows them (paper, figure 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmevol_core.sample import Sample

ANONYMOUS = frozenset({"", "mmevol_seed", "llava"})  # what readers write when a file names no source
OTHER = "other"


def source_of(sample: Sample) -> str:
    """The data set a record is from: its own word, else the first folder of its image's path."""
    if sample.source not in ANONYMOUS:
        return sample.source
    if not sample.images:
        return "text only"
    head, slash, _ = sample.images[0].partition("/")
    return head if slash else sample.source or OTHER


class Distribution:
    """Counts records by source; `domains` maps a domain's name to its sources, whose case does not matter."""

    def __init__(self, domains: Mapping[str, Sequence[str]]) -> None:
        self._domains = {name.lower(): domain for domain, names in domains.items() for name in names}
        self._sources: Counter[str] = Counter()
        self._items: Counter[str] = Counter()

    def add(self, sample: Sample) -> None:
        """Count one record."""
        source = source_of(sample)
        self._sources[source] += 1
        self._items[source] += len(sample.latest)

    def as_dict(self) -> dict[str, Any]:
        """JSON form: `records`, `domains` {domain: {source: records}} with the largest first, `items` by source."""
        domains: dict[str, dict[str, int]] = {}
        for source, count in self._sources.most_common():
            domains.setdefault(self._domains.get(source.lower(), OTHER), {})[source] = count
        ordered = sorted(domains.items(), key=lambda pair: -sum(pair[1].values()))
        return {"records": self._sources.total(), "domains": dict(ordered), "items": dict(self._items.most_common())}


def distribution(samples: Iterable[Sample], domains: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The counts of a whole data set."""
    counts = Distribution(domains)
    for sample in samples:
        counts.add(sample)
    return counts.as_dict()
