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
    from mmevol_dataengine.curation import CurationConfig
    from mmevol_dataengine.evolve import EvolveConfig
    from mmevol_dataengine.forecast import forecast_file, forecast_seeds
    from mmevol_dataengine.seed import SeedConfig

    before, seeds = job.inputs["seed"][0], experiment.jobs["seed"]
    values = job.node.config
    config = fit(CurationConfig, values, stage) if stage == "curation" else fit(EvolveConfig, values, stage)
    if experiment.jobs[before].done is not None:
        forecast, note = forecast_file(config, Path(input_paths(job, experiment.jobs)["seed"])), ""
    elif seeds.done is not None:
        forecast, note = forecast_file(config, seeds.folder / seeds.done.files["seed"]), "as they are before curation"
    else:
        source = fit(SeedConfig, seeds.node.config, "data")
        if source.path is None:
            how = "the same overrides with stages=[seed] and `mmevol run`, which asks nobody, then this again"
            return [f"{stage}: what it will take is known once stage seed has made the tiny world: {how}"]
        if not source.path.exists():
            return [f"{stage}: what it will take is known once {source.path} is there (data.path)"]
        forecast = forecast_seeds(config, source)
        note = f"of {source.path}, their pictures not looked at" + ("; before curation" if before != "seed" else "")
    if forecast is None:
        return []
    return [*([f"{stage}: records {note}"] if note else []), *forecast.lines()]
