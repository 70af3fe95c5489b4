"""A stage run in a process of its own: `python -m mmevol_experiment.worker JOB.json`.

The parent reads `error.json` when the exit status is not 0. Standard input is a pipe that the parent holds open: when
it closes, the parent is gone, and this process and its children end too.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmevol_core import secrets
from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_core.files import read_json, write_json
from mmevol_experiment import manifest
from mmevol_experiment.room import FULL, is_out_of_room
from mmevol_experiment.stages import from_module

CRASHED = 70  # exit status of an unexpected failure; its traceback is in the stage's log
ERROR_FILE = "error.json"
WAITING_FILE = "waiting"


def main(job_file: Path) -> int:
    """Run the job unless another process has finished it meanwhile; return the exit status."""
    secrets.register(os.environ)
    job = read_json(job_file)
    threading.Thread(target=_end_with_parent, args=(job["grace_s"],), daemon=True).start()
    folder = Path(job["folder"])
    identity = job["identity"]
    with locked(folder):
        if manifest.read(folder, identity["fingerprint"]) is not None:
            return 0
        (folder / ERROR_FILE).unlink(missing_ok=True)
        with _told(folder):
            _run(job, folder)
    return 0


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Leave `error.json` for the parent when the stage fails: a person's mistake in a line, else what was raised."""
    whole = False
    try:
        yield
        whole = True
    except UserError as error:
        write_json(folder / ERROR_FILE, {"message": str(error), "status": error.status})
        sys.exit(error.status)
    finally:
        raised = sys.exception()
        if not whole and raised is not None and not isinstance(raised, SystemExit):
            if is_out_of_room(raised):
                sys.exit(FULL)
            name = f"{type(raised).__name__}: {raised}".splitlines()[0][:300]
            write_json(folder / ERROR_FILE, {"message": name, "status": CRASHED})


def _run(job: dict[str, Any], folder: Path) -> None:
    began = time.monotonic()
    stage = from_module(job["module"])
    config = fit(stage.config, job["identity"]["config"], job["where"])
    result = stage.run(config, {role: Path(path) for role, path in job["inputs"].items()}, folder)
    manifest.write(folder, result, seconds=time.monotonic() - began, identity=job["identity"])


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the stage run's lock; wait for whoever has it. The system frees it when its owner dies, however it dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as file:
        waiting = folder / f"{WAITING_FILE}.{os.getpid()}"
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting.touch()
                fcntl.flock(file, fcntl.LOCK_EX)
        finally:
            waiting.unlink(missing_ok=True)
        yield


def _end_with_parent(grace_s: float) -> None:
    """Wait for the parent's end of the pipe to close, then end this group as the parent would: asked, then forced."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGTERM)
    time.sleep(grace_s)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
