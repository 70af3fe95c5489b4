"""An experiment as typed values, and as a plan of stage runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from mmevol_core.config import Config, ConfigT, fit
from mmevol_core.errors import UserError
from mmevol_core.files import replacing
from mmevol_experiment import manifest
from mmevol_experiment.compose import choices
from mmevol_experiment.graph import build, select
from mmevol_experiment.plan import Job, plan
from mmevol_experiment.stages import expand

Section = dict[str, Any]  # fitted to its stage's schema by the plan


class Paths(Config):
    """Folders, relative to where the command is typed."""

    outputs: Path
    data: Path
    weights: Path


class Requires(Config):
    """What the machine must have."""

    gpus: int = Field(ge=0)


class ExperimentConfig(Config):
    """The top of conf/config.yaml."""

    name: str = Field(pattern=r"^\w[\w.-]*$")
    seed: int
    arms: tuple[str, ...]
    stages: tuple[str, ...]
    jobs: int = Field(ge=1)
    threads: int | None = Field(ge=1)
    offline: bool
    paths: Paths
    requires: Requires
    sweep: Section | None = None
    data: Section
    curation: Section | None = None
    recipe: Section
    teacher: Section
    evolve: Section
    mixtures: dict[str, Section]
    backbone: Section
    pretrain: Section
    finetune: Section
    engine: Section
    benchmark: dict[str, Section]
    benchmarks: Section
    evaluate: Section
    tracking: Section
    report: Section


@dataclass(frozen=True)
class Experiment:
    """A configuration and the stage runs that follow from it."""

    config: ExperimentConfig
    jobs: Mapping[str, Job]

    @property
    def folder(self) -> Path:
        """Where the links are."""
        return self.config.paths.outputs / self.config.name

    def pending(self, stage: str, schema: type[ConfigT]) -> dict[str, ConfigT]:
        """Configurations of a stage's runs that are still to be done, fitted to its schema; by their keys."""
        jobs = {key: job for key, job in self.jobs.items() if job.node.stage == stage and job.done is None}
        return {key: fit(schema, job.node.config, job.node.where) for key, job in jobs.items()}

    @property
    def report(self) -> Path:
        """The page that a finished experiment ends in."""
        return self.folder / "report.html"


def prepare(values: Mapping[str, Any]) -> Experiment:
    """Fit everything and plan it; nothing runs.

    Raises:
        UserError: for anything in the configuration that does not fit, before anything is spent.
    """
    config = fit(ExperimentConfig, values, "")
    chosen = expand(list(config.stages))
    if "curation" in config.stages and not config.curation:
        files = " | ".join(choices("curation"))
        raise UserError(f"stages names curation, but nothing is curated: add curation={files}")
    nodes = select(build(values), chosen)
    return Experiment(config, plan(nodes, config.paths.outputs))


def link(experiment: Experiment, resolved: str) -> None:
    """Fill the experiment's folder with relative links to its finished stage runs, and keep the configuration."""
    folder = experiment.folder
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "config.yaml") as file:
        file.write(resolved.encode())
    for key, job in experiment.jobs.items():
        receipt = job.done
        if receipt is None:
            continue
        _symlink(folder / key, job.folder)
        if job.node.stage == "report":
            for path in receipt.files.values():
                _symlink(folder / Path(path).name, job.folder / path)


def _symlink(link_path: Path, target: Path) -> None:
    """Point `link_path` to `target` in one step, whatever it pointed to before."""
    fresh = link_path.with_name(f".{link_path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(target.resolve(), link_path.parent.resolve()))
    fresh.replace(link_path)


def seconds_last_time(job: Job) -> float | None:
    """How long the latest finished run of the same stage took here, whatever its configuration; None: never ran."""
    receipts = sorted(job.folder.parent.glob(f"*/{manifest.FILE_NAME}"), key=lambda path: path.stat().st_mtime)
    latest = manifest.read(receipts[-1].parent, receipts[-1].parent.name) if receipts else None
    return latest.seconds if latest else None
