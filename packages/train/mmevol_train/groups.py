"""The parts of a model that learn, each at its own rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from mmevol_core.errors import UserError
from mmevol_train.config import TrainConfig
from mmevol_train.needed import unused_parameters

PARTS = ("vision", "projector", "language_model")


@dataclass(frozen=True)
class Group:
    """One part of the model: its parameters that learn, at one rate."""

    part: str
    lr: float
    parameters: list[tuple[str, nn.Parameter]]

    def row(self) -> dict[str, Any]:
        """A line of the trainable-parameter table."""
        count = sum(parameter.numel() for _, parameter in self.parameters)
        return {"part": self.part, "parameters": count, "lr": self.lr if count else 0.0}


def part_of(name: str) -> str:
    """The part a parameter belongs to; image_newline goes with the projector."""
    if "vision_tower" in name:
        return "vision"
    return "projector" if "multi_modal_projector" in name or "image_newline" in name else "language_model"


def freeze(model: Any, config: TrainConfig) -> list[Group]:
    """Switch learning on or off by part; return the parts.

    Layers of the tower behind the selected one never reach the loss: they stay frozen, or data parallelism would
    wait for gradients that do not come.
    """
    wanted = {
        "vision": config.train_vision,
        "projector": config.train_projector,
        "language_model": config.train_language_model,
    }
    rates = {"vision": config.lr_vision, "projector": config.lr_projector, "language_model": config.lr_language_model}
    unused = unused_parameters(model)
    found: dict[str, list[tuple[str, nn.Parameter]]] = {part: [] for part in PARTS}
    for name, parameter in model.named_parameters():
        part = part_of(name)
        learns = wanted[part] and id(parameter) not in unused
        if config.lora is not None and part == "language_model":
            learns = wanted[part] and "lora_" in name
        parameter.requires_grad_(learns)
        if learns:
            found[part].append((name, parameter))
    if not any(found.values()):
        raise UserError("nothing to train: set train_vision, train_projector or train_language_model to true")
    return [Group(part, rates[part], found[part]) for part in PARTS]
