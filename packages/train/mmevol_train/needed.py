"""Work whose result nobody reads is left out; losses and gradients stay the same.

* The head, and the last layer's MLP, feed the loss only at places whose next token is supervised: with pictures in the
  rows that is a small part of all places.
* The tower's layers behind the selected one never reach the projector.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Needed:
    """Hooks on head and last MLP of a LLaVA-NeXT model. `positions` (N,) are flattened places; None: all of them.

    The hooks stay for the whole step, because gradient checkpointing runs the last layer once more in backward.
    """

    def __init__(self, model: nn.Module, head: nn.Module) -> None:
        self.positions: torch.Tensor | None = None
        self._shape = torch.Size()
        self._handles = [head.register_forward_pre_hook(self._pick)]
        mlp = getattr(last_layer(model), "mlp", None)
        if mlp is not None and type(mlp).__name__.endswith("MLP"):  # a mixture of experts returns more than states
            self._handles += [mlp.register_forward_pre_hook(self._pick), mlp.register_forward_hook(self._put_back)]

    @contextmanager
    def only(self, positions: torch.Tensor) -> Iterator[None]:
        """Within: the head gives logits (N, vocabulary) of `positions` alone."""
        self.positions = positions
        try:
            yield
        finally:
            self.positions = None

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def _pick(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        """(B, T, H) to (N, H)."""
        if self.positions is None:
            return None
        self._shape = inputs[0].shape
        return (inputs[0].flatten(0, 1).index_select(0, self.positions), *inputs[1:])

    def _put_back(self, _: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor | None:
        """(N, H) to (B, T, H), zero elsewhere: what stands there is read by nobody."""
        if self.positions is None:
            return None
        empty = output.new_zeros(self._shape[:-1].numel(), self._shape[-1])
        return empty.index_copy(0, self.positions, output).view(self._shape)


def last_layer(model: nn.Module) -> nn.Module | None:
    """The last layer of the language model, also inside adapters; None when it is built in another way."""
    language = next((module for name, module in model.named_modules() if name.endswith("language_model")), None)
    layers = getattr(language, "layers", None)
    found: nn.Module | None = layers[-1] if layers is not None and len(layers) else None
    return found


def unused_layers(model: Any) -> list[nn.Module]:
    """Layers of the vision tower behind the one whose output is selected."""
    selected = model.config.vision_feature_layer
    layers = _tower(model).encoder.layers
    if not isinstance(selected, int) or selected >= 0:
        return []
    return [layers[place] for place in range(len(layers) + selected + 1, len(layers))]


def unused_parameters(model: Any) -> set[int]:
    """Identities of the tower's parameters that no loss reaches."""
    modules = [*unused_layers(model), _tower(model).post_layernorm]
    return {id(parameter) for module in modules for parameter in module.parameters()}


@contextmanager
def without_unused_layers(model: Any) -> Iterator[None]:
    """Within: the tower's unused layers hand on what they are given."""
    layers = unused_layers(model)
    for layer in layers:
        layer.forward = _hand_on
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _hand_on(hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return hidden_states


def _tower(model: Any) -> Any:
    tower = next(module for name, module in model.named_modules() if name.endswith("vision_tower"))
    return getattr(tower, "vision_model", tower)
