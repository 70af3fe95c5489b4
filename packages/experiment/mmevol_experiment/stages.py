"""The table of stages: a name, the module that holds its `STAGE`, imported on use."""

from __future__ import annotations

from importlib import import_module

from mmevol_core.errors import unknown
from mmevol_core.stage import Stage

STAGES = {
    "seed": "mmevol_dataengine.seed",
    "curation": "mmevol_dataengine.curation",
    "evolve": "mmevol_dataengine.evolve",
    "mixture": "mmevol_dataengine.mixture",
    "benchmarks": "mmevol_eval.data",
    "pretrain": "mmevol_train.pretrain",
    "finetune": "mmevol_train.finetune",
    "evaluate": "mmevol_eval.evaluate",
    "report": "mmevol_experiment.report",
}
# What a user may say for several stages at once: stages=[dataengine]
FAMILIES = {
    "dataengine": ("seed", "curation", "evolve", "mixture"),
    "train": ("pretrain", "finetune"),
    "evaluation": ("benchmarks", "evaluate"),
    "all": tuple(STAGES),
}


def load(name: str) -> Stage:
    """The stage called `name`; UserError that lists the valid ones."""
    if name not in STAGES:
        raise unknown("stage", name, STAGES)
    return from_module(STAGES[name])


def from_module(module: str) -> Stage:
    """The `STAGE` of a module, importing it."""
    stage = import_module(module).STAGE
    assert isinstance(stage, Stage), f"{module}.STAGE is not a Stage"
    return stage


def expand(names: list[str]) -> set[str]:
    """Stage names and families of stages to stage names; UserError for one that does not exist."""
    chosen: set[str] = set()
    for name in names:
        if name not in STAGES and name not in FAMILIES:
            raise unknown("stage", name, [*STAGES, *FAMILIES], where="stages")
        chosen.update(FAMILIES.get(name, (name,)))
    return chosen
