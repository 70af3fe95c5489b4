"""The result table of README.md, written from a run's report.json and never by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, replacing, write_json

RESULT = Path("docs/quickstart_result.json")
BEGIN, END = "<!-- result: begin (mmevol readme) -->", "<!-- result: end -->"
KEPT = ("name", "headline", "labels", "arms", "differences", "gates", "gates_passed", "versions")


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
    """Arms by benchmarks with 95 % intervals, the headline and the labels, as Markdown."""
    arms = numbers["arms"]
    lines = [f"| benchmark | {' | '.join(arms)} |", f"|---|{'---:|' * len(arms)}"]
    for name in next(iter(arms.values()))["benchmarks"]:
        cells = [arm["benchmarks"][name] for arm in arms.values()]
        shown = [f"{cell['score']:.1f} [{cell['ci95'][0]:.1f}, {cell['ci95'][1]:.1f}]" for cell in cells]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join([*lines, "", numbers["headline"], "", *[f"* {label}" for label in numbers["labels"]]])
