"""`mmevol run`, `mmevol plan`, `mmevol compare`, `mmevol readme`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from mmevol_core.errors import UserError
from mmevol_experiment import preflight, published
from mmevol_experiment.compose import compose, sweep_points
from mmevol_experiment.display import duration, for_console
from mmevol_experiment.estimate import lines
from mmevol_experiment.experiment import Experiment, link, prepare, seconds_last_time
from mmevol_experiment.runner import run as run_jobs

Overrides = Annotated[list[str] | None, typer.Argument(help="experiment=NAME KEY=VALUE GROUP=FILE ...")]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(run)
    app.command()(plan)
    app.command()(compare)
    app.command()(readme)


def run(
    overrides: Overrides = None,
    multirun: Annotated[bool, typer.Option("-m", "--multirun", help="run every point of a sweep")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="as offline=true: no model hub; published MD5s must hold")
    ] = False,
) -> None:
    """Run an experiment, or go on with it. What is done is not done again."""
    console = Console(stderr=False)
    overrides = [*(overrides or []), *(["offline=true"] if offline else [])]
    points = sweep_points(overrides or []) if multirun else [list(overrides or [])]
    for number, point in enumerate(points, start=1):
        if multirun:
            console.print(f"sweep {number}/{len(points)}: {' '.join(point)}", markup=False, highlight=False)
        _run_one(point, console, suffix=_point_name(point, overrides or []) if multirun else "")


def _run_one(overrides: list[str], console: Console, *, suffix: str) -> None:
    values = compose(overrides)
    if suffix:
        values["name"] = f"{values['name']}.{suffix}"
    experiment = prepare(values)
    found = preflight.check(experiment)
    for line in [*found.notes, *lines(experiment)]:  # which files, what is about to be paid
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    run_jobs(
        experiment.jobs,
        at_once=experiment.config.jobs,
        environment=_environment(experiment),
        display=for_console(console),
    )
    link(experiment, yaml.safe_dump(values, sort_keys=False))
    _announce(experiment, console)


def _point_name(point: list[str], given: list[str]) -> str:
    """`seed=1,backbone=llama3` for a point of a sweep: what sets it apart from the others."""
    return ",".join(text for text in point if text not in given and not text.startswith(("experiment=", "sweep=")))


def _environment(experiment: Experiment) -> dict[str, str]:
    """What a stage run finds in its environment."""
    environment = dict(os.environ) | {"TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
    if experiment.config.threads is not None:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(experiment.config.threads))
    if experiment.config.offline:
        environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return environment


def _announce(experiment: Experiment, console: Console) -> None:
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    report = experiment.jobs.get("report")
    receipt = report.done if report else None
    if receipt is None:
        say(f"{experiment.config.name}: {', '.join(experiment.jobs)} done, links in {experiment.folder}")
        return
    say(str(receipt.metrics.get("headline", "")))
    say(f"report: {experiment.report}")


def plan(overrides: Overrides = None) -> None:
    """Say what would run, what is done and what is missing on this machine; spend nothing."""
    experiment = prepare(compose(list(overrides or [])))
    console = Console()
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    width = max(len(key) for key in experiment.jobs)
    for key, job in experiment.jobs.items():
        receipt, before = job.done, seconds_last_time(job)
        if receipt is not None:
            state = f"done (took {duration(receipt.seconds)})"
        elif (job.folder / "log.txt").exists():
            state = "begun"
        else:
            state = "to do"
        if receipt is None and before is not None:
            state += f", last time {duration(before)}"
        say(f"{key:<{width}}  {state:<24}  {job.folder}")
    from mmevol_experiment.training_plan import training_lines

    found = published.look(experiment)
    for line in [*lines(experiment), *training_lines(experiment), *found.notes]:
        say(line)
    lacking = preflight.missing(experiment, found)
    reasons = [f"missing on this machine: {'; '.join(lacking)}"] if lacking else []
    if reasons := reasons + preflight.refused(experiment, found):
        raise UserError("; ".join(reasons))
    say("nothing is missing on this machine")


def compare(
    names: Annotated[list[str] | None, typer.Argument(help="experiments; none: all finished ones")] = None,
    outputs: Annotated[Path, typer.Option(help="where experiments are")] = Path("outputs"),
) -> None:
    """Set finished experiments side by side: outputs/compare.html and outputs/compare.json."""
    from mmevol_experiment.compare import compare_experiments

    page, warnings = compare_experiments(outputs, names or [])
    for text in warnings:
        Console().print(f"warning: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    Console().print(f"comparison: {page}", markup=False, highlight=False, soft_wrap=True)


def readme(
    result: Annotated[Path, typer.Option(help="report.json of a run")] = Path("outputs/quickstart/report.json"),
    root: Annotated[Path, typer.Option(help="repository")] = Path(),
) -> None:
    """Write a run's result table into README.md and keep its numbers in docs/quickstart_result.json."""
    from mmevol_experiment.readme import update

    update(root, result)
    Console().print("README.md and docs/quickstart_result.json updated", highlight=False)
