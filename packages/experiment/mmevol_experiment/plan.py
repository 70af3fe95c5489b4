"""What would run: every configuration fitted to its schema, every stage run given its fingerprint and folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

import mmevol_core
from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_core.files import digest, files_below, read_json, write_json
from mmevol_experiment import manifest
from mmevol_experiment.graph import MANIFEST, Node
from mmevol_experiment.stages import from_module

STANDIN = "standin:"
REPLAY = "replay:"  # a judge whose answers lie in a file
# What is a path is told by its text, not by the schemas' `Path` fields: weights and judges are strings that may name a
# folder or file, and among the paths are folders that change no output (`evaluate.backend.environment`).
_NAMES_FILE = re.compile(r"/|\.(json|jsonl|yaml|tsv|parquet|txt)$")
_TREE = "parquet tree"  # stands for the key of a folder that is read to any depth
_GATE = "benchmarks"  # key of the folder that the contamination gate reads whole
_SUITE = "official benchmarks"  # stands for the key of benchmarks' files, which may have their pictures beside them
_DATA = {".json", ".jsonl", ".tsv", ".csv", ".parquet", ".yaml", ".txt", ".safetensors", ".bin", ".model", ".jinja"}
_PICTURES = (".jpg", ".jpeg", ".png", ".webp")
# Ends of names that count at any depth, by key.
_DEEP = {_TREE: (".parquet",), _GATE: ("",), _SUITE: (*_PICTURES, *_DATA)}
_NAMES_FOLDER = {"path", *_DEEP}  # keys whose values are paths also when they look like words
MOST_ENTRIES = 1000  # a folder within a folder that has more is one of pictures and not looked into


@dataclass(frozen=True)
class Job:
    """A stage run that has a place: `folder` is `outputs/stages/<stage>/<fingerprint>`."""

    node: Node
    version: str
    fingerprint: str
    folder: Path
    inputs: Mapping[str, tuple[str, str]]  # those of the node that the stage uses
    grace_s: float  # seconds that the stage may take to end

    @property
    def done(self) -> manifest.Manifest | None:
        """The manifest when the run has finished."""
        return manifest.read(self.folder, self.fingerprint)

    def identity(self, jobs: Mapping[str, Job]) -> dict[str, Any]:
        """The part of the manifest that is known before the run."""
        sources = {
            role: {"stage": jobs[key].node.stage, "fingerprint": jobs[key].fingerprint, "role": there}
            for role, (key, there) in self.inputs.items()
        }
        return {
            "stage": self.node.stage,
            "fingerprint": self.fingerprint,
            "version": self.version,
            "config": self.node.config,
            "inputs": sources,
        }


def plan(nodes: Iterable[Node], outputs: Path) -> dict[str, Job]:
    """Fit every slice and name every folder, before anything runs or is spent.

    Raises:
        UserError: for a key that is unknown, missing or of the wrong type, or an input that a stage needs and
            nothing provides.
    """
    jobs: dict[str, Job] = {}
    cache_file = outputs / "stages" / "schemas.json"
    known = _known_schemas(cache_file)
    fresh: dict[str, Any] = {}
    for node in nodes:
        key = digest([node.module, node.where, node.config])
        facts = fresh[key] = known.get(key) or _facts(node)
        inputs = _used(node, facts)
        sources = {role: [jobs[source].fingerprint, there] for role, (source, there) in inputs.items()}
        files = external_files(facts["config"])
        print_ = digest([node.stage, facts["version"], facts["config"], sources, *([files] if files else [])])
        folder = outputs / "stages" / node.stage / print_
        jobs[node.key] = Job(node, facts["version"], print_, folder, inputs, facts["grace_s"])
    if any(key not in known for key in fresh):
        write_json(cache_file, {"code": _code_state(), "facts": {**known, **fresh}})
    return jobs


def _facts(node: Node) -> dict[str, Any]:
    """What the fingerprint needs to know of a stage; importing its module may cost seconds."""
    stage = from_module(node.module)
    config = fit(stage.config, node.config, node.where or node.stage).model_dump(mode="json")
    return {
        "config": config,
        "version": stage.version,
        "needs": stage.needs,
        "accepts": stage.accepts,
        "grace_s": stage.grace_s,
    }


def _used(node: Node, facts: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The inputs that the stage needs or accepts; a role's part after the first dot tells several apart."""
    known = {*facts["needs"], *facts["accepts"]}
    used = {role: source for role, source in node.inputs.items() if role.split(".")[0] in known}
    given = {role.split(".")[0] for role in used}
    for role in facts["needs"]:
        if role not in given:
            raise UserError(f"stage {node.key} needs the input {role!r}, which this experiment does not provide")
    return used


def external_files(config: Any, key: str = "") -> dict[str, Any]:
    """Size and time of every file that a configuration names, so that an edited input is not mistaken for the old.

    Of a folder, those of its data files count, and of the data files one folder further down: benchmarks, weights. Of
    Parquet seeds it is every such file of the tree, as their reader takes them; of a contamination gate's benchmarks
    every file of whatever kind, pictures too; of benchmarks that are asked their data and pictures.
    `standin:NAME` names weights that ship with the package: their fingerprint counts.

    Args:
        config: values, at any depth.
        key: what a single value is called.
    """
    if isinstance(config, Mapping):
        parts: Iterable[tuple[str, Any]] = ((_key(config, name), part) for name, part in config.items())
    elif isinstance(config, list | tuple):
        parts = [(key, part) for part in config]
    elif isinstance(config, str) and (_NAMES_FILE.search(config) or key in _NAMES_FOLDER) and len(config) < 1024:
        state = _state(Path(config.removeprefix(REPLAY)), _DEEP.get(key, ()))
        return {config: state} if state else {}
    elif isinstance(config, str) and config.startswith(STANDIN):
        recipe = files("mmevol_train.standins") / "weights" / config.removeprefix(STANDIN) / "recipe.json"
        return {config: orjson.loads(recipe.read_bytes())["weights"]} if recipe.is_file() else {}
    else:
        return {}
    return {name: state for key, part in parts for name, state in external_files(part, str(key)).items()}


def _key(config: Mapping[str, Any], name: str) -> str:
    """What a value is called, with the paths apart that count deeper than others."""
    if name != "path":
        return name
    if config.get("source") == "parquet":
        return _TREE
    own = {"prompts", "rules", "max_new_tokens"} <= config.keys()  # a benchmark's settings
    return _SUITE if own or config.get("source") == "official" else name


def _state(path: Path, deep: tuple[str, ...] = ()) -> list[Any]:
    """Size and time of a file, or name, size and time of a folder's data files; empty where there is neither.

    `deep`: and of all files at any depth below it whose name ends so.
    """
    if path.is_file():
        return [path.stat().st_size, path.stat().st_mtime_ns]
    if not path.is_dir():
        return []
    with os.scandir(path) as listed:  # it knows folders from files without a look at each of many pictures
        inside = sorted(listed, key=lambda entry: entry.name)
    found = [Path(entry.path) for entry in inside if Path(entry.name).suffix in _DATA and entry.is_file()]
    for folder in (Path(entry.path) for entry in inside if entry.is_dir()):
        entries = list(islice(folder.iterdir(), MOST_ENTRIES + 1))
        if len(entries) <= MOST_ENTRIES:
            found += sorted(file for file in entries if file.suffix in _DATA and file.is_file())
    if deep:
        found = sorted({*found, *(file for file in files_below(path) if file.name.lower().endswith(deep))})
    states = [(file, file.stat()) for file in found]
    return [[str(file.relative_to(path)), state.st_size, state.st_mtime_ns] for file, state in states]


def _known_schemas(path: Path) -> dict[str, Any]:
    """Facts kept from an earlier plan by the same code: they spare the import of torch when all is done."""
    if not path.exists():
        return {}
    stored = read_json(path)
    return dict(stored["facts"]) if stored.get("code") == _code_state() else {}


@cache
def _code_state() -> str:
    """Fingerprint of the package's source files (names, sizes, times)."""
    root = Path(mmevol_core.__file__).parents[1]
    roots = root.parent.glob("*/mmevol_*") if root.name == "core" else root.glob("mmevol_*")
    files = [path for folder in roots for path in sorted(folder.rglob("*.py"))]
    return digest([[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files])


def input_paths(job: Job, jobs: Mapping[str, Job]) -> dict[str, str]:
    """Role -> absolute path of every input, all of whose producers have finished."""
    paths: dict[str, str] = {}
    for role, (key, there) in job.inputs.items():
        source = jobs[key]
        receipt = source.done
        assert receipt is not None, f"{key} has not finished"
        if there == MANIFEST:
            paths[role] = str((source.folder / manifest.FILE_NAME).resolve())
        elif there in receipt.files:
            paths[role] = str((source.folder / receipt.files[there]).resolve())
        else:
            gives = ", ".join(receipt.files)
            raise UserError(f"stage {job.node.key} needs {there!r} from {key}, which gives only {gives}")
    return paths
