"""Every file under conf/ is reached, composes, and fits the schema it is for."""

from functools import cache
from itertools import product, zip_longest
from pathlib import Path

import pytest
import yaml

from mmevol_core.config import fit
from mmevol_core.endpoint import Endpoint
from mmevol_core.errors import UserError
from mmevol_eval.backends.vlmeval import BackendConfig
from mmevol_eval.benchmark import PublishedData
from mmevol_experiment.compose import choices, compose, conf_folder, sweep_points
from mmevol_experiment.experiment import Experiment, prepare

CONF = conf_folder()
FAMILIES = ("qwen2", "llama3")
SCALES = ("tiny", "full")
# Where a group's files go; `mixture` and `train` are used at several places.
PLACES = {
    "recipe": "recipe",
    "teacher": "teacher",
    "mixture": "mixture@mixtures.evolved",
    "backbone": "backbone",
    "engine": "engine",
    "evaluate": "evaluate",
    "benchmarks": "benchmarks",
    "tracking": "tracking",
    "data": "data",
    "debug": "debug",
    "paths": "paths",
}
ELSEWHERE = {
    "experiment",
    "scale",
    "size",
    "sweep",
    "train",
    "benchmark",
    "judge",
    "backend",
    "suite",
    "curation",
}  # tests of their own
MISSING = ["benchmarks.path=official"]  # ??? on purpose: no file can know it


@cache
def prepared(outputs: Path, *overrides: str) -> Experiment:
    """Compose and fit; the schemas are remembered below `outputs`."""
    return prepare(compose([*overrides, f"paths.outputs={outputs}"]))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


def rounds():
    """The k-th file of every group at once: all files are reached in as many compositions as the longest group has."""
    columns = [[f"{place}={name}" for name in choices(group)] for group, place in PLACES.items()]
    columns += [[f"train@{stage}={name}" for name in train_files(stage)] for stage in ("pretrain", "finetune")]
    return [[override for override in row if override] for row in zip_longest(*columns)]


def train_files(stage: str) -> list[str]:
    return [name for name in choices("train") if name.startswith(stage)]


def test_every_group_is_known_here_and_has_files():
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert groups == set(PLACES) | ELSEWHERE
    assert all(choices(group) for group in groups)
    assert {path.relative_to(CONF).parts[0] for path in CONF.rglob("*.yaml")} == groups | {"config.yaml"}
    assert not [path for path in CONF.rglob("*.yaml") if len(path.relative_to(CONF).parts) > 2]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_fits_at_every_scale_with_every_backbone(experiment, scale, outputs):
    plans = [
        prepared(outputs, f"experiment={experiment}", f"scale={scale}", f"backbone={family}") for family in FAMILIES
    ]
    for plan in plans:
        finetunes = {plan.jobs[f"finetune.{arm}"].folder for arm in plan.config.arms}
        assert len(finetunes) == len(plan.config.arms) > 0
        assert plan.jobs["report"].folder.is_relative_to(outputs)
    names = [plan.config.backbone["name"] for plan in plans]
    assert [name.endswith("_tiny") for name in names] == [scale == "tiny"] * 2
    assert [name.split("_")[0] for name in names] == list(FAMILIES)
    # the data do not depend on the language model: evolved once, used by both
    assert len({plan.jobs["evolve"].folder for plan in plans}) == 1


def test_an_experiment_file_is_named_as_what_it_runs():
    for name in choices("experiment"):
        text = yaml.safe_load((CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8"))
        assert text["name"] == name


@pytest.mark.parametrize("overrides", rounds(), ids=lambda overrides: overrides[0].replace("=", "-"))
def test_every_file_of_every_group_fits(overrides, outputs):
    chosen = [text for text in overrides if not text.startswith("paths=")]
    missing = MISSING if "benchmarks=official" in chosen else []
    plan = prepared(outputs, "experiment=quickstart", "scale=tiny", *chosen, *missing)
    assert {"seed", "evolve", "pretrain", "finetune.evolved", "evaluate.evolved", "report"} <= set(plan.jobs)


def test_a_file_is_reached_by_some_round():
    reached = {override for row in rounds() for override in row}
    assert reached >= {f"teacher={name}" for name in choices("teacher")}
    assert len(reached) == sum(len(choices(group)) for group in PLACES) + len(choices("train"))


def test_the_sizes_are_those_a_family_can_ask_for():
    assert set(choices("size")) == {f"{family}_{scale}" for family, scale in product(FAMILIES, SCALES)}
    assert set(choices("scale")) == set(SCALES)


def test_all_seven_arms_are_trained_apart_and_share_one_evolution(outputs):
    plan = prepared(outputs, "experiment=quickstart", "sweep=directions")
    arms = set(plan.config.arms)
    assert arms == set(choices("mixture"))
    assert len({plan.jobs[f"finetune.{arm}"].folder for arm in arms}) == len(arms)
    assert [key for key in plan.jobs if key.startswith("evolve")] == ["evolve"]


@pytest.mark.parametrize("sweep", choices("sweep"))
def test_the_points_of_every_sweep_fit_and_train_apart(sweep, outputs):
    points = sweep_points(["experiment=quickstart", f"sweep={sweep}"])
    plans = [prepared(outputs, *point) for point in points]
    assert len({plan.jobs["finetune.evolved"].folder for plan in plans}) == len(points) > 0
    assert len({plan.jobs["evolve"].folder for plan in plans}) == 1


@pytest.mark.parametrize(
    ("group", "schema"), [("benchmark", PublishedData), ("judge", Endpoint), ("backend", BackendConfig)]
)
def test_files_that_hydra_does_not_place_fit_their_schema(group, schema):
    for name in choices(group):
        values = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))
        fit(schema, values, f"{group}/{name}")
        with pytest.raises(UserError, match="surplus"):
            fit(schema, {**values, "surplus": 1}, f"{group}/{name}")


def test_a_suite_names_benchmarks_that_have_a_file():
    published = {
        yaml.safe_load(path.read_text(encoding="utf-8"))["name"] for path in (CONF / "benchmark").glob("*.yaml")
    }
    for name in choices("suite"):
        names = yaml.safe_load((CONF / "suite" / f"{name}.yaml").read_text(encoding="utf-8"))["names"]
        assert len(names) == len(set(names)) > 0
        assert set(names) <= published


def test_a_key_that_no_schema_has_is_refused_by_name(outputs):
    with pytest.raises(UserError, match=r"pretrain\.epochz"):
        prepare(compose(["experiment=quickstart", "pretrain.epochz=2", f"paths.outputs={outputs}"]))
