"""Finished experiments side by side: one row an experiment and comparison, as JSON and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError, unknown
from mmevol_core.files import read_json, replacing, write_json
from mmevol_experiment import charts
from mmevol_experiment.findings import MEASURE_NAMES


def compare_experiments(outputs: Path, names: Sequence[str]) -> Path:
    """Gather `report.json` of the named experiments (all finished ones by default); return the page.

    Raises:
        UserError: nothing has finished under `outputs`, or a name has not.
    """
    found = {path.parent.name: path for path in sorted(outputs.glob("*/report.json"))}
    for name in names:
        if name not in found:
            raise unknown("finished experiment", name, found, where=str(outputs))
    if not found:
        raise UserError(f"no finished experiment under {outputs}; run make experiment first")
    rows = [row for name in (names or found) for row in _rows(name, read_json(found[name]))]
    write_json(outputs / "compare.json", {"experiments": list(names or found), "differences": rows})
    page = outputs / "compare.html"
    with replacing(page) as file:
        file.write(_page(rows).encode())
    return page


def _rows(name: str, report: dict[str, Any]) -> list[dict[str, Any]]:
    """The differences on the average, each with the experiment it belongs to."""
    return [{"experiment": name, **row} for row in report["differences"] if row["benchmark"] == "average"]


def _page(rows: Sequence[dict[str, Any]]) -> str:
    from importlib import resources

    from jinja2 import Environment, StrictUndefined

    text = resources.files("mmevol_experiment").joinpath("templates/compare.html.jinja").read_text(encoding="utf-8")
    groups: dict[str, list[charts.Interval]] = {}
    for row in rows:
        title = f"{row['a']} minus {row['b']} ({MEASURE_NAMES[row['measure']]})"
        low, high = row["ci95"]
        groups.setdefault(title, []).append(charts.Interval(row["experiment"], row["delta"], low, high))
    drawn = {title: charts.intervals(group, "percentage points") for title, group in groups.items()}
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(text).render(charts=drawn)
