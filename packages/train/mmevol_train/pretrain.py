"""Stage `pretrain`: captions teach the projector (and image_newline) to speak to the language model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmevol_core.stage import Stage, StageResult
from mmevol_train.backbone import build
from mmevol_train.config import SAVING_S, PretrainConfig
from mmevol_train.engine import prepare_process
from mmevol_train.launch import spread
from mmevol_train.training import train


def run(config: PretrainConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """Build the backbone from its parts and train what the configuration leaves open on the captions."""
    return spread("pretrain", work, config, inputs, out_dir)


def work(config: PretrainConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """The same in this process, which may be one of several."""
    prepare_process(config)
    model, processor = build(config.backbone, seed=config.seed)
    return train(config, "pretrain", model, processor, inputs["captions"], inputs["images"], out_dir)


STAGE = Stage(
    config=PretrainConfig, needs=("captions", "images"), run=run, version="4",
    grace_s=SAVING_S + 10,  # its ranks' time, and a little for what started them
)  # fmt: skip
