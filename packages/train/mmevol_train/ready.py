"""What a training configuration asks of the machine and the model, checked before anything is read or started."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch

from mmevol_core.errors import UserError, unknown
from mmevol_train.config import TrainConfig
from mmevol_train.shapes import linear_layers

Asks = Callable[[TrainConfig], bool]

# (key, whether it is asked for, package it needs, what to write instead)
GPU_ONLY: tuple[tuple[str, Asks, str | None, str], ...] = (
    ("compile", lambda config: config.compile, None, "compile=false"),
    ("liger", lambda config: config.liger, "liger_kernel", "liger=false"),
    ("lora.four_bit", lambda config: bool(config.lora and config.lora.four_bit), "bitsandbytes", "lora.four_bit=false"),
    (
        "backbone.attention=flash_attention_2",
        lambda config: config.backbone.attention == "flash_attention_2",
        "flash_attn",
        "backbone.attention=sdpa",
    ),
)
SHARDING = ("deepspeed_zero3", "fsdp2")


def check_machine(config: TrainConfig) -> None:
    """Silent when this machine can do what is asked, with adapters on layers that a known model has.

    `training.adapted` asks every model itself, once it is built.

    Raises:
        UserError: for the first thing that it cannot, with what to write instead.
    """
    for key, asked, package, instead in GPU_ONLY:
        if not asked(config):
            continue
        if not torch.cuda.is_available():
            raise UserError(f"{key} needs a CUDA GPU and here is none; set {instead}")
        if package and find_spec(package) is None:
            raise UserError(f"{key} needs the package {package}: pip install {package.replace('_', '-')}")
    layers = linear_layers(config.backbone.language_model) if config.lora else ()
    for name in config.lora.targets if config.lora and layers else ():
        if name not in layers:
            raise unknown("linear layer", name, layers, where="lora.targets")
    if config.lora and config.lora.four_bit and config.engine.name in SHARDING:
        raise UserError(f"lora.four_bit cannot be sharded by {config.engine.name}; use engine=single, ddp or zero2")
