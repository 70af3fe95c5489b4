"""What an experiment needs that this machine lacks, all of it at once, before anything is spent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mmevol_core.config import ConfigT
from mmevol_core.endpoint import Endpoint
from mmevol_core.errors import UserError
from mmevol_core.secrets import has_secret
from mmevol_experiment import published
from mmevol_experiment.experiment import Experiment, ExperimentConfig
from mmevol_experiment.published import Found

if TYPE_CHECKING:
    from mmevol_dataengine.curation import CurationConfig
    from mmevol_dataengine.mixture import MixtureConfig
    from mmevol_eval.backends.known import OfficialConfig
    from mmevol_train.parts import BackboneConfig

STANDIN = "standin:"
SCRIPTED = "export it, or choose teacher=scripted, which needs none"
NO_JUDGE = "export it, or leave the judge out"


def check(experiment: Experiment) -> Found:
    """What lies where the experiment will look, when all that it needs is there or nothing is left to do.

    Raises:
        UserError: naming everything missing, or everything that a stage would refuse.
    """
    found = published.look(experiment)
    lacking = missing(experiment, found)
    if lacking:
        config = experiment.config
        tiny = "" if config.requires.gpus == 0 else ", or add scale=tiny to try the same pipeline with tiny stand-ins"
        raise UserError(f"{config.name} cannot run on this machine, missing: {'; '.join(lacking)}. Provide them{tiny}")
    if refusals := refused(experiment, found):
        raise UserError("; ".join(refusals))
    return found


def refused(experiment: Experiment, found: Found) -> list[str]:
    """What a pending stage would refuse: a global batch, kernels that are not here; offline: files not as published."""
    from mmevol_train.config import FinetuneConfig, PretrainConfig, TrainConfig, rows_a_step
    from mmevol_train.ready import check_machine

    refusals = list(found.refused)
    gpus = max(gpu_count(), experiment.config.requires.gpus)  # too few are named as missing; the batch is enough's
    training: dict[str, TrainConfig | None] = {
        "pretrain": _first(experiment.pending("pretrain", PretrainConfig)),
        "finetune": _first(experiment.pending("finetune", FinetuneConfig)),
    }
    for stage, config in training.items():
        if config is not None:
            try:
                rows_a_step(stage, config, config.engine.ranks_of_a_node(gpus) * config.engine.nodes)
                check_machine(config)
            except UserError as error:
                refusals.append(str(error) if str(error).startswith(stage) else f"{stage}: {error}")
    return refusals


def missing(experiment: Experiment, found: Found) -> list[str]:
    """One phrase for each thing that stage runs still to be done need and that is not here."""
    from mmevol_eval.data import BenchmarksConfig
    from mmevol_eval.settings import EvaluateConfig
    from mmevol_train.config import FinetuneConfig, PretrainConfig

    config, lacking = experiment.config, list[str]()
    pretrain = _first(experiment.pending("pretrain", PretrainConfig))
    evaluate = _first(experiment.pending("evaluate", EvaluateConfig))
    asks_checkpoint = evaluate is not None and evaluate.model is None
    if pretrain or asks_checkpoint or experiment.pending("finetune", FinetuneConfig):
        lacking += _gpus(config.requires.gpus)
    if pretrain:
        lacking += _weights(pretrain.backbone, config.paths.weights, offline=config.offline)
    lacking += _data_engine(experiment)
    if benchmarks := _first(experiment.pending("benchmarks", BenchmarksConfig)):
        absent = _paths("benchmarks", path=benchmarks.path)
        lacking += [f"{text}; get each with mmevol fetch NAME --to {benchmarks.path}" for text in absent]
    lacking += found.missing
    if evaluate:
        lacking += _key("evaluate.model.endpoint", evaluate.model.endpoint if evaluate.model else None)
        lacking += _package(evaluate.backend)
        lacking += _evaluated(experiment, evaluate.judge)
    return lacking


def _first(configs: Mapping[str, ConfigT]) -> ConfigT | None:
    """The configuration of a stage's runs, where it is the same for all."""
    return next(iter(configs.values()), None)


def _evaluated(experiment: Experiment, judge: str) -> list[str]:
    """Files of single benchmarks and of judges, which would else be missed after the training."""
    judges: dict[str, str | None] = {"evaluate.judge": judge}
    lacking: list[str] = []
    for key, one in published.benchmarks_of(experiment).items():
        lacking += _paths(f"benchmark.{key}.settings", path=one.settings.path)
        judges[f"benchmark.{key}.settings.judge"] = one.settings.judge
    named = {key: text for key, text in judges.items() if text not in (None, "none", "scripted")}
    absent = {key: text for key, text in named.items() if text and not Path(text.removeprefix("replay:")).is_file()}
    return lacking + [f"judge: {text} ({key})" for key, text in absent.items()]


def _data_engine(experiment: Experiment) -> list[str]:
    """Files and keys of the stages that make data."""
    from mmevol_dataengine.curation import CurationConfig
    from mmevol_dataengine.evolve import EvolveConfig
    from mmevol_dataengine.mixture import MixtureConfig
    from mmevol_dataengine.recipes.mmevol import MMEvol
    from mmevol_dataengine.seed import SeedConfig

    lacking: list[str] = []
    if seed := _first(experiment.pending("seed", SeedConfig)):
        lacking += _paths(
            "data", path=seed.path, image_root=seed.image_root, captions=seed.captions, quarantine=seed.quarantine
        )
        if seed.contamination:
            lacking += _paths("data.contamination", benchmarks=seed.contamination.benchmarks)
    evolve = _first(experiment.pending("evolve", EvolveConfig))
    if evolve and isinstance(evolve.recipe, MMEvol):
        lacking += _paths("recipe", personas=evolve.recipe.personas)
    if curation := _first(experiment.pending("curation", CurationConfig)):
        lacking += _curation(curation, experiment.config)
    if evolve:
        lacking += _key("teacher", evolve.teacher, SCRIPTED)
        lacking += _key("evolve.judge", evolve.judge, NO_JUDGE)
    return lacking + _blended(experiment.pending("mixture", MixtureConfig).values())


def _curation(curation: CurationConfig, config: ExperimentConfig) -> list[str]:
    """Keys of the models that curation asks, and the tools that look at pictures and texts."""
    own = "teacher" in (config.curation or {})
    lacking = _key("curation.teacher" if own else "teacher", curation.teacher, SCRIPTED)
    if curation.teacher:
        lacking += _key("curation.judge", curation.judge, NO_JUDGE)
    annotate, topics = curation.annotate, curation.topics
    tools = {"annotate.detector": annotate.detector, "topics.embedder": topics and topics.embedder}
    for key, name in tools.items():
        if name and not _is_local(name, Path()):
            how = "set it to a folder" if config.offline else "hf download ID"
            lacking.append(f"weights: {name} (curation.{key}; {how})")
    if annotate.ocr == "rapidocr" and find_spec("rapidocr") is None:
        lacking.append("package: rapidocr (curation.annotate.ocr; pip install mmevol[ocr])")
    return lacking


def gpu_count() -> int:
    """GPUs that training will find, as `launch.processes` counts them; torch is asked only where there is a driver."""
    if not Path("/proc/driver/nvidia/gpus").is_dir():
        return 0
    import torch

    return torch.cuda.device_count()


def _gpus(needed: int) -> list[str]:
    here = gpu_count()
    return [] if here >= needed else [f"GPUs: {needed} needed, {here} here (requires.gpus)"]


def _weights(backbone: BackboneConfig, folder: Path, *, offline: bool) -> list[str]:
    parts = [backbone.vision_tower, backbone.language_model]
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


def _blended(mixtures: Iterable[MixtureConfig]) -> list[str]:
    """Files that are mixed in and must not be missing; each is named once, however many arms take it."""
    blends = [mixture.blend for mixture in mixtures if mixture.blend]
    paths = {source.path for blend in blends if blend.missing == "error" for source in blend.sources.values()}
    folders = {blend.contamination.benchmarks for blend in blends if blend.contamination}
    lacking = [path for path in sorted(paths) if not path.is_file()] + [path for path in folders if not path.is_dir()]
    return [f"data: {path} (mixtures.ARM.blend)" for path in lacking]


def _package(backend: OfficialConfig | None) -> list[str]:
    """The official package, where it is to evaluate."""
    if backend is None or (backend.environment / "bin" / "python").is_file():
        return []
    return [f"the official package: no {backend.environment} (run `make vlmeval-env`)"]


def _paths(section: str, **given: Path | None) -> list[str]:
    return [f"data: {path} ({section}.{key})" for key, path in given.items() if path and not path.exists()]


def _key(section: str, endpoint: Endpoint | None, how: str = "") -> list[str]:
    """The environment variable that should hold an endpoint's key and does not."""
    name = endpoint.api_key_name if endpoint else None
    if not name or has_secret(name):
        return []
    return [f"key: environment variable {name} ({section}.api_key_name{f'; {how}' if how else ''})"]
