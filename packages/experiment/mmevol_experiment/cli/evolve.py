"""`mmevol evolve estimate|preview`: what evolving will cost, and what it makes of a few records."""

from __future__ import annotations

from typing import Annotated

import typer

from mmevol_core.errors import UserError

evolve = typer.Typer(no_args_is_help=True, help="Look at the evolution of records before paying for all of it.")
Overrides = Annotated[list[str] | None, typer.Argument(help="experiment=NAME KEY=VALUE GROUP=FILE ...")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(evolve, name="evolve")


@evolve.command()
def estimate(overrides: Overrides = None) -> None:
    """Requests, tokens, money and hours, from the prompts that would be sent; nothing is asked."""
    from mmevol_experiment.compose import compose
    from mmevol_experiment.estimate import lines
    from mmevol_experiment.experiment import prepare

    said = lines(prepare(compose([*(overrides or []), "stages=[evolve]"])))
    for line in said or ["evolve: already done, nothing to pay"]:
        print(line)


@evolve.command()
def preview(
    overrides: Overrides = None,
    records: Annotated[int, typer.Option(min=1, max=1000, help="how many to evolve")] = 5,
) -> None:
    """Evolve a few records and print what became of each item, round by round, with the money spent."""
    from mmevol_dataengine.preview import preview as read_preview
    from mmevol_experiment.cli.experiment import run
    from mmevol_experiment.compose import compose
    from mmevol_experiment.experiment import prepare

    chosen = [*(overrides or []), "stages=[evolve]", f"evolve.limit={records}", "evolve.max_failed=1"]
    if compose(chosen).get("curation"):
        chosen.append(f"curation.limit={records}")
    run(chosen)
    job = prepare(compose(chosen)).jobs["evolve"]
    if job.done is None:
        raise UserError(f"preview: nothing was finished in {job.folder}")
    for line in read_preview({role: job.folder / name for role, name in job.done.files.items()}):
        print(line)
