"""Hugging Face's Trainer, lean: rates by part, a loss on supervised places only, one line a step, safe checkpoints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer, TrainerCallback

from mmevol_core.errors import UserError
from mmevol_core.progress import Progress
from mmevol_core.tracking import Tracker
from mmevol_train.checkpoint import keep_last, mark_complete
from mmevol_train.config import TrainConfig
from mmevol_train.engine import agreed
from mmevol_train.images import Normalizer
from mmevol_train.monitor import Meter
from mmevol_train.needed import Needed, unused_parameters, without_unused_layers
from mmevol_train.sampler import Plan
from mmevol_train.sharded import put, shard_without_gpu, whole

LEARNED = "learned.safetensors"
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


class PartsTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """Trainer whose order of batches, rates and checkpoints are this project's."""

    def __init__(
        self,
        *,
        config: TrainConfig,
        groups: list[Group],
        plan: Plan,
        normalizer: Normalizer,
        tracker: Tracker | None,
        meter: Meter,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config, self._groups, self._plan = config, groups, plan
        self._normalizer, self._tracker, self._meter = normalizer, tracker, meter
        self._needed = Needed(self.model, self.model.get_output_embeddings())

    def get_train_dataloader(self) -> Any:
        """Batches of the plan; accelerate deals them to the ranks in turn and skips those a checkpoint has seen."""
        workers = self._config.workers
        loader = DataLoader(
            self.train_dataset, batch_sampler=_Listed(self._plan.batches), collate_fn=self.data_collator,
            num_workers=workers, persistent_workers=workers > 0, pin_memory=torch.cuda.is_available(),
        )  # fmt: skip
        return self.accelerator.prepare(loader)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW with one group per part; biases and norms are not decayed."""
        self.optimizer: Any
        if self.optimizer is None:
            groups = []
            for group in self._groups:
                for decayed in (True, False):
                    chosen = [p for _, p in group.parameters if (p.ndim > 1) == decayed]
                    decay = self._config.weight_decay if decayed else 0.0
                    if chosen:
                        groups.append({"params": chosen, "lr": group.lr, "weight_decay": decay, "part": group.part})
            self.optimizer = torch.optim.AdamW(groups, betas=self._config.betas, fused=True)
        chosen_optimizer: torch.optim.Optimizer = self.optimizer
        return chosen_optimizer

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """Supervised tokens of the whole step over all ranks: every such token weighs the same."""
        if not batch_samples:
            return None
        count = torch.tensor(sum(len(batch["targets"]) for batch in batch_samples), device=device)
        return self.accelerator.gather(count).sum() if self.args.world_size > 1 else count

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's own, with the time that it waits for rows."""
        since = time.perf_counter()
        found = super().get_batch_samples(*args, **kwargs)
        self._meter.waited(time.perf_counter() - since)
        return found

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self._meter.saw(inputs)
        batch = {key: value for key, value in inputs.items() if key not in ("tokens", "rows")}
        ready: dict[str, Any] = super()._prepare_inputs(batch)
        if "pixel_values" in ready:
            ready["pixel_values"] = self._normalizer(ready["pixel_values"])
        return ready

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy per supervised token, head evaluated on those places only."""
        self._needed.positions, targets = inputs.pop("positions"), inputs.pop("targets")
        # without use_cache=False transformers ignores the borders of packed rows, silently
        outputs = model(**inputs, use_cache=False)
        total = functional.cross_entropy(outputs.logits.float(), targets, reduction="sum")
        loss = total / num_items_in_batch * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """One micro-batch forward and backward; what no loss reads is not computed."""
        try:
            return super().training_step(*args, **kwargs)
        finally:
            self._needed.positions = None

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's own, on a model without the layers that nothing reads; they are back when it ends."""
        try:
            with without_unused_layers(self.model):
                return super().train(*args, **kwargs)
        finally:
            self._needed.remove()

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: it walks over all parameters at every step."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Track one step; a loss that cannot be believed stops the run with the samples named."""
        if "grad_norm" not in logs:
            return
        rates = {f"lr/{group['part']}": group["lr"] for group in self._last_rates}
        values = {"loss": logs["loss"], "grad_norm": logs["grad_norm"], **rates, **self._meter.values()}
        self._meter.judge(self.state.global_step, logs["loss"], logs["grad_norm"])
        if self._tracker is not None:
            self._tracker.log(self.state.global_step, values)
        self._meter.reset()

    @property
    def _last_rates(self) -> list[dict[str, Any]]:
        """Rates of the step just taken (the schedule has already moved on when Trainer logs)."""
        rates = self.lr_scheduler.base_lrs
        place = max(self.state.global_step - 1, 0)
        return [
            {"part": group["part"], "lr": base * schedule(place)}
            for group, base, schedule in zip(
                self.optimizer.param_groups, rates, self.lr_scheduler.lr_lambdas, strict=False
            )
        ]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Weights by from_pretrained, all of them.

        Trainer itself would call load_state_dict(strict=False), but save_pretrained writes LLaVA-NeXT's parameters
        under their published names: nothing would fit, nothing would be loaded, and nothing would be said.
        """
        if self._config.lora is not None:
            self._load_learned(Path(resume_from_checkpoint) / LEARNED)
            return
        if not isinstance(self.model, PreTrainedModel) or self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        stored = type(self.model).from_pretrained(resume_from_checkpoint, dtype=self.model.dtype)
        self.model.load_state_dict(stored.state_dict(), strict=True)

    def _load_learned(self, path: Path) -> None:
        """What adapters leave to learn: also projector and tower, which an adapter's own file does not hold."""
        stored = load_file(path)
        learned = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        assert stored.keys() == learned.keys()
        for name, parameter in learned.items():
            put(parameter, stored[name])

    def create_accelerator_and_postprocess(self) -> None:
        """Trainer's own; FSDP2 also without a GPU."""
        super().create_accelerator_and_postprocess()
        shard_without_gpu(self)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Trainer's own; of sharded weights nothing but the shards, which are saved beside the optimizer's."""
        if not (self.is_deepspeed_enabled or self.is_fsdp_enabled):
            super().save_model(output_dir, _internal_call)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Trainer's own, then the mark that it is whole: set when the last rank has written its shards."""
        super()._save_checkpoint(model, trial)
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self._config.lora is not None and not self.is_deepspeed_enabled:  # DeepSpeed's own files hold them
            learned = {name: whole(p) for name, p in self.model.named_parameters() if p.requires_grad}
            if self.args.should_save:
                save_file(learned, folder / LEARNED)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            mark_complete(folder, self.state.global_step, self.args.world_size)
            keep_last(folder.parent, self._config.keep_checkpoints)


class _Listed:
    """A batch sampler that repeats a list."""

    batch_size = None
    drop_last = False

    def __init__(self, batches: list[list[int]]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Publishes progress, and decides when a checkpoint is due."""

    def __init__(self, config: TrainConfig, progress: Progress) -> None:
        self._config, self._progress = config, progress
        self._saved = time.monotonic()
        self.stop_asked = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Every step: progress, and a checkpoint by steps, by time, or because someone asked to stop.

        Ranks hear a signal at different steps and their clocks differ: what one of them wants, all do.
        """
        self._progress.update(state.global_step)
        every, seconds = self._config.save_every_steps, self._config.save_every_s
        due = bool(every and state.global_step % every == 0)
        late = bool(seconds and time.monotonic() - self._saved >= seconds)
        self.stop_asked, late = agreed(self.stop_asked, late)
        if due or late or self.stop_asked:
            control.should_save = True
            self._saved = time.monotonic()
        control.should_training_stop |= self.stop_asked
