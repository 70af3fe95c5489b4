"""The score on what the model cannot have seen: without the items that meet its training data.

The list is JSONL with `{"benchmark", "index"}` (other keys are for people). A cluster leaves as a whole, for a picture
that was seen is seen in all its questions, and pairs and groups are only scored whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl
from mmevol_eval.benchmark import Graded
from mmevol_eval.benchmarks import find
from mmevol_eval.headlines import Row
from mmevol_eval.statistics import estimate
from mmevol_eval.tasks import Task


def read_contaminated(path: Path) -> dict[str, set[str]]:
    """Indexes of the listed items by benchmark.

    Raises:
        UserError: a line is something else, or names no benchmark.
    """
    found: dict[str, set[str]] = {}
    for number, row in enumerate(read_jsonl(path), start=1):
        if not isinstance(row, dict) or not {"benchmark", "index"} <= row.keys():
            raise UserError(f'{path} record {number}: expected {{"benchmark": ..., "index": ...}}')
        found.setdefault(find(str(row["benchmark"])).name, set()).add(str(row["index"]))
    return found


def clean_score(
    task: Task, graded: Sequence[Graded], rows: Sequence[Row], listed: set[str], resamples: int, seed: int
) -> Mapping[str, Any]:
    """The headline over clusters without a listed item, with its interval; null when none is left.

    Args:
        graded: every verdict, in the order of `rows`.
        rows: the items' rows.
        listed: indexes of the contaminated items.
    """
    met = {row["cluster"] for row in rows if row["index"] in listed}
    kept = [number for number, row in enumerate(rows) if row["cluster"] not in met]
    entry: dict[str, Any] = {"n": len(kept), "left_out": len(rows) - len(kept), "score": None, "ci95": None}
    if not kept:
        return entry
    headline = task.rules.headline(task.scoring)
    own = [rows[number] for number in kept]
    value = task.rules.scores([graded[number] for number in kept], task.scoring)[headline.name]
    interval = estimate(own, "score", resamples, seed).interval
    scale = headline.maximum / 100
    return entry | {"score": value, "percent": value / scale, "ci95": [edge * scale for edge in interval]}
