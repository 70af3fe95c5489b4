"""Several processes share the questions, one GPU each: started by torchrun, each with a log of its own.

The stage starts them itself (`evaluate.processes=8`). Over several machines with a common file system, start them by
hand on the job that it leaves: `torchrun --nnodes 2 ... -m mmevol_eval.parallel FOLDER/parallel/job.json`; the stage
then finds every answer in the log. Whoever dies takes the others down, the stage process (however it dies) those that
it started, and the same command continues.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from mmevol_core.config import every_key, fit
from mmevol_core.errors import UserError
from mmevol_core.files import read_json, write_json
from mmevol_core.launcher import end_with_launcher, run_launcher
from mmevol_eval.answering import LOG, Finished, all_asks, open_model
from mmevol_eval.predictions import Answers, Ask, answer_share, check_complete, logged, merge, prompt_key
from mmevol_eval.settings import EvaluateConfig
from mmevol_eval.tasks import load_tasks

FOLDER = "parallel"
JOB, MODEL = "job.json", "model.json"
WATCHED = "--end-with-stage"
PATIENCE = timedelta(days=7)  # the slowest process may finish long after the fastest; torchrun notices a death itself


def answer_in_processes(
    config: EvaluateConfig, asks: Sequence[Ask], inputs: Mapping[str, Path], out_dir: Path
) -> tuple[Answers, Mapping[str, Any]]:
    """Start the processes, wait, and read the merged log; also how the model decoded.

    Raises:
        UserError: what a process could not do, or that one ended early.
    """
    folder = out_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("error-*.json"), folder / MODEL]:
        old.unlink(missing_ok=True)
    paths = {role: str(path.resolve()) for role, path in inputs.items()}
    job = {"config": every_key(config), "inputs": paths, "out": str(out_dir.resolve())}
    write_json(folder / JOB, job)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    status, told = run_launcher([*torchrun, str(config.processes), "-m", __name__, str(folder / JOB), WATCHED])
    if told:
        raise UserError("stopped; what was answered is kept, and the same command continues", status=130)
    for path in sorted(folder.glob("error-*.json")):
        error = read_json(path)
        raise UserError(error["message"], status=error["status"])
    if status:
        raise UserError(
            f"one of {config.processes} evaluating processes ended early; what was answered is kept, and the same "
            "command continues",
            status=3,
        )
    found = read_json(folder / MODEL)
    model = Finished(found["fingerprint"], found["decoding"])
    answers = logged(asks, [prompt_key(ask, model) for ask in asks], out_dir / LOG)
    check_complete(asks, answers)
    return answers, model.decoding


def main(job_file: Path) -> int:
    """One of the processes; returns the exit status."""
    import torch.distributed as dist

    job = read_json(job_file)
    config = fit(EvaluateConfig, job["config"], "evaluate")
    inputs, out_dir = {role: Path(path) for role, path in job["inputs"].items()}, Path(job["out"])
    dist.init_process_group("gloo", timeout=PATIENCE)  # only to wait for each other; address and rank from torchrun
    rank, world = dist.get_rank(), dist.get_world_size()
    log, folder = out_dir / LOG, out_dir / FOLDER
    try:
        if rank == 0:
            merge(log)
        dist.barrier()
        asks, _ = all_asks(config, load_tasks(config, inputs.get("benchmarks")), inputs)
        model = open_model(config, inputs, out_dir, _device(config.device, rank))
        answer_share(asks, model, log, rank, world, out_dir if rank == 0 else folder / f"rank-{rank}")
        dist.barrier()
        if rank == 0:
            merge(log)
            write_json(folder / MODEL, {"fingerprint": model.fingerprint, "decoding": dict(model.decoding)})
    except UserError as error:
        write_json(folder / f"error-{rank}.json", {"message": str(error), "status": error.status})
        return error.status
    finally:
        dist.destroy_process_group()
    return 0


def _device(name: str, rank: int) -> str:
    """A GPU of this process's own where GPUs are meant."""
    import torch

    if name in ("cuda", "auto") and torch.cuda.is_available():
        return f"cuda:{rank % torch.cuda.device_count()}"
    return name


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path, help="FOLDER/parallel/job.json of a stage")
    parser.add_argument(WATCHED, action="store_true", help="as the stage starts it: end when the stage process is gone")
    options = parser.parse_args()
    if options.end_with_stage:
        end_with_launcher()
    sys.exit(main(options.job))
