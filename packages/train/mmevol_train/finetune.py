"""Stage `finetune`: conversations teach all parts, each at its own rate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmevol_core.errors import UserError
from mmevol_core.stage import Stage, StageResult
from mmevol_train.checkpoint import load
from mmevol_train.config import SAVING_S, FinetuneConfig
from mmevol_train.conversation import chat_template
from mmevol_train.engine import prepare_process
from mmevol_train.launch import spread
from mmevol_train.training import train


def run(config: FinetuneConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """Carry on from the pretrained checkpoint; with `match`, on as many tokens as that arm has."""
    return spread("finetune", work, config, inputs, out_dir)


def work(config: FinetuneConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """The same in this process, which may be one of several."""
    prepare_process(config)
    model, processor = load(inputs["checkpoint"], four_bit=bool(config.lora and config.lora.four_bit))
    known = config.backbone.chat_template != "tokenizer"  # a model's own template is in the checkpoint alone
    if known and processor.chat_template != chat_template(config.backbone.chat_template, config.backbone.system):
        raise UserError(
            f"checkpoint {inputs['checkpoint']} has another chat template than backbone {config.backbone.name}"
        )
    return train(
        config, "finetune", model, processor, inputs["conversations"], inputs["images"], out_dir,
        match=inputs.get("match"), base=inputs["checkpoint"],
    )  # fmt: skip


STAGE = Stage(
    config=FinetuneConfig, needs=("checkpoint", "conversations", "images"), run=run, version="5", accepts=("match",),
    grace_s=SAVING_S + 10,
)  # fmt: skip
