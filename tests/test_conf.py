"""Every file under conf/ is reached, composes, and fits the schema it is for."""

from functools import cache
from itertools import product, zip_longest
from pathlib import Path

import pytest
import yaml

from mmevol_core.config import fit
from mmevol_core.endpoint import Endpoint
from mmevol_core.errors import UserError
from mmevol_eval.benchmark import PublishedData
from mmevol_experiment.compose import choices, compose, conf_folder, sweep_points
from mmevol_experiment.experiment import Experiment, prepare
from mmevol_experiment.preflight import missing
from mmevol_experiment.published import look

CONF = conf_folder()
FAMILIES = ("qwen2", "llama3")
SCALES = ("tiny", "full")
# Where a group's files go; `mixture` and `train` are used at several places.
PLACES = {
    "curation": "curation",
    "recipe": "recipe",
    "teacher": "teacher",
    "mixture": "mixture@mixtures.evolved",
    "backbone": "backbone",
    "engine": "engine",
    "evaluate": "evaluate",
    "suite": "suite",
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
    "blend",
}  # tests of their own
MISSING = ["benchmarks.path=official"]  # ??? on purpose: no file can know it


@cache
def prepared(outputs: Path, *overrides: str) -> Experiment:
    """Compose and fit; the schemas are remembered below `outputs`."""
    return prepare(compose([*overrides, f"paths.outputs={outputs}"]))


def lacking(plan: Experiment) -> list[str]:
    return missing(plan, look(plan))


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


@pytest.mark.parametrize(("group", "schema"), [("benchmark", PublishedData), ("judge", Endpoint)])
def test_files_that_hydra_does_not_place_fit_their_schema(group, schema):
    for name in choices(group):
        values = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))
        fit(schema, values, f"{group}/{name}")
        with pytest.raises(UserError, match="surplus"):
            fit(schema, {**values, "surplus": 1}, f"{group}/{name}")


@pytest.mark.parametrize("backend", choices("backend"))
def test_the_official_package_takes_the_place_of_our_evaluation_and_changes_nothing_before_it(backend, outputs):
    plain = prepared(outputs, "experiment=quickstart", "suite=opencompass9").jobs
    official = prepared(outputs, "experiment=quickstart", "suite=opencompass9", f"backend={backend}").jobs
    asks = official["evaluate.evolved"].node.config["backend"]["asks"]
    assert asks == (backend == "vlmeval") and "backend" not in plain["evaluate.evolved"].node.config
    moved = {key for key in plain if plain[key].folder != official[key].folder}
    assert moved == {"report", *(f"evaluate.{arm}" for arm in ("seed", "seed_matched", "evolved"))}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["suite=mmevol13"], r"does not have VQAv2, MMSInst; choose suite=opencompass9"),
        (["suite=mmevol13", "evaluate.names=[MIA-Bench]"], "MIA-Bench by a replayed judge alone"),
        (["suite=opencompass9", "evaluate.blind=true"], r"evaluate\.blind=false, or choose backend=vlmeval_scores"),
        (["suite=opencompass9", "evaluate.processes=8"], r"evaluate\.processes=1"),
        (["suite=opencompass9", "evaluate.rules=mmevol"], "rules of its own"),
        (["suite=opencompass9", "evaluate.prompts=mmevol"], "prompts of its own"),
        (["suite=opencompass9", "benchmark.mme.settings.limit=9"], "reads whole files; leave out the limit of MME"),
        (["suite=opencompass9", "evaluate=endpoint"], "for an endpoint choose backend=vlmeval_scores"),
        (["suite=opencompass9", "evaluate.judge=conf/judge/local.yaml"], "a judge that is none or replay"),
        (["suite=opencompass9", "evaluate.judge=replay:x.jsonl"], "no judge for answers that it gets itself"),
    ],
)
def test_what_the_official_package_lacks_or_would_ignore_is_refused_before_anything_runs(overrides, message, outputs):
    with pytest.raises(UserError, match=message):
        prepared(outputs, "experiment=quickstart", "backend=vlmeval", *overrides)


def test_without_the_official_package_one_line_says_how_it_comes_here(outputs):
    nowhere = "evaluate.backend.environment=/nowhere"
    plan = prepared(outputs, "experiment=quickstart", "suite=opencompass9", "backend=vlmeval", nowhere)
    assert lacking(plan) == ["the official package: no /nowhere (run `make vlmeval-env`)"]


def test_a_judge_or_a_benchmark_that_is_not_there_is_named_before_the_training(outputs):
    files = ["evaluate.judge=nowhere.yaml", "benchmark.mme.settings.path=no/MME.tsv"]
    own = "benchmark.pope.settings.judge=replay:no.jsonl"
    assert lacking(prepared(outputs, "experiment=quickstart", "suite=spine5", *files, own)) == [
        "data: no/MME.tsv (benchmark.mme.settings.path)",
        "judge: nowhere.yaml (evaluate.judge)",
        "judge: replay:no.jsonl (benchmark.pope.settings.judge)",
    ]


def test_a_benchmark_that_nobody_asks_is_not_missed(outputs):
    absent = ["benchmark.pope.settings.judge=replay:no.jsonl", "benchmark.gqa.settings.path=no/gqa.tsv"]
    plan = prepared(outputs, "experiment=quickstart", "suite=spine5", "evaluate.names=[MME]", *absent)
    assert lacking(plan) == []


def sections(outputs, *overrides):
    """Configurations of stages `evaluate` (of one arm) and `benchmarks`."""
    jobs = prepared(outputs, "experiment=quickstart", *overrides).jobs
    return jobs["evaluate.evolved"].node.config, jobs["benchmarks"].node.config


@pytest.mark.parametrize("suite", choices("suite"))
def test_a_suite_selects_what_is_asked_and_what_is_made(suite, outputs):
    listed = yaml.safe_load((CONF / "suite" / f"{suite}.yaml").read_text(encoding="utf-8"))["defaults"]
    files = [next(iter(one.values())) for one in listed]
    names = [
        yaml.safe_load((CONF / "benchmark" / f"{file}.yaml").read_text(encoding="utf-8"))["name"] for file in files
    ]
    evaluated, made = sections(outputs, f"suite={suite}")
    assert evaluated["names"] == made["names"] == names
    assert len(set(names)) == len(names) == int(suite.strip("abcdefghijklmnopqrstuvwxyz"))


def test_a_benchmark_has_settings_of_its_own_and_may_join_or_leave_a_suite(outputs):
    own = ["benchmark.mme.settings.limit=20", "benchmark.pope.settings.path=data/pope.tsv"]
    evaluated, made = sections(outputs, "suite=spine5", "+benchmark@benchmark.blink=blink", "~benchmark.gqa", *own)
    assert evaluated["names"] == ["MME", "POPE", "MMStar", "VQAv2", "BLINK"]
    assert evaluated["settings"] == {"MME": {"limit": 20}, "POPE": {"path": "data/pope.tsv"}}
    assert made["names"] == ["MME", "MMStar", "VQAv2", "BLINK"]  # POPE has a file of its own
    assert sections(outputs, "suite=spine5", "evaluate.names=[POPE]")[0]["names"] == ["POPE"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["suite=opencompas9"], "did you mean 'opencompass9'"),
        (["+benchmark@benchmark.mmvt=mmvt"], "did you mean 'mmvet'"),
        (["evaluate.names=[MMStr]"], "did you mean 'MMStar'"),
        (["evaluate.names=[]"], "evaluate.names is empty"),
        (["benchmark.mme.settings.limt=20"], r"did you mean 'benchmark\.mme\.settings\.limit'"),
    ],
)
def test_a_wrong_name_of_a_benchmark_is_answered_with_the_nearest(overrides, message, outputs):
    with pytest.raises(UserError, match=message):
        prepared(outputs, "experiment=quickstart", *overrides)


def test_a_served_model_needs_no_training(outputs):
    plan = prepared(outputs, "experiment=quickstart", "evaluate=endpoint", "stages=[evaluation]")
    assert {job.node.stage for job in plan.jobs.values()} == {"seed", "benchmarks", "evaluate"}
    paid = prepared(
        outputs,
        "experiment=qwen2_evol",
        "evaluate=endpoint",
        "stages=[evaluate]",
        "evaluate.model.endpoint.api_key_name=K",
    )
    found = lacking(paid)
    assert [text for text in found if "GPU" in text or "weights" in text] == []
    assert "key: environment variable K (evaluate.model.endpoint.api_key_name)" in found


def test_a_key_that_no_schema_has_is_refused_by_name(outputs):
    with pytest.raises(UserError, match=r"pretrain\.epochz"):
        prepare(compose(["experiment=quickstart", "pretrain.epochz=2", f"paths.outputs={outputs}"]))
