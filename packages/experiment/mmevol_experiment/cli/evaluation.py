"""`mmevol predict`, `mmevol score` and `mmevol official`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmevol_core.config import fit
from mmevol_core.errors import UserError, unknown

if TYPE_CHECKING:
    from mmevol_eval.backends.vlmeval import BackendConfig


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(predict)
    app.command()(score)
    app.command()(official)


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
    backend: Annotated[str, typer.Option(help="own, or vlmeval: the official package (`make vlmeval-env`)")] = "own",
) -> None:
    """Scores as a pure function of stored predictions."""
    from mmevol_eval.score import score_file

    if backend == "own":
        result = score_file(benchmark, data, predictions, out, protocol, judge)
    elif protocol:
        raise UserError(f"--backend {backend} has its own rules; leave out --protocol, or use --backend own")
    else:
        from mmevol_eval.backends.vlmeval import score_official

        result = score_official(benchmark, data, predictions, out, judge, _backend(backend))
    headline = result["headline"]
    print(
        f"{benchmark} {headline['name']}: {headline['value']} {headline['unit']}, {result['unparsed']} unparsed, "
        f"protocol {result['protocol_hash']}; {out}"
    )


def official(
    checkpoint: Path,
    benchmarks: Annotated[Path, typer.Option(help="folder with the benchmarks' TSVs")],
    out: Annotated[Path, typer.Option(help="folder for scores.json and the predictions")],
    suite: Annotated[str, typer.Option(help="a file of conf/suite")] = "opencompass9",
    backend: Annotated[str, typer.Option(help="a file of conf/backend")] = "vlmeval",
) -> None:
    """Let the official package ask a checkpoint, in its own loop, and score it."""
    from mmevol_eval.backends.vlmeval import drive
    from mmevol_experiment.compose import compose

    names = [one["name"] for one in compose([f"suite={suite}", "name=official"])["benchmark"].values()]
    results = drive(checkpoint, names, benchmarks, out, _backend(backend))
    for name, result in results.items():
        headline, seconds = result["headline"], result["seconds"]["wall_s"]
        print(f"{name} {headline['name']}: {headline['value']:.2f} {headline['unit']}, {seconds:.0f} s")
    print(f"protocol of ms-vlmeval; {out / 'scores.json'}")


def _backend(name: str) -> BackendConfig:
    from mmevol_eval.backends.vlmeval import BackendConfig

    return fit(BackendConfig, _chosen("backend", name), f"backend ({name})")


def _chosen(group: str, name: str) -> dict[str, Any]:
    """A file of conf/ that Hydra does not place."""
    import yaml

    from mmevol_experiment.compose import choices, conf_folder

    if name not in choices(group):
        raise unknown(group, name, choices(group))
    path = conf_folder() / group / f"{name}.yaml"
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return values
