"""One training process: `torchrun ... -m mmevol_train.rank ORDER.json`, the order written by `launch.spread`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, write_json
from mmevol_core.launcher import end_with_launcher
from mmevol_train import finetune, pretrain
from mmevol_train.config import FinetuneConfig, PretrainConfig, TrainConfig
from mmevol_train.engine import rank
from mmevol_train.launch import ERROR, Work, leave_result

STAGES: dict[str, tuple[type[TrainConfig], Work]] = {
    "pretrain": (PretrainConfig, pretrain.work),
    "finetune": (FinetuneConfig, finetune.work),
}


def main(order: Path) -> int:
    """Do the order; leave the result (first rank) or the mistake for the stage process, return the exit status."""
    job = read_json(order)
    out = Path(job["out"])
    schema, work = STAGES[job["stage"]]
    config = schema.model_validate(job["config"])
    try:
        result = work(config, {role: Path(path) for role, path in job["inputs"].items()}, out)
    except UserError as error:
        write_json(out / ERROR, {"message": str(error), "status": error.status})
        return error.status
    if rank() == 0:
        leave_result(out, job["identity"], result)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("order", type=Path)
    parser.add_argument("--local_rank", type=int)  # the deepspeed launcher's; torchrun says it otherwise
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    end_with_launcher()
    sys.exit(main(parser.parse_args().order))
