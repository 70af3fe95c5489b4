"""From a composed configuration to the stage runs of an experiment and what flows between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmevol_core.config import fit
from mmevol_core.errors import UserError, unknown
from mmevol_eval.benchmark import BenchmarkSettings, PublishedData
from mmevol_eval.benchmarks import find as find_benchmark
from mmevol_experiment.stages import STAGES

CONTROLS = {"seed_matched": "evolved"}  # arm -> the arm whose number of training tokens it is repeated to
MANIFEST = "manifest"  # role that every stage run has: its own manifest


@dataclass(frozen=True)
class Node:
    """One stage run: which stage, with which configuration, fed by whom.

    `inputs` maps a role to (key of the node it comes from, role there). A role may carry a suffix after a dot
    ("scores.evolved"): the stage then receives one file per suffix.
    """

    key: str
    stage: str
    module: str
    config: Mapping[str, Any]
    inputs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    where: str = ""  # name of the configuration's section, for messages


def build(config: Mapping[str, Any]) -> tuple[Node, ...]:
    """The stage runs of an experiment in an order in which each comes after what it needs.

    Args:
        config: the composed configuration as plain values (conf/config.yaml says what is in it).
    """
    arms = _arms(config)
    tiny = config["data"]["source"] == "tiny_world"
    nodes = [_node("seed", config["data"], where="data")]
    if config.get("curation"):
        nodes.append(_curation(config))
    nodes.append(_evolve(config))
    nodes += [_mixture(config, arm) for arm in arms]
    nodes.append(_benchmarks(config, tiny))
    nodes.append(_pretrain(config))
    for arm in arms:
        nodes += [_finetune(config, arm, arms), _evaluate(config, arm, tiny)]
    nodes.append(_report(config, arms))
    return tuple(nodes)


def select(nodes: tuple[Node, ...], stages: set[str]) -> tuple[Node, ...]:
    """The runs of the named stages and of everything they need, in the same order."""
    by_key = {node.key: node for node in nodes}
    wanted: set[str] = set()

    def want(node: Node) -> None:
        wanted.add(node.key)
        for source, _ in node.inputs.values():
            if source not in wanted:
                want(by_key[source])

    for node in nodes:
        if node.stage in stages:
            want(node)
    return tuple(node for node in nodes if node.key in wanted)


def _node(
    stage: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, tuple[str, str]] | None = None,
    *,
    arm: str = "",
    where: str = "",
) -> Node:
    key = f"{stage}.{arm}" if arm else stage
    return Node(key, stage, STAGES[stage], config, inputs or {}, where or stage)


def _arms(config: Mapping[str, Any]) -> list[str]:
    arms = list(config["arms"])
    for arm in arms:
        if arm not in config["mixtures"]:
            raise unknown("arm", arm, config["mixtures"], where="arms")
        if CONTROLS.get(arm, arm) not in arms:
            raise UserError(f"arm {arm} is a control of {CONTROLS[arm]}: add {CONTROLS[arm]} to arms")
    if not arms:
        raise UserError(f"arms is empty: choose some of {', '.join(config['mixtures'])}")
    if len(set(arms)) < len(arms):
        raise UserError(f"arms names one twice: {', '.join(arms)}")
    return arms


def _curation(config: Mapping[str, Any]) -> Node:
    section = config["curation"]
    if "merge" not in section:  # settings of a file that nobody chose
        raise UserError(f"curation.{next(iter(section))} is set, but nothing is curated: add curation=default")
    inputs = {"seed": ("seed", "seed"), "images": ("seed", "images")}
    return _node("curation", {"teacher": config["teacher"], **section}, inputs)


def _evolve(config: Mapping[str, Any]) -> Node:
    section = {"recipe": config["recipe"], "teacher": config["teacher"], **config["evolve"]}
    records = "curation" if config.get("curation") else "seed"
    return _node("evolve", section, {"seed": (records, "seed"), "images": ("seed", "images")})


def _mixture(config: Mapping[str, Any], arm: str) -> Node:
    inputs = {"evolved": ("evolve", "evolved"), "eliminated": ("evolve", "eliminated")}
    if _keeps_contaminated(config["data"]) and _keeps_contaminated(config["mixtures"][arm].get("blend")):
        inputs["contaminated"] = ("seed", "contaminated_items")
    return _node("mixture", config["mixtures"][arm], inputs, arm=arm, where=f"mixtures.{arm}")


def _training(config: Mapping[str, Any], section: str) -> dict[str, Any]:
    shared = {"backbone": config["backbone"], "engine": config["engine"], "tracking": config["tracking"]}
    return {**shared, **config[section], "seed": config[section]["seed"] + config["seed"]}


def _pretrain(config: Mapping[str, Any]) -> Node:
    inputs = {"captions": ("seed", "captions"), "images": ("seed", "images")}
    return _node("pretrain", _training(config, "pretrain"), inputs)


def _finetune(config: Mapping[str, Any], arm: str, arms: list[str]) -> Node:
    inputs = {
        "checkpoint": ("pretrain", "checkpoint"),
        "conversations": (f"mixture.{arm}", "conversations"),
        "images": ("seed", "images"),
    }
    if arm in CONTROLS:
        inputs["match"] = (f"mixture.{CONTROLS[arm]}", "conversations")
    return _node("finetune", _training(config, "finetune"), inputs, arm=arm)


def _evaluate(config: Mapping[str, Any], arm: str, tiny: bool) -> Node:
    inputs = {"benchmarks": ("benchmarks", "benchmarks")}
    if not config["evaluate"].get("model"):
        inputs["checkpoint"] = (f"finetune.{arm}", "checkpoint")
    if tiny:
        inputs["held_out"] = ("seed", "held_out")
    if not config["evaluate"].get("contaminated"):
        # the later wins: a mixture's list holds the seeds', too
        gates = {"seed": config["data"], f"mixture.{arm}": config["mixtures"][arm].get("blend")}
        for source, section in gates.items():
            if _keeps_contaminated(section):
                inputs["contaminated"] = (source, "contaminated_items")
    common = config["evaluate"].get("settings") or {}
    settings = {
        name: {**common.get(name, {}), **own.model_dump(mode="json", exclude_none=True)}
        for name, own in _suite(config).items()
    }
    chosen = {name: own for name, own in settings.items() if own}
    versions = {name: find_benchmark(name).version for name in settings}
    section = {**config["evaluate"], "names": list(settings), "settings": chosen, "versions": versions}
    return _node("evaluate", section, inputs, arm=arm)


def _keeps_contaminated(data: Mapping[str, Any] | None) -> bool:
    """Whether records that meet a benchmark stay in the training data, so that scores need their clean part."""
    gate = (data or {}).get("contamination")
    return isinstance(gate, Mapping) and gate.get("action") == "keep"


def _benchmarks(config: Mapping[str, Any], tiny: bool) -> Node:
    """The files of every benchmark that has no path of its own."""
    names = [name for name, settings in _suite(config).items() if settings.path is None]
    inputs = {"held_out": ("seed", "held_out")} if tiny else {}
    return _node("benchmarks", {**config["benchmarks"], "names": names}, inputs)


def _suite(config: Mapping[str, Any]) -> dict[str, BenchmarkSettings]:
    """Settings of the chosen benchmarks by name: those of the suite, or of them the ones in `evaluate.names`."""
    published = [fit(PublishedData, one, f"benchmark.{key}") for key, one in config["benchmark"].items()]
    suite = {one.name: one.settings for one in published}
    chosen = config["evaluate"].get("names")
    if chosen is None:
        return suite
    if not chosen:
        raise UserError("evaluate.names is empty; name benchmarks, or leave it out for the whole suite")
    for name in chosen:
        if name not in suite:
            raise unknown("benchmark", name, suite, where="evaluate.names (of the suite)")
    return {name: suite[name] for name in chosen}


def _report(config: Mapping[str, Any], arms: list[str]) -> Node:
    inputs = {role: ("evolve", role) for role in ("evolved", "ledger")} | {"images": ("seed", "images")}
    if config.get("curation"):
        inputs |= {role: ("curation", role) for role in ("curation", "distribution")}
        inputs["manifest.curation"] = ("curation", MANIFEST)
    for key in ["seed", "evolve", "benchmarks", "pretrain"]:
        inputs[f"manifest.{key}"] = (key, MANIFEST)
    inputs["losses.pretrain"] = ("pretrain", "losses")
    for arm in arms:
        inputs |= {f"{role}.{arm}": (f"evaluate.{arm}", role) for role in ("scores", "items")}
        inputs[f"losses.{arm}"] = (f"finetune.{arm}", "losses")
        inputs |= {
            f"manifest.{stage}.{arm}": (f"{stage}.{arm}", MANIFEST) for stage in ("mixture", "finetune", "evaluate")
        }
    section = {**config["report"], "name": config["name"], "arms": arms}
    return _node("report", section, inputs)
