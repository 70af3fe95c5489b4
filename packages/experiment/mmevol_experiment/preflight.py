"""What an experiment needs that this machine lacks, all of it at once, before anything is spent."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_core.secrets import has_secret
from mmevol_eval.backends.known import OfficialConfig
from mmevol_experiment import published
from mmevol_experiment.experiment import Experiment, ExperimentConfig

STANDIN = "standin:"
SCRIPTED = "export it, or choose teacher=scripted, which needs none"
NO_JUDGE = "export it, or leave the judge out"


def check(experiment: Experiment) -> None:
    """UserError that names everything missing; silent when all is there or nothing is left to do."""
    lacking = missing(experiment)
    if lacking:
        config = experiment.config
        tiny = "" if config.requires.gpus == 0 else ", or add scale=tiny to try the same pipeline with tiny stand-ins"
        raise UserError(f"{config.name} cannot run on this machine, missing: {'; '.join(lacking)}. Provide them{tiny}")
    if refusals := refused(experiment):
        raise UserError("; ".join(refusals))


def refused(experiment: Experiment) -> list[str]:
    """What a pending stage would refuse: a global batch, kernels that are not here; offline: files not as published."""
    from mmevol_train.config import FinetuneConfig, PretrainConfig, rows_a_step
    from mmevol_train.ready import check_machine

    pending = {job.node.stage: job.node.config for job in experiment.jobs.values() if job.done is None}
    found = published.look(experiment).refused
    for stage, schema in (("pretrain", PretrainConfig), ("finetune", FinetuneConfig)):
        if stage in pending:
            config = fit(schema, pending[stage], stage)
            try:
                rows_a_step(stage, config, config.engine.ranks_of_a_node(gpu_count()) * config.engine.nodes)
                check_machine(config)
            except UserError as error:
                found.append(str(error) if str(error).startswith(stage) else f"{stage}: {error}")
    return found


def missing(experiment: Experiment) -> list[str]:
    """One phrase for each thing that stage runs still to be done need and that is not here."""
    pending = {job.node.stage for job in experiment.jobs.values() if job.done is None}
    config = experiment.config
    found: list[str] = []
    served = config.evaluate.get("model") or {}
    if pending & ({"pretrain", "finetune"} if served else {"pretrain", "finetune", "evaluate"}):
        found += _gpus(config.requires.gpus)
    if pending & {"pretrain"}:
        found += _weights(config.backbone, config.paths.weights, offline=config.offline)
    found += _data_engine(config, pending)
    if "benchmarks" in pending:
        absent = _paths("benchmarks", config.benchmarks, ("path",))
        found += [f"{text}; get each with mmevol fetch NAME --to {config.benchmarks['path']}" for text in absent]
    found += published.look(experiment).missing
    if "evaluate" in pending:
        found += _key("evaluate.model.endpoint", served.get("endpoint") or {})
        found += _package(config.evaluate.get("backend"))
        found += _evaluated(config)
    return found


def _evaluated(config: ExperimentConfig) -> list[str]:
    """Files of single benchmarks and of judges, which would else be missed after the training."""
    judges = {"evaluate.judge": config.evaluate.get("judge")}
    found: list[str] = []
    for key, one in config.benchmark.items():
        settings = one.get("settings") or {}
        found += _paths(f"benchmark.{key}.settings", settings, ("path",))
        judges[f"benchmark.{key}.settings.judge"] = settings.get("judge")
    named = {key: str(text) for key, text in judges.items() if text not in (None, "none", "scripted")}
    lacking = {key: text for key, text in named.items() if not Path(text.removeprefix("replay:")).is_file()}
    return found + [f"judge: {text} ({key})" for key, text in lacking.items()]


def _data_engine(config: ExperimentConfig, pending: set[str]) -> list[str]:
    """Files and keys of the stages that make data."""
    found: list[str] = []
    if "seed" in pending:
        found += _paths("data", config.data, ("path", "image_root", "captions", "quarantine"))
        found += _paths("data.contamination", config.data.get("contamination") or {}, ("benchmarks",))
    if "evolve" in pending:
        found += _paths("recipe", config.recipe, ("personas",))
    if "curation" in pending:
        found += _curation(config)
    if "evolve" in pending:
        found += _key("teacher", config.teacher, SCRIPTED)
        found += _key("evolve.judge", config.evolve.get("judge") or {}, NO_JUDGE)
    if "mixture" in pending:
        found += _blended({arm: config.mixtures[arm] for arm in config.arms})
    return found


def _curation(config: ExperimentConfig) -> list[str]:
    """Keys of the models that curation asks, and the tools that look at pictures and texts."""
    section: dict[str, Any] = {"teacher": config.teacher, **(config.curation or {})}
    own = "teacher" in (config.curation or {})
    found = _key("curation.teacher" if own else "teacher", section["teacher"] or {}, SCRIPTED)
    if section["teacher"]:
        found += _key("curation.judge", section.get("judge") or {}, NO_JUDGE)
    annotate, topics = section.get("annotate") or {}, section.get("topics") or {}
    tools = {"curation.annotate.detector": annotate.get("detector"), "curation.topics.embedder": topics.get("embedder")}
    for key, name in tools.items():
        if name and not _is_local(str(name), Path()):
            found.append(f"weights: {name} ({key}; {'set it to a folder' if config.offline else 'hf download ID'})")
    if annotate.get("ocr") == "rapidocr" and find_spec("rapidocr") is None:
        found.append("package: rapidocr (curation.annotate.ocr; pip install mmevol[ocr])")
    return found


def gpu_count() -> int:
    """GPUs that training will find, as `launch.processes` counts them; torch is asked only where there is a driver."""
    if not Path("/proc/driver/nvidia/gpus").is_dir():
        return 0
    import torch

    return torch.cuda.device_count()


def _gpus(needed: int) -> list[str]:
    here = gpu_count()
    return [] if here >= needed else [f"GPUs: {needed} needed, {here} here (requires.gpus)"]


def _weights(backbone: dict[str, Any], folder: Path, *, offline: bool) -> list[str]:
    parts = [str(backbone.get(part)) for part in ("vision_tower", "language_model")]
    lacking = [part for part in parts if not part.startswith(STANDIN) and not _is_local(part, folder)]
    if not lacking:
        return []
    how = "set backbone.vision_tower and backbone.language_model to folders" if offline else "hf download ID"
    return [f"weights: {', '.join(lacking)} ({how})"]


def _is_local(identifier: str, folder: Path) -> bool:
    """Whether weights lie in a folder of that name, under `paths.weights`, or in the Hugging Face cache."""
    if any((place / "config.json").is_file() for place in (Path(identifier), folder / identifier)):
        return True
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(identifier, "config.json"), str)
    except HFValidationError:  # a path, and no folder with weights is there
        return False


def _blended(mixtures: dict[str, Any]) -> list[str]:
    """Files that are mixed in and must not be missing; each is named once, however many arms take it."""
    blends = [mixture["blend"] for mixture in mixtures.values() if mixture.get("blend")]
    paths = {str(s["path"]) for b in blends if b.get("missing", "error") == "error" for s in b["sources"].values()}
    return [f"data: {path} (mixtures.ARM.blend)" for path in sorted(paths) if not Path(path).is_file()]


def _package(backend: dict[str, Any] | None) -> list[str]:
    """The official package, where it is to evaluate."""
    if not backend:
        return []
    environment = fit(OfficialConfig, backend, "evaluate.backend").environment
    here = (environment / "bin" / "python").is_file()
    return [] if here else [f"the official package: no {environment} (run `make vlmeval-env`)"]


def _paths(section: str, values: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    return [
        f"data: {values[key]} ({section}.{key})" for key in keys if values.get(key) and not Path(values[key]).exists()
    ]


def _key(section: str, endpoint: dict[str, Any], how: str = "") -> list[str]:
    """The environment variable that should hold an endpoint's key and does not."""
    name = endpoint.get("api_key_name")
    if not name or has_secret(name):
        return []
    return [f"key: environment variable {name} ({section}.api_key_name{f'; {how}' if how else ''})"]
