"""The result table of README.md, written from a run's report.json and never by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, replacing, write_json
from mmevol_experiment.findings import CONTROL, EVOLVED, find, interval

RESULT = Path("docs/quickstart_result.json")
BEGIN, END = "<!-- result: begin (mmevol readme) -->", "<!-- result: end -->"
KEPT = (
    "name",
    "headline",
    "findings",
    "labels",
    "arms",
    "measures",
    "differences",
    "leave_one_out",
    "readable",
    "gates",
    "gates_passed",
    "versions",
)


def update(root: Path, report: Path) -> None:
    """Keep the numbers of `report` in the repository and write its table between the markers."""
    numbers = read_json(report)
    kept = {key: numbers[key] for key in KEPT}
    write_json(root / RESULT, kept)
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    with replacing(readme) as file:
        file.write(with_table(text, kept).encode())


def with_table(text: str, numbers: Mapping[str, Any]) -> str:
    """The text with the table of `numbers` between the markers; UserError when they are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"README.md lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table(numbers)}\n{END}{after}"


def table(numbers: Mapping[str, Any]) -> str:
    """Arms by benchmarks with 95 % intervals, the paired difference, the findings and the labels, as Markdown."""
    arms = numbers["arms"]
    names = next(iter(arms.values()))["benchmarks"]
    columns = {arm: {name: _score(entry["benchmarks"][name]) for name in names} for arm, entry in arms.items()}
    compared = {name: find(numbers["differences"], EVOLVED, CONTROL, name, "score") for name in names}
    if any(compared.values()):
        columns[f"{EVOLVED} - {CONTROL}"] = {name: interval(row) if row else "" for name, row in compared.items()}
    lines = [f"| benchmark | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    lines += [f"| {name} | {' | '.join(column[name] for column in columns.values())} |" for name in names]
    found = _list(numbers["findings"])
    return "\n".join([*lines, "", *found, "", "What stands in for the real thing:", "", *_list(numbers["labels"])])


def _score(cell: Mapping[str, Any]) -> str:
    low, high = cell["ci95"]
    return f"{cell['score']:.1f} [{low:.1f}, {high:.1f}]"


def _list(texts: Sequence[str]) -> list[str]:
    return [f"* {text}" for text in texts]
