"""`mmevol predict`, `mmevol score`, `mmevol compare-scores` and `mmevol official`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mmevol_core.errors import UserError, unknown
from mmevol_experiment.cli.outputs import check_out

BACKENDS = ("own", "vlmeval")
ENVIRONMENT = Path(".venv-vlmeval")  # where `make vlmeval-env` puts the official package


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(predict)
    app.command()(score)
    app.command(name="compare-scores")(compare_scores)
    app.command()(official)


def predict(
    context: typer.Context,
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
    from mmevol_eval.predict import model_of
    from mmevol_eval.predict import predict as answer
    from mmevol_eval.settings import OF_CHECKPOINTS, EvaluateConfig

    check_out(out, data)
    name = find(benchmark).name
    own: dict[str, Any] = {key: context.params[key] for key in OF_CHECKPOINTS}
    _, endpoint = model_of(model)
    if endpoint is not None:
        typed = [key for key in own if _typed(context, key)]
        if typed:
            raise UserError(
                f"--{typed[0].replace('_', '-')} is for checkpoints; {model} is an endpoint, which decodes by itself: "
                "leave it out"
            )
        own = {}
    options = EvaluateConfig(
        names=(name,), prompts=prompts, max_new_tokens=max_new_tokens, max_failed=max_failed, **own
    )
    failed = answer(benchmark, data, model, out, options)
    print(f"{out}: answers to {name}, {failed} items without one")


def score(
    context: typer.Context,
    benchmark: str,
    data: Annotated[Path, typer.Option(help="official TSV, or folder with official files")],
    predictions: Annotated[Path, typer.Option(help='lines {"index", "prediction"}')],
    out: Annotated[Path, typer.Option(help="result as JSON")],
    protocol: Annotated[str | None, typer.Option(help="rules: vlmevalkit, mmevol, official ...")] = None,
    judge: Annotated[str, typer.Option(help="none, replay:FILE.jsonl or a judge's YAML")] = "none",
    cache: Annotated[Path | None, typer.Option(help="SQLite file of verdicts shared with other runs")] = None,
    backend: Annotated[str, typer.Option(help="own, or vlmeval: the official package (`make vlmeval-env`)")] = "own",
    environment: Annotated[Path, typer.Option(help="of --backend vlmeval: made by `make vlmeval-env`")] = ENVIRONMENT,
) -> None:
    """Scores as a pure function of stored predictions."""
    from mmevol_eval.accounting import notes
    from mmevol_eval.backends.known import OfficialConfig
    from mmevol_eval.backends.vlmeval import score_official
    from mmevol_eval.score import score_file

    check_out(out, predictions, data)
    if backend not in BACKENDS:
        raise unknown("backend", backend, BACKENDS)
    if backend == "own":
        if _typed(context, "environment"):
            raise UserError("--environment is the official package's: leave it out, or use --backend vlmeval")
        result = score_file(benchmark, data, predictions, out, protocol, judge, cache)
    elif protocol or cache:
        own = "rules; leave out --protocol" if protocol else "parsers and asks no judge; leave out --cache"
        raise UserError(f"--backend {backend} has its own {own}, or use --backend own")
    else:
        config = OfficialConfig(environment=environment)
        result = score_official(benchmark, data, predictions, out, judge, config)
    headline, interval = result["headline"], result["ci95"]
    sure = f" [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else ""
    for note in notes(result, benchmark, predictions):
        print(note)
    print(
        f"{benchmark} {headline['name']}: {headline['value']}{sure} {headline['unit']}, {result['unparsed']} unparsed, "
        f"protocol {result['protocol_hash']}; {out}"
    )


def compare_scores(
    a: Annotated[Path, typer.Argument(help="result of mmevol score")],
    b: Annotated[Path, typer.Argument(help="another on the same items")],
    out: Annotated[Path | None, typer.Option(help="the difference as JSON")] = None,
) -> None:
    """Test whether two models differ on a benchmark: a minus b, paired by item."""
    from mmevol_core.files import write_json
    from mmevol_eval.compare_scores import compare_scores as difference

    if out is not None:
        check_out(out, a, b)
    found = difference(a, b)
    if out is not None:
        write_json(out, found)
    low, high = found["ci95"]
    smallest = "no difference" if found["mde"] is None else f"{found['mde']:.1f}"
    print(
        f"{found['benchmark']} {found['headline']}: {found['score_a']} and {found['score_b']} {found['unit']}; "
        f"difference {found['delta']:+.1f} percent of the maximum, 95 % interval {low:+.1f} to {high:+.1f}, "
        f"p {found['p']:.3g}, {found['n']} items; detectable: {smallest}"
        + (f"; {found['note']}" if "note" in found else "")
    )


def official(
    checkpoint: Path,
    benchmarks: Annotated[Path, typer.Option(help="folder with the benchmarks' TSVs")],
    out: Annotated[Path, typer.Option(help="folder for scores.json and the predictions")],
    suite: Annotated[str, typer.Option(help="a file of conf/suite")] = "opencompass9",
    environment: Annotated[Path, typer.Option(help="made by `make vlmeval-env`")] = ENVIRONMENT,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="longest answer")] = 20,
    beams: Annotated[int, typer.Option(min=1, help="3 as MMEvol, 1 greedy")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="on the CPU")] = 1,
) -> None:
    """Let the official package ask a checkpoint, in its own loop, and score it."""
    from mmevol_eval.backends.vlmeval import BackendConfig, drive
    from mmevol_experiment.compose import compose

    decoding: dict[str, Any] = {"max_new_tokens": max_new_tokens, "beams": beams, "device": device, "threads": threads}
    config = BackendConfig(environment=environment, **decoding)
    names = [one["name"] for one in compose([f"suite={suite}", "name=official"])["benchmark"].values()]
    results = drive(checkpoint, names, benchmarks, out, config)
    for name, result in results.items():
        headline, seconds = result["headline"], result["seconds"]["wall_s"]
        print(f"{name} {headline['name']}: {headline['value']:.2f} {headline['unit']}, {seconds:.0f} s")
    print(f"protocol of ms-vlmeval; {out / 'scores.json'}")


def _typed(context: typer.Context, option: str) -> bool:
    """Whether a person set an option, rather than its default."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"
