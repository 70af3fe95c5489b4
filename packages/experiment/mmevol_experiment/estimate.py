"""What an experiment will ask of its teacher, said before anything is paid: requests, tokens, money, hours."""

from __future__ import annotations

from typing import Any

from mmevol_core.config import fit
from mmevol_experiment.experiment import Experiment
from mmevol_experiment.plan import input_paths


def lines(experiment: Experiment) -> list[str]:
    """A few lines about the data engine's calls when it has still to run, none otherwise."""
    job = experiment.jobs.get("evolve")
    if job is None or job.done is not None:
        return []
    seed = experiment.jobs["seed"]
    if seed.done is None:
        return ["evolve: what it will take is known once stage seed has run: stages=[seed] first, then mmevol plan"]
    from pathlib import Path

    from mmevol_dataengine.evolve import EvolveConfig
    from mmevol_dataengine.forecast import forecast_file

    values: dict[str, Any] = dict(job.node.config)
    config = fit(EvolveConfig, values, "evolve")
    return forecast_file(config, Path(input_paths(job, experiment.jobs)["seed"])).lines()
