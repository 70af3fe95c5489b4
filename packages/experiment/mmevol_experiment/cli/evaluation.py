"""`mmevol score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(score)


def score(
    benchmark: str,
    data: Annotated[Path, typer.Option(help="official TSV, or folder with official files")],
    predictions: Annotated[Path, typer.Option(help='lines {"index", "prediction"}')],
    out: Annotated[Path, typer.Option(help="result as JSON")],
    protocol: Annotated[str | None, typer.Option(help="rules: vlmevalkit, mmevol, official ...")] = None,
    judge: Annotated[str, typer.Option(help="none, replay:FILE.jsonl or a judge's YAML")] = "none",
) -> None:
    """Scores as a pure function of stored predictions."""
    from mmevol_eval.score import score_file

    result = score_file(benchmark, data, predictions, out, protocol, judge)
    headline = result["headline"]
    print(
        f"{benchmark} {headline['name']}: {headline['value']} {headline['unit']}, {result['unparsed']} unparsed, "
        f"protocol {result['protocol_hash']}; {out}"
    )
