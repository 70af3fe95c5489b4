"""Finished experiments side by side: one row an experiment and comparison, as JSON and as a page.

Differences share a chart only where benchmarks, items, rules, prompts, decoding and judge are the same: what the
protocol hash of an experiment's average says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError, unknown
from mmevol_core.files import read_json, replacing, write_json
from mmevol_experiment import charts
from mmevol_experiment.findings import AVERAGE, MEASURE_NAMES

Row = dict[str, Any]


def compare_experiments(outputs: Path, names: Sequence[str]) -> tuple[Path, list[str]]:
    """Gather `report.json` of the named experiments (all finished ones by default).

    Returns:
        The page, and what a reader must not overlook: that not everything was measured alike.

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
    warnings = _warnings(rows)
    write_json(
        outputs / "compare.json", {"experiments": list(names or found), "warnings": warnings, "differences": rows}
    )
    page = outputs / "compare.html"
    with replacing(page) as file:
        file.write(_page(rows, warnings).encode())
    return page, warnings


def _rows(name: str, report: dict[str, Any]) -> list[Row]:
    """The differences on the average, each with the experiment it belongs to and how both arms were measured."""
    rows = []
    for row in report["differences"]:
        if row["benchmark"] != AVERAGE:
            continue
        entries = [report["arms"][row[side]]["benchmarks"] for side in ("a", "b")]
        measured = {key: entry for key, entry in entries[0].items() if key != AVERAGE}
        judges = {entry["protocol"].get("judge", "none") for entry in measured.values()} - {"none"}
        how = {
            "protocol_hash": " / ".join(dict.fromkeys(one[AVERAGE]["protocol_hash"] for one in entries)),
            "benchmarks": list(measured),
            "judges": sorted(judges),
        }
        rows.append({"experiment": name, **row, **how})
    return rows


def _warnings(rows: Sequence[Row]) -> list[str]:
    """Arms of one experiment, or experiments, that were not measured alike."""
    split = dict.fromkeys(
        f"{row['experiment']}: {row['a']} and {row['b']} were not measured alike (protocols {row['protocol_hash']})"
        for row in rows
        if " / " in row["protocol_hash"]
    )
    found = list(split)
    protocols = {row["protocol_hash"] for row in rows}
    if len(protocols) > 1:
        found.append(
            f"{len(protocols)} protocols: other benchmarks, items, rules, prompts, decoding or judge; differences of "
            "one are not comparable with those of another"
        )
    return found


def _page(rows: Sequence[Row], warnings: Sequence[str]) -> str:
    from importlib import resources

    from jinja2 import Environment, StrictUndefined

    text = resources.files("mmevol_experiment").joinpath("templates/compare.html.jinja").read_text(encoding="utf-8")
    groups: dict[str, dict[str, list[charts.Interval]]] = {}
    protocols: dict[str, dict[str, Any]] = {}
    for row in rows:
        title = f"{row['a']} minus {row['b']} ({MEASURE_NAMES[row['measure']]})"
        low, high = row["ci95"]
        own = groups.setdefault(row["protocol_hash"], {}).setdefault(title, [])
        own.append(charts.Interval(row["experiment"], row["delta"], low, high))
        how = {key: row[key] for key in ("n", "benchmarks", "judges")}
        protocols.setdefault(row["protocol_hash"], {**how, "experiments": {}})["experiments"][row["experiment"]] = None
    drawn = {
        protocol: {title: charts.intervals(group, "percentage points") for title, group in own.items()}
        for protocol, own in groups.items()
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(text).render(protocols=protocols, charts=drawn, warnings=warnings)
