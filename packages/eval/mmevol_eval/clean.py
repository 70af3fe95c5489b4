"""The score on what the model cannot have seen: without the items that meet its training data.

The list is JSONL with `{"benchmark", "index"}` or, for a picture file and so all items that show it, `{"benchmark",
"picture"}` (its path below the folder of benchmarks); other keys are for people. The contamination gate of stage `seed`
writes one. A cluster leaves as a whole, for a picture that was seen is seen in all its questions, and pairs and groups
are only scored whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl
from mmevol_eval.benchmark import Item
from mmevol_eval.benchmarks import find
from mmevol_eval.bootstrap import estimate, headline_for
from mmevol_eval.grading.tsv import plain_number
from mmevol_eval.headlines import Row
from mmevol_eval.tasks import Task


@dataclass(frozen=True)
class Contaminated:
    """What training data met."""

    indexes: Mapping[str, set[str]] = field(default_factory=dict)  # of items, by benchmark
    pictures: frozenset[str] = frozenset()  # files
    elsewhere: frozenset[str] = frozenset()  # names in a gate's list that no benchmark has

    def of(self, benchmark: str, items: Sequence[Item]) -> set[str] | None:
        """Indexes of a benchmark's listed items, and those of no item as listed; None without a word about it.

        An index that no item has counts as the number that it is, as in `score.match_answers`: `003` lists item 3.
        """
        shown = {item.index for item in items if any(self._lists(image) for image in item.images)}
        if not shown and benchmark not in self.indexes:
            return None
        own = {item.index for item in items}
        numbers: dict[str, list[str]] = {}
        for index in own:
            numbers.setdefault(plain_number(index), []).append(index)
        for index in self.indexes.get(benchmark, ()):
            same = numbers.get(plain_number(index), [])
            shown.add(same[0] if index not in own and len(same) == 1 else index)
        return shown

    def _lists(self, image: bytes | Path) -> bool:
        if isinstance(image, bytes) or not self.pictures:
            return False
        return any("/".join(image.parts[start:]) in self.pictures for start in range(1, len(image.parts)))


def read_contaminated(path: Path) -> Contaminated:
    """The listed items and pictures.

    Raises:
        UserError: a line is something else, or names no benchmark (a gate's own line may: its folder may hold more).
    """
    indexes: dict[str, set[str]] = {}
    pictures, elsewhere = set(), set()
    for number, row in enumerate(read_jsonl(path), start=1):
        if not isinstance(row, dict) or "benchmark" not in row or not {"index", "picture"} & row.keys():
            raise UserError(f'{path} record {number}: expected {{"benchmark": ..., "index": ...}}, or "picture"')
        if "picture" in row:
            pictures.add(str(row["picture"]))
            continue
        try:
            name = find(str(row["benchmark"])).name
        except UserError:
            if "how" not in row:
                raise
            elsewhere.add(str(row["benchmark"]))
        else:
            indexes.setdefault(name, set()).add(str(row["index"]))
    return Contaminated(indexes, frozenset(pictures), frozenset(elsewhere))


def clean_score(task: Task, rows: Sequence[Row], listed: set[str], resamples: int, seed: int) -> Mapping[str, Any]:
    """The headline over clusters without a listed item, with its interval; null when none is left.

    `unmatched` counts the indexes that are of no item: of those that were not asked, or a mistake in the list.

    Sums count what is left in place of the official maximum (MME: the categories that still have a question; OCRBench:
    the items left), so that equal skill gives an equal score.

    Args:
        task: the benchmark.
        rows: the items' rows.
        listed: indexes of the contaminated items.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    clusters = {item.index: item.cluster or item.index for item in task.items}  # of MMBench's rotations, too
    met = {clusters[index] for index in listed & clusters.keys()}
    kept = [number for number, row in enumerate(rows) if row["cluster"] not in met]
    entry: dict[str, Any] = {"n": len(kept), "left_out": len(rows) - len(kept), "score": None, "ci95": None}
    entry["unmatched"] = len(listed - clusters.keys())
    if not kept:
        return entry
    own = [rows[number] for number in kept]
    headline = headline_for(rows)
    found = estimate(own, "score", resamples, seed, headline.clean(rows, own) if headline.clean else headline)
    scale = task.rules.headline(task.scoring).maximum / 100
    interval = [edge * scale for edge in found.interval]
    return entry | {"score": found.value * scale, "percent": found.value, "ci95": interval}
