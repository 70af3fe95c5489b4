"""What became of the rewritten data, from `ledger.json`: records and items, two units that are never added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmevol_core.files import read_json
from mmevol_experiment import charts, charts_data

# A record (one picture with its items) is asked about once a round; an item is one question with its answer.
UNITS = {"records": ("failed_records",), "items": ("eliminated", "failed", "surplus")}
TITLES = {
    "failed_records": "records without a usable answer",
    "eliminated": "items eliminated",
    "failed": "items failed (those of records without a usable answer among them)",
    "surplus": "items written unasked",
}


def funnel(ledger: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the page shows of a ledger: a chart of the items, a table of each unit, reasons; None without rounds."""
    rounds: Sequence[Mapping[str, Any]] = ledger.get("rounds", [])
    if not rounds:
        return None
    rows = [(_name(row), _counts(row)) for row in rounds]
    parts = ("kept", "eliminated", "failed")
    return {
        "chart": charts.stacks([(name, {part: row[part] for part in parts}) for name, row in rows], parts),
        "rows": [*rows, ("all rounds", _counts(ledger["total"]))],
        "reasons": {unit: _reasons(ledger["total"], kinds) for unit, kinds in UNITS.items()},
    }


def curation(accounts: Mapping[str, Any] | None, distribution: Path | None) -> dict[str, Any] | None:
    """What the page shows of `curation.json`: rows of records and items with their reasons, and the sources drawn."""
    if accounts is None:
        return None
    records, sources = accounts["records"], read_json(distribution)["domains"] if distribution else {}
    return {
        "records": _counts(records),
        "reasons": [(kind, sorted(records[kind].items(), key=_most_first)) for kind in ("eliminated", "failed")],
        "items": accounts["items"],
        "relevance": accounts["relevance"],
        "chart": charts_data.domains(sources) if sources else "",
    }


def _name(row: Mapping[str, Any]) -> str:
    return f"round {row['round']}, {row['direction'].replace('_', ' ')}"


def _counts(row: Mapping[str, Any]) -> dict[str, int]:
    """A row with its reasons added up; the ledger has asserted that each unit closes."""
    return {key: sum(value.values()) if isinstance(value, Mapping) else value for key, value in row.items()}


def _reasons(total: Mapping[str, Any], kinds: Sequence[str]) -> list[tuple[str, list[tuple[str, int]]]]:
    """Title of each kind that occurred, with its reasons from the most to the least frequent."""
    return [
        (
            TITLES[kind],
            sorted(((reason.replace("_", " "), count) for reason, count in total[kind].items()), key=_most_first),
        )
        for kind in kinds
        if total[kind]
    ]


def _most_first(pair: tuple[str, int]) -> tuple[int, str]:
    return -pair[1], pair[0]
