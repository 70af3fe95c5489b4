"""Weights that are spread over processes: sharding without a GPU, whole values again, adapters merged."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import FullyShardedDataParallelPlugin, PartialState
from accelerate.utils import DistributedType
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

ADAPTED = "base_model.model."  # peft's prefix of every name


def shard_without_gpu(trainer: Any) -> None:
    """Make a Trainer that was told to use FSDP2 do so on CPUs.

    accelerate 1.15 takes its FSDP plugin for accelerators only and otherwise trains by plain data parallelism without
    a word; PyTorch itself shards on CPUs.
    """
    options = trainer.args.fsdp_plugin_args
    if options is None or trainer.is_fsdp_enabled:
        return
    state = trainer.accelerator.state
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**options)
    state.distributed_type = DistributedType.FSDP
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP  # each later AcceleratorState() copies it
    trainer.is_fsdp_enabled = True


def layer_classes(model: nn.Module) -> list[str]:
    """Names of the classes of a LLaVA-NeXT model's repeated layers, tower and language model."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)]
    return sorted({type(one[0]).__name__ for one in lists if type(one[0]).__name__.endswith("Layer")})


def held_share(model: nn.Module) -> float:
    """Share of a model's weights that this process holds: 1 where they are not sharded."""
    held = whole = 0
    for parameter in model.parameters():
        whole += getattr(parameter, "ds_numel", None) or parameter.numel()
        held += _local(parameter)
    return held / whole


def _local(parameter: nn.Parameter) -> int:
    if isinstance(parameter, DTensor):
        return int(parameter.to_local().numel())
    shard = getattr(parameter, "ds_tensor", None)
    return int(shard.numel() if shard is not None else parameter.numel())


def whole(parameter: torch.Tensor) -> torch.Tensor:
    """All of a parameter; under FSDP2 every process must ask."""
    if not isinstance(parameter, DTensor):
        return parameter.detach()
    found: torch.Tensor = parameter.full_tensor().detach().clone()  # the result may be on its way; its copy has arrived
    return found


def whole_weights(trainer: Any) -> dict[str, torch.Tensor] | None:
    """All weights of a Trainer's model on the first process, nothing of use on the others, which must ask too.

    None when there is one process, whose model is whole.
    """
    if trainer.accelerator.num_processes == 1:
        return None
    if not trainer.is_fsdp_enabled:
        found: dict[str, torch.Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        return found
    first, state = trainer.accelerator.is_main_process, {}
    for name, value in trainer.model.state_dict().items():
        one = whole(value)
        if first:
            state[name] = one.cpu()
    return state


@torch.no_grad()
def put(parameter: torch.Tensor, value: torch.Tensor) -> None:
    """Write a whole value into a parameter, each process its own share."""
    if isinstance(parameter, DTensor):
        value = distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
    parameter.copy_(value)


def merged(base: dict[str, torch.Tensor], learned: dict[str, torch.Tensor], scaling: float) -> dict[str, torch.Tensor]:
    """All weights under the model's own names: W + scaling B A where peft adapted W (arXiv 2106.09685, section 4.1).

    `base` are the weights before training, in full precision also when training held them in four bits; `learned`
    are what training changed, under peft's names: adapters, and whole weights of other parts.
    """
    found = dict(base)
    for name, value in learned.items():
        plain = name.removeprefix(ADAPTED)
        stem, adapter, _ = plain.partition(".lora_A.")
        if adapter:
            up, weight = learned[name.replace(".lora_A.", ".lora_B.")], base[f"{stem}.weight"]
            change = scaling * (up.float() @ value.float())
            found[f"{stem}.weight"] = (weight.float() + change.to(weight.device)).to(weight.dtype)
        elif ".lora_B." not in plain:
            found[plain] = value
    return found
