"""`mmevol fetch` and `mmevol verify`: the published files of the benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmevol_core.errors import UserError

if TYPE_CHECKING:
    from mmevol_eval.benchmark import PublishedData


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(fetch)
    app.command()(verify)


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
