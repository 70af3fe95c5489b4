"""Starting a stage's processes: this one alone, or as many as the engine asks for under torchrun or deepspeed.

The stage process itself does not train when an engine wants several processes: it writes an order, starts the
launcher, hands SIGTERM on, and reads what the first rank left behind. So a run of an experiment needs no other command.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mmevol_core.config import every_key
from mmevol_core.errors import UserError
from mmevol_core.files import digest, read_json, write_json
from mmevol_core.launcher import run_launcher
from mmevol_core.stage import StageResult
from mmevol_train.checkpoint import is_complete
from mmevol_train.config import SAVING_S, EngineConfig, TrainConfig, rows_a_step
from mmevol_train.ready import check_machine

ORDER, RESULT, ERROR = "ranks.json", "ranks.result.json", "ranks.error.json"
STOPPED = 130  # exit status of what was told to stop and goes on when it is called again

Work = Callable[[Any, Mapping[str, Path], Path], StageResult]


def spread(stage: str, work: Work, config: TrainConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """Run `work` here when the engine is `single`, else in processes of their own, and return its result.

    The result is a file before anything that a resumed run needs is removed: called again before there is a manifest,
    the stage returns it.

    Raises:
        UserError: what this machine lacks, what a rank raised, or that it was told to stop.
        RuntimeError: when the processes ended otherwise; their traceback is on standard error.
    """
    result = _finished(out_dir, _identity(stage, config, inputs))
    if result is None:
        check_machine(config)
        rows_a_step(stage, config, processes(config.engine) * config.engine.nodes)
        order = write_order(stage, config, inputs, out_dir)
        if config.engine.name == "single":
            result = work(config, inputs, out_dir)
            leave_result(out_dir, read_json(order)["identity"], result)
        else:
            result = read_result(config, out_dir, *run_launcher(command(config.engine, order, config.threads)))
    for folder in (out_dir / "training", *out_dir.glob("rank-*")):
        shutil.rmtree(folder, ignore_errors=True)
    (out_dir / ORDER).unlink(missing_ok=True)
    return result


def write_order(stage: str, config: TrainConfig, inputs: Mapping[str, Path], out_dir: Path) -> Path:
    """What a rank has to do, in a file that stays until it is done; `export-checkpoint` reads it as well."""
    for name in (RESULT, ERROR):
        (out_dir / name).unlink(missing_ok=True)
    paths = {role: str(path) for role, path in inputs.items()}
    values = {"stage": stage, "config": every_key(config), "inputs": paths, "out": str(out_dir)}
    write_json(out_dir / ORDER, {**values, "identity": _identity(stage, config, inputs)})
    return out_dir / ORDER


def _identity(stage: str, config: TrainConfig, inputs: Mapping[str, Path]) -> str:
    """Digest of what a result is the result of."""
    return digest([stage, config.model_dump(mode="json"), {role: str(path) for role, path in inputs.items()}])


def leave_result(out_dir: Path, identity: str, result: StageResult) -> None:
    """Write down what came out, for the stage process and for the next call."""
    files = {role: str(path) for role, path in result.files.items()}
    write_json(out_dir / RESULT, {"identity": identity, "files": files, "metrics": dict(result.metrics)})


def read_result(config: TrainConfig, out_dir: Path, status: int, stopped: bool = False) -> StageResult:
    """What the first rank left, however its launcher ended; a rank's own words when one refused."""
    if (out_dir / RESULT).exists():
        return _stored(read_json(out_dir / RESULT))
    if (out_dir / ERROR).exists():
        error = read_json(out_dir / ERROR)
        raise UserError(error["message"], status=error["status"])
    if stopped:
        raise UserError("stopped; the same command goes on from the last checkpoint, if there is one", status=STOPPED)
    raise RuntimeError(f"the processes of engine {config.engine.name} ended with status {status}")


def _finished(out_dir: Path, identity: str) -> StageResult | None:
    """The result that an earlier call of the same stage run left, when all of it is still there."""
    found = read_json(out_dir / RESULT) if (out_dir / RESULT).is_file() else {}
    if found.get("identity") != identity:
        return None
    result = _stored(found)
    there = all(path.exists() for path in result.files.values())
    return result if there and is_complete(out_dir / "checkpoint") else None


def _stored(found: Mapping[str, Any]) -> StageResult:
    return StageResult({role: Path(path) for role, path in found["files"].items()}, found["metrics"])


def command(engine: EngineConfig, order: Path, threads: int = 0) -> list[str]:
    """The command that starts this node's ranks, or all nodes' when `engine.prefix` is srun or mpirun.

    `threads` stand in the ranks' environment before their libraries start: torchrun writes 1 there, the deepspeed
    launcher nothing, and sums over more threads come in another order. 0 leaves it to the launcher. torchrun reads the
    rest from its own environment variables (PET_RDZV_ENDPOINT=host:port, PET_RDZV_BACKEND=c10d).
    """
    here = str(processes(engine))
    if engine.launcher == "deepspeed":
        nodes = ["--num_nodes", str(engine.nodes)] if engine.nodes > 1 else []
        run = ["-m", "deepspeed.launcher.runner", *nodes, "--num_gpus", here, "--module", "mmevol_train.rank"]
    else:
        nodes = ["--nnodes", str(engine.nodes)] if engine.nodes > 1 else ["--standalone"]
        nodes += ["--nproc-per-node", here, "--shutdown-timeout", str(SAVING_S)]
        run = ["-m", "torch.distributed.run", *nodes, "-m", "mmevol_train.rank"]
    alike = ["env", f"OMP_NUM_THREADS={threads}"] if threads else []
    return [*engine.prefix, *alike, sys.executable, *run, str(order)]


def processes(engine: EngineConfig) -> int:
    """Training processes of one node."""
    return engine.ranks_of_a_node(torch.cuda.device_count())
