"""Hugging Face's Trainer, lean: rates by part, a loss on supervised places only, one line a step, safe checkpoints."""

from __future__ import annotations

import logging
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer
from transformers.integrations.deepspeed import deepspeed_load_checkpoint

from mmevol_core.tracking import Tracker
from mmevol_train.checkpoint import mark_complete, prune
from mmevol_train.collate import Collator
from mmevol_train.config import TrainConfig
from mmevol_train.engine import rank, world_size
from mmevol_train.groups import Group
from mmevol_train.held_out import HeldOut
from mmevol_train.images import Normalizer
from mmevol_train.monitor import Meter
from mmevol_train.needed import Needed, without_unused_layers
from mmevol_train.packing import AGREE_EXACT, AGREE_ROUNDED, check_apart, check_packing, reworded, sharing
from mmevol_train.sampler import Listed, Plan
from mmevol_train.sharded import put, shard_without_gpu, whole
from mmevol_train.weighting import sample_weights

log = logging.getLogger(__name__)

LEARNED = "learned.safetensors"


def _apart(_worker: int) -> None:
    """A signal to the group that says "finish the step" does not reach who reads the pictures of that step."""
    os.setpgid(0, 0)


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
        held_out: HeldOut | None = None,
        padded: Collator | None = None,
        schedule_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config, self._groups, self._plan = config, groups, plan
        self._normalizer, self._tracker, self._meter = normalizer, tracker, meter
        self._held_out, self._schedule_steps = held_out, schedule_steps
        self._padded = padded  # what packed batches are compared with, once
        self._by_sample = config.loss_weighting == "sample"
        self._held_out_loss: tuple[int, float] | None = None  # (step, loss) of the last one taken
        self.finite = True  # loss and gradient of the last step
        self._needed = Needed(self.model, self.model.get_output_embeddings())

    def get_train_dataloader(self) -> Any:
        """Batches of the plan; accelerate deals them to the ranks in turn and skips those a checkpoint has seen."""
        workers = self._config.workers
        loader = DataLoader(
            self.train_dataset, batch_sampler=Listed(self._plan.batches), collate_fn=self.data_collator,
            num_workers=workers, persistent_workers=workers > 0, pin_memory=torch.cuda.is_available(),
            worker_init_fn=_apart,
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

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Trainer's own, over the whole plan also when the run is to stop before its end."""
        return super().create_scheduler(self._schedule_steps or num_training_steps, optimizer)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """What the whole step's loss is divided by, over all ranks: supervised tokens, or conversations."""
        if not batch_samples:
            return None
        sizes = (sample_weights(one)[1] if self._by_sample else len(one["targets"]) for one in batch_samples)
        count = torch.tensor(sum(sizes), device=device)
        return self.accelerator.gather(count).sum() if self.args.world_size > 1 else count

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's own, with the time that it waits for rows."""
        since = time.perf_counter()
        found = super().get_batch_samples(*args, **kwargs)
        self._meter.waited(time.perf_counter() - since)
        return found

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self._meter.saw(inputs)
        return self._ready(inputs)

    def _ready(self, inputs: dict[str, Any]) -> dict[str, Any]:
        batch = {key: value for key, value in inputs.items() if key not in ("tokens", "rows")}
        ready: dict[str, Any] = super()._prepare_inputs(batch)
        if "pixel_values" in ready:
            ready["pixel_values"] = self._normalizer(ready["pixel_values"])
        return ready

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy per supervised token or sample, head evaluated on those places only."""
        weights = sample_weights(inputs)[0] if self._by_sample else None
        self._needed.positions, targets = inputs.pop("positions"), inputs.pop("targets")
        # without use_cache=False transformers ignores the borders of packed rows, silently
        outputs = model(**inputs, use_cache=False)
        reduction = "sum" if weights is None else "none"
        losses = functional.cross_entropy(outputs.logits.float(), targets, reduction=reduction)
        self._meter.lost(losses.sum())
        total = losses if weights is None else losses @ weights
        loss = total / num_items_in_batch * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """One micro-batch forward and backward; what no loss reads is not computed."""
        if self._padded is not None:
            self._prove_packing(self._padded)
            self._padded = None
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
        step = self.state.global_step
        self.finite = math.isfinite(logs["loss"]) and math.isfinite(logs["grad_norm"])
        self._meter.judge(step, logs["loss"], logs["grad_norm"])
        if self._held_out is not None and self._held_out.due(step, self.state.max_steps):
            values["held_out_loss"] = self._take_held_out_loss(self._held_out)
            self._held_out_loss = (step, values["held_out_loss"])
        if self._tracker is not None:
            self._tracker.log(step, values)
        self._meter.reset()

    def _prove_packing(self, padded: Collator) -> None:
        """Nothing leaks between packed conversations; all ranks work on the same ones, where and as they will train."""
        rows = [self.train_dataset[row] for row in sharing(self._plan.batches)]
        exact = self._config.dtype == "float32" and self.args.device.type == "cpu"
        packed = self.data_collator(rows)
        other = self.data_collator([reworded(rows[0], self.model.config.image_token_id), *rows[1:]])
        self.model_wrapped.eval()
        moved = check_apart(self._losses, packed, other)
        tolerance = AGREE_EXACT if exact else AGREE_ROUNDED
        difference = check_packing(
            lambda batch: float(self._losses(batch).double().mean()), packed, padded(rows), tolerance
        )
        self.model_wrapped.train()
        if rank() == 0:
            said = "%d packed conversations: packed and padded loss differ by %.1e, another wording of one moves %.1e"
            log.info(said, len(rows), difference, moved)

    def _take_held_out_loss(self, held_out: HeldOut) -> float:
        """Mean over all supervised tokens of the rows held out; all ranks work on it and get the same number."""
        model = self.model_wrapped
        model.eval()
        found = torch.zeros(2, dtype=torch.float64, device=self.args.device)  # sum of losses, tokens
        for rows, counts in held_out.dealt(rank(), world_size()):
            summed = self._summed_loss(self.data_collator([self.train_dataset[row] for row in rows]))
            if counts:
                found += summed
        model.train()
        total, tokens = self.accelerator.reduce(found, "sum").tolist()
        return float(total / tokens)

    def _summed_loss(self, batch: dict[str, Any]) -> torch.Tensor:
        """(sum of the losses, supervised tokens) of a batch as a collator makes it, as float64 on the device."""
        losses = self._losses(batch).double()
        return torch.stack([losses.sum(), losses.new_tensor(len(losses))])

    @torch.no_grad()
    def _losses(self, batch: dict[str, Any]) -> torch.Tensor:
        """(supervised tokens,) losses of a batch as a collator makes it, float32 on the device."""
        batch = self._ready(batch)
        self._needed.positions, targets = batch.pop("positions"), batch.pop("targets")
        try:
            with self.compute_loss_context_manager():
                logits = self.model_wrapped(**batch, use_cache=False).logits
        finally:
            self._needed.positions = None
        return functional.cross_entropy(logits.float(), targets, reduction="none")

    @property
    def _last_rates(self) -> list[dict[str, Any]]:
        """Rates of the step just taken (the schedule has already moved on when Trainer logs)."""
        rates = self.lr_scheduler.base_lrs
        place = max(self.state.global_step - 1, 0)
        return [
            {"part": group["part"], "lr": base * schedule(place)}
            for group, base, schedule in zip(
                self.optimizer.param_groups, rates, self.lr_scheduler.lr_lambdas, strict=True
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

    def load_weights(self, folder: Path) -> None:
        """Weights of a kept checkpoint into the trained model, each rank its own share."""
        if self.is_deepspeed_enabled:
            deepspeed_load_checkpoint(self.model_wrapped, str(folder), load_module_strict=self._config.lora is None)
        else:
            self._load_from_checkpoint(str(folder), self.model_wrapped)

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
        if not self.finite:
            log.warning("no checkpoint of step %d: its loss or gradient is no number", self.state.global_step)
            return
        super()._save_checkpoint(model, trial)
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self._config.lora is not None and not self.is_deepspeed_enabled:  # DeepSpeed's own files hold them
            learned = {name: whole(p) for name, p in self.model.named_parameters() if p.requires_grad}
            if self.args.should_save:
                save_file(learned, folder / LEARNED)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            step, loss = self._held_out_loss or (0, None)
            loss = loss if step == self.state.global_step else None
            mark_complete(folder, self.state.global_step, self.args.world_size, loss)
            prune(folder.parent, self._config.keep_checkpoints)
