"""The end of a training stage: which weights are exported, as a plain folder that a fresh process has checked."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from mmevol_core.errors import UserError
from mmevol_train import checkpoint
from mmevol_train.config import LoraConfig, TrainConfig
from mmevol_train.engine import rank, wait
from mmevol_train.sharded import held_share, merged, whole_weights
from mmevol_train.trainer import PartsTrainer

log = logging.getLogger(__name__)


def choose(config: TrainConfig, trainer: PartsTrainer, work: Path) -> dict[str, Any]:
    """Put the weights to export into the trained model: the last step's, or those of the lowest held-out loss.

    Raises:
        UserError: when a run that warns of divergence ended on a step that is no number: its weights are none either.
    """
    step = trainer.state.global_step
    found = checkpoint.best(work) if config.validation is not None else None
    if not trainer.finite and (found is None or config.validation is None or config.validation.export == "last"):
        raise UserError(
            f"loss or gradient of the last step, {step}, is no number, so there are no weights to export; lower the "
            "rate, or see which rows do it with on_divergence=stop",
            status=3,
        )
    if found is None:
        return {"exported_step": step}
    folder, loss = found
    best = checkpoint.step_of(folder)
    wait()  # nobody has changed the folder while another looked for the best
    exported = best if config.validation is not None and config.validation.export == "best" else step
    if exported != step:
        trainer.load_weights(folder)
        if rank() == 0:
            log.info("exporting step %d, whose held-out loss of %.4g is the lowest", best, loss)
    return {"exported_step": exported, "best": {"step": best, "held_out_loss": loss}}


def finish(
    config: TrainConfig, trainer: PartsTrainer, processor: Any, out_dir: Path, base: Path | None
) -> dict[str, Any]:
    """Save the result as a plain Hugging Face folder and have a fresh process compare it with the trained model."""
    folder = out_dir / "checkpoint"
    model = trainer.accelerator.unwrap_model(trainer.model)
    expected = checkpoint.probe(model, processor) if config.verify else None  # of the shards: all processes take part
    state = whole_weights(trainer)
    if rank() != 0:
        return {}
    held = held_share(model)
    if config.lora is not None:
        assert base is not None, "adapters are for fine-tuning"
        model, state = unadapted(model, state, config.lora, base), None
        if config.lora.four_bit and expected is not None:  # the weights it was trained beside were not these
            expected = checkpoint.probe(model, processor)
    model.model.language_model.set_attn_implementation(config.backbone.attention)
    checkpoint.save(model, processor, folder, state)
    found: dict[str, Any] = {"weights": checkpoint.fingerprint(folder), "held_share": held}
    if expected is not None:
        exact = config.dtype == "float32" and not torch.cuda.is_available()
        found["verified"] = checkpoint.verify(expected, folder, exact=exact)
    return found


def unadapted(model: Any, state: dict[str, torch.Tensor] | None, lora: LoraConfig, base: Path) -> Any:
    """The plain model: weights of `base`, what was learned, and the adapters merged."""
    learns = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    have = dict(model.named_parameters()) if state is None else state
    unset_hf_deepspeed_config()  # else transformers would shard the plain model under ZeRO-3, and wait for the others
    plain, _ = checkpoint.load(base)
    weights = merged(plain.state_dict(), {name: have[name].detach().cpu() for name in learns}, lora.alpha / lora.rank)
    plain.load_state_dict(weights, strict=True)
    return plain
