"""How the work is spread: one process, data parallel, DeepSpeed or FSDP, all started by torchrun or deepspeed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainingArguments

from mmevol_core.errors import UserError
from mmevol_train.config import TrainConfig

PATIENCE = timedelta(hours=1)  # the other ranks wait while the first one reads the corpus or checks the export


def prepare_process(config: TrainConfig) -> None:
    """Threads, seeds, and the group of processes if torchrun started several.

    The group must exist before a model is built: DeepSpeed's ZeRO-3 otherwise believes that it is alone.

    Raises:
        UserError: when the engine needs several processes and there is one.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    if config.engine.name == "single":
        return
    PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)  # reads what torchrun set
    if not torch.distributed.is_initialized():
        raise UserError(
            f"engine {config.engine.name} needs several processes: start it by torchrun, or use engine=single"
        )


def world_size() -> int:
    """Number of training processes."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def rank() -> int:
    """This process among the training processes."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def wait() -> None:
    """Until every process is here."""
    if world_size() > 1:
        torch.distributed.barrier()


def agreed(*flags: bool) -> list[bool]:
    """Each flag as soon as one process has raised it, the same in all of them."""
    if world_size() == 1:
        return list(flags)
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    votes = torch.tensor(flags, dtype=torch.int32, device=device)
    torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
    return [bool(vote) for vote in votes.tolist()]


def gathered(value: Any) -> list[Any]:
    """What each process has, in their order; all must ask at the same time."""
    if world_size() == 1:
        return [value]
    found: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(found, value)
    return found


def private(out_dir: Path) -> Path:
    """Where this process may write what only the first process's copy of counts."""
    return out_dir if rank() == 0 else out_dir / f"rank-{rank()}"


def arguments(
    config: TrainConfig, work: Path, steps: int, layers: Sequence[str] = (), planned: int | None = None
) -> TrainingArguments:
    """Trainer's own arguments; everything it would decide by itself is decided here.

    `planned` steps are what the schedule spans, when the run is to stop after fewer `steps`.

    `layers` are the classes that FSDP shards one by one. Left to itself it takes every class that the parts' own
    files name, text layers of CLIP among them, and stops because the model has none.
    """
    cuda = torch.cuda.is_available()
    fsdp: dict[str, Any] = {}
    if config.engine.fsdp:
        fsdp = {"fsdp": True, "fsdp_config": {**config.engine.fsdp, "transformer_layer_cls_to_wrap": list(layers)}}
    return TrainingArguments(
        output_dir=str(work), max_steps=steps, per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulate, learning_rate=config.lr_language_model,
        lr_scheduler_type="constant_with_warmup" if config.schedule == "constant" else config.schedule,
        warmup_steps=warmup(config, planned or steps), max_grad_norm=config.max_grad_norm,
        weight_decay=config.weight_decay,
        adam_beta1=config.betas[0], adam_beta2=config.betas[1], seed=config.seed, data_seed=config.seed,
        bf16=config.dtype == "bfloat16", use_cpu=not cuda, gradient_checkpointing=config.gradient_checkpointing,
        torch_compile=config.compile, logging_steps=1, logging_nan_inf_filter=False, save_strategy="no",
        report_to=[], disable_tqdm=True, remove_unused_columns=False, deepspeed=config.engine.deepspeed,
        dataloader_num_workers=config.workers, label_names=["targets"], log_level="error",
        ddp_find_unused_parameters=config.engine.name == "ddp",
        ddp_backend=None if cuda or world_size() == 1 else "gloo",
        **fsdp,
    )  # fmt: skip


def warmup(config: TrainConfig, steps: int) -> int:
    """Steps of warm-up, rounded up."""
    return int(-(-config.warmup_ratio * steps // 1))
