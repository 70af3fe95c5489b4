"""What the tests of engines train: a model of 96 thousand weights, five steps, most rows without a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from support.tiny_models import backbone, world

from mmevol_core.files import read_jsonl
from mmevol_train.backbone import build
from mmevol_train.checkpoint import save
from mmevol_train.config import EngineConfig, FinetuneConfig, PretrainConfig
from mmevol_train.parts import BackboneConfig

CONF = Path(__file__).parents[2] / "conf" / "engine"
SEVERAL = ["ddp", "deepspeed_zero2", "deepspeed_zero3", "fsdp2"]
STEPS = 5
ADAPTERS = {"rank": 4, "alpha": 8, "dropout": 0.0}
CHANGES: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora": ADAPTERS},
    # draws random numbers, which a resumed run must draw again
    "dropout": {"lora": {**ADAPTERS, "dropout": 0.1}, "verify": False},
    # an epoch is three packed rows
    "packed": {"batching": "packed", "pack_length": 400, "epochs": STEPS, "verify": False, "global_batch": None},
    # a rate so high that the last step is not the best
    "held_out": {
        "validation": {"rows": 5, "every": 1}, "lr_language_model": 5e-2, "schedule": "constant", "warmup_ratio": 0,
        "epochs": 2,
    },
}  # fmt: skip


def given(root: Path, family: str) -> tuple[BackboneConfig, dict[str, Path]]:
    """(backbone, inputs): 6 rows with pictures and 14 without, so that whole micro-batches have none."""
    parts = backbone(root, family)
    data, images = world(root, rows=6, text_rows=14)
    save(*build(parts), root / "checkpoint")
    return parts, {"checkpoint": root / "checkpoint", "conversations": data, "captions": data, "images": images}


def engine(name: str, **changes: Any) -> EngineConfig:
    """`conf/engine/NAME.yaml`."""
    return EngineConfig.model_validate({**yaml.safe_load((CONF / f"{name}.yaml").read_text()), **changes})


def tune(parts: BackboneConfig, name: str, kind: str = "full", **changes: Any) -> FinetuneConfig:
    """Fine-tuning through an engine; one process accumulates what two do at once."""
    return FinetuneConfig.model_validate({**common(parts, name), "lr_language_model": 1e-3, **CHANGES[kind], **changes})


def pretraining(parts: BackboneConfig, name: str) -> PretrainConfig:
    """The same for the other stage."""
    return PretrainConfig.model_validate({**common(parts, name), "verify": False})


def common(parts: BackboneConfig, name: str) -> dict[str, Any]:
    return {
        "backbone": parts, "batch_size": 2, "accumulate": 2 if name == "single" else 1, "global_batch": 4,
        "max_steps": STEPS, "dtype": "float32", "tracking": {"wandb": "off"}, "save_every_s": None,
        "save_every_steps": 2, "engine": engine(name),
    }  # fmt: skip


def losses(out: Path) -> list[tuple[int, float, float]]:
    """(step, loss, norm of the gradient) of every step."""
    return [(row["step"], row["loss"], row["grad_norm"]) for row in read_jsonl(out / "metrics.jsonl")]
