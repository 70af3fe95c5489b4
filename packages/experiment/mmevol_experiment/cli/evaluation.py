"""`mmevol predict` and `mmevol score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(predict)
    app.command()(score)


def predict(
    benchmark: str,
    data: Annotated[Path, typer.Option(help="official TSV, or folder with official files")],
    model: Annotated[str, typer.Option(help="checkpoint folder, endpoint's YAML, or ADDRESS#MODEL")],
    out: Annotated[Path, typer.Option(help="predictions, JSONL; the same command continues a broken run")],
    prompts: Annotated[str, typer.Option(help="vlmevalkit, mmevol or mmevol_compat")] = "vlmevalkit",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="longest answer")] = 1024,
    beams: Annotated[int, typer.Option(min=1, help="of a checkpoint; 3 as MMEvol, 1 greedy")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="of a checkpoint; halved when memory runs out")] = 64,
    device: Annotated[str, typer.Option(help="of a checkpoint: auto, cpu, cuda or cuda:N")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="of a checkpoint on the CPU")] = 1,
    processes: Annotated[int, typer.Option(min=1, help="of a checkpoint: data parallel, a GPU each")] = 1,
    max_failed: Annotated[float, typer.Option(min=0, max=1, help="share of items that may have no answer")] = 0.0,
) -> None:
    """Answer a benchmark with one model; `mmevol score` reads what it writes."""
    from mmevol_eval.benchmarks import find
    from mmevol_eval.predict import predict as answer
    from mmevol_eval.settings import EvaluateConfig

    name = find(benchmark).name
    options = EvaluateConfig(
        names=(name,),
        prompts=prompts,
        max_new_tokens=max_new_tokens,
        beams=beams,
        batch_size=batch_size,
        device=device,
        threads=threads,
        processes=processes,
        max_failed=max_failed,
    )
    failed = answer(benchmark, data, model, out, options)
    print(f"{out}: answers to {name}, {failed} items without one")


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
