"""`mmevol fetch`, `verify`, `results`, `submission`: files of the benchmarks in; pages and files to upload out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmevol_core.errors import UserError
from mmevol_experiment.cli.outputs import check_out

if TYPE_CHECKING:
    from mmevol_eval.benchmark import PublishedData


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(fetch)
    app.command()(verify)
    app.command()(results)
    app.command()(submission)


def fetch(
    benchmark: str,
    to: Annotated[Path, typer.Option(help="folder of all benchmarks; goes on where an earlier call stopped")],
) -> None:
    """Download a benchmark's published files and check them; nothing else in mmevol downloads them."""
    from mmevol_eval.fetch import fetch as bring

    path = bring(published(benchmark), to, print)
    print(f"check it with: mmevol verify {benchmark} --data {path}")


def verify(
    benchmark: str,
    data: Annotated[Path, typer.Option(help="TSV, or folder with official files")],
) -> None:
    """Check that files are the published ones: MD5, number of items, every image readable."""
    from mmevol_eval.benchmarks import find
    from mmevol_eval.fetch import verify as check

    checked, wrong = check(published(benchmark), find(benchmark), data)
    if checked:
        print(f"{data}: {'; '.join(checked)}")
    if wrong:
        raise UserError(f"{data} is not {benchmark} as published: {'; '.join(wrong)}")


def published(benchmark: str) -> PublishedData:
    """Where a benchmark is published, from `conf/benchmark/`.

    Raises:
        UserError: no such benchmark.
    """
    import yaml

    from mmevol_core.config import fit
    from mmevol_eval.benchmark import PublishedData
    from mmevol_eval.benchmarks import MODULES, find
    from mmevol_experiment.compose import conf_folder

    file = conf_folder() / "benchmark" / f"{MODULES[find(benchmark).name]}.yaml"
    return fit(PublishedData, yaml.safe_load(file.read_text(encoding="utf-8")), file.name)


def results(
    evaluated: Annotated[Path, typer.Argument(help="folder of a finished evaluation: OUTPUTS/NAME/evaluate.ARM")],
    out: Annotated[Path, typer.Option(help="page to write")],
    benchmarks: Annotated[Path | None, typer.Option(help="folder of the benchmark files; default: its own")] = None,
    title: Annotated[str, typer.Option(help="heading; default: the folder's name")] = "",
    pictures: Annotated[int, typer.Option(min=0, help="wrong answers shown with their picture")] = 400,
) -> None:
    """One model's page: scores, categories, and its wrong answers with picture, prediction and verdict."""
    from mmevol_eval.results_page import write_results

    check_out(out, evaluated / "scores.json", evaluated / "items.jsonl")
    counts = write_results(evaluated, out, benchmarks, title, pictures=pictures)
    print(f"{out}: {counts['wrong']} wrong answers, {counts['listed']} listed, {counts['pictures']} with picture")


def submission(
    benchmark: str,
    data: Annotated[Path, typer.Option(help="folder with the test split's official questions")],
    predictions: Annotated[Path, typer.Option(help='lines {"index", "prediction"}')],
    out: Annotated[Path, typer.Option(help="file to upload")],
) -> None:
    """The file that a benchmark's evaluation server takes (VQAv2), checked to be complete."""
    from mmevol_eval.submission import write_submission

    check_out(out, predictions)
    counts = write_submission(benchmark, data, predictions, out)
    print(f"{out}: {counts['questions']} questions, {counts['empty']} of them outside the asked part and left empty")
