"""What an experiment will ask of its teacher, said before anything is paid: requests, tokens, money, hours."""

from __future__ import annotations

from pathlib import Path

from mmevol_core.config import fit
from mmevol_experiment.experiment import Experiment
from mmevol_experiment.plan import input_paths

PAID = ("curation", "evolve")  # stages that ask a teacher


def lines(experiment: Experiment) -> list[str]:
    """A few lines about the data engine's calls that have still to be made, none when there are none."""
    return [line for stage in PAID for line in _lines(experiment, stage)]


def _lines(experiment: Experiment, stage: str) -> list[str]:
    job = experiment.jobs.get(stage)
    if job is None or job.done is not None:
        return []
    before, _ = job.inputs["seed"]
    if experiment.jobs[before].done is None:
        how = f"stages=[{before}] first, then mmevol plan"
        return [f"{stage}: what it will take is known once stage {before} has run: {how}"]
    from mmevol_dataengine.curation import CurationConfig
    from mmevol_dataengine.evolve import EvolveConfig
    from mmevol_dataengine.forecast import forecast_file

    records, values = Path(input_paths(job, experiment.jobs)["seed"]), job.node.config
    config = fit(CurationConfig, values, stage) if stage == "curation" else fit(EvolveConfig, values, stage)
    forecast = forecast_file(config, records)
    return forecast.lines() if forecast else []
