"""Training processes forked from the test, which has paid for their imports: seconds less a run than a launcher's.

What torchrun tells a rank is told here. The ranks do what `mmevol_train.rank` does, over gloo, each in a process that
can be killed; tests/train/test_launchers.py starts the real launchers.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

import accelerate.state
import deepspeed  # noqa: F401  # so that ranks find it imported
import peft  # noqa: F401

from mmevol_core.stage import StageResult
from mmevol_train import rank
from mmevol_train.config import FinetuneConfig, TrainConfig
from mmevol_train.launch import processes, read_result, write_order

FORK = multiprocessing.get_context("fork")


def stage_of(config: TrainConfig) -> str:
    return "finetune" if isinstance(config, FinetuneConfig) else "pretrain"


def start(config: TrainConfig, inputs: Mapping[str, Path], out: Path) -> list[BaseProcess]:
    """The ranks of a stage run, at work."""
    out.mkdir(parents=True, exist_ok=True)
    order = write_order(stage_of(config), config, inputs, out)
    count = processes(config.engine)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [FORK.Process(target=_rank, args=(order, number, count, port)) for number in range(count)]
    for process in ranks:
        process.start()
    return ranks


def run(config: TrainConfig, inputs: Mapping[str, Path], out: Path) -> StageResult:
    """A whole stage run; raises what a rank refused."""
    ranks = start(config, inputs, out)
    for process in ranks:
        process.join()
    return read_result(config, out, max(abs(process.exitcode or 0) for process in ranks))


def killed(config: TrainConfig, inputs: Mapping[str, Path], out: Path, steps: int) -> None:
    """Start a stage run and end all its ranks by SIGKILL once so many steps are logged."""
    ranks = start(config, inputs, out)
    log = out / "metrics.jsonl"
    while all(process.is_alive() for process in ranks) and (not log.is_file() or log.read_bytes().count(b"\n") < steps):
        time.sleep(0.002)
    for process in ranks:
        process.kill()
    for process in ranks:
        process.join()
    assert {process.exitcode for process in ranks} == {-9}, "it ended before it could be killed"


def _rank(order: Path, number: int, count: int, port: int) -> None:
    if count > 1:
        os.environ |= {
            "RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
    for state in (accelerate.state.AcceleratorState, accelerate.state.PartialState, accelerate.state.GradientState):
        state._shared_state.clear()  # of what this test process may have trained itself
    os._exit(rank.main(order))
