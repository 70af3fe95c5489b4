"""Training of random tiny parts in this process: what every test of it configures, and what it compares."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmevol_core.files import read_jsonl
from mmevol_train import finetune
from mmevol_train.config import FinetuneConfig
from mmevol_train.parts import BackboneConfig

COMMON: dict[str, Any] = {
    "batch_size": 4, "dtype": "float32", "tracking": {"wandb": "off"}, "save_every_s": None, "image_cache_mb": 16,
    "verify": False,
}  # fmt: skip


def tune(parts: BackboneConfig, **changes: Any) -> FinetuneConfig:
    return FinetuneConfig.model_validate(
        {"backbone": parts, **COMMON, "lr_language_model": 1e-3, "epochs": 3, **changes}
    )


def inputs(base: Any, **more: Path) -> dict[str, Path]:
    """Inputs of a finetune stage, from the fixture `base`."""
    _, _, result, data, images = base
    return {"checkpoint": result.files["checkpoint"], "conversations": data, "images": images, **more}


def folder(root: Path, name: str) -> Path:
    (root / name).mkdir()
    return root / name


def losses(out: Path) -> list[tuple[int, float, float, float]]:
    """(step, loss, norm of the gradient, rate of the language model) of every step."""
    return [
        (row["step"], row["loss"], row["grad_norm"], row["lr/language_model"])
        for row in read_jsonl(out / "metrics.jsonl")
    ]


def lead_a_group(config: FinetuneConfig, given: dict[str, Path], out: Path) -> None:
    """A finetune stage that leads a group of processes, as the runner starts one."""
    os.setpgid(0, 0)
    finetune.run(config, given, out)
