"""Runs the stage runs of an experiment: done ones are skipped, each has its own process, independent ones overlap.

Read from the bottom of the import chain: `graph.build` says what flows where, `plan.plan` names folders, `run` does it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, write_json
from mmevol_experiment.display import Display
from mmevol_experiment.plan import Job, input_paths
from mmevol_experiment.room import FULL, HOW
from mmevol_experiment.worker import CRASHED, ERROR_FILE

POLL_S = 0.05
LOG_FILE = "log.txt"


@dataclass
class Child:
    """A stage run in progress."""

    job: Job
    process: subprocess.Popen[bytes]
    log: IO[bytes]


def run(jobs: Mapping[str, Job], *, at_once: int, environment: Mapping[str, str], display: Display) -> None:
    """Run what is not done, at most `at_once` stage runs at a time, each as soon as its inputs are there.

    Args:
        jobs: the plan; every job comes after what it needs.
        environment: of the child processes, whole.

    Raises:
        UserError: the first stage's own message, or where the log of a crash is. Other runs in progress are ended.
        KeyboardInterrupt: after the children have ended.
    """
    waiting = dict(jobs)
    running: dict[Path, Child] = {}
    finished: set[str] = set()
    try:
        with display:
            while waiting or running:
                _skip_done(waiting, finished, display)
                for job in _ready(waiting, finished, running, at_once):
                    running[job.folder] = _start(job, jobs, environment)
                    display.started(job)
                for folder, child in list(running.items()):
                    if child.process.poll() is not None:
                        del running[folder]
                        _check(child)
                        display.finished(child.job)
                display.refresh([child.job for child in running.values()])
                time.sleep(POLL_S if running else 0)
    finally:
        _stop(list(running.values()))


def _skip_done(waiting: dict[str, Job], finished: set[str], display: Display) -> None:
    for key, job in list(waiting.items()):
        if _inputs(job) <= finished and job.done is not None:
            finished.add(key)
            del waiting[key]
            display.skipped(job)


def _inputs(job: Job) -> set[str]:
    return {source for source, _ in job.inputs.values()}


def _ready(waiting: Mapping[str, Job], finished: set[str], running: Mapping[Path, Child], at_once: int) -> list[Job]:
    """Jobs whose inputs are there; of two with one folder, the second waits and is then found done."""
    ready: dict[Path, Job] = {}
    for job in waiting.values():
        if _inputs(job) <= finished and job.folder not in running:
            ready.setdefault(job.folder, job)
    return list(ready.values())[: max(0, at_once - len(running))]


def _start(job: Job, jobs: Mapping[str, Job], environment: Mapping[str, str]) -> Child:
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / ERROR_FILE).unlink(missing_ok=True)
    order = job.folder / f"job.{os.getpid()}.json"
    write_json(
        order,
        {
            "module": job.node.module,
            "where": job.node.where or job.node.stage,
            "identity": job.identity(jobs),
            "inputs": input_paths(job, jobs),
            "folder": str(job.folder.resolve()),
            "grace_s": job.grace_s,
        },
    )
    log = (job.folder / LOG_FILE).open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "mmevol_experiment.worker", str(order)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=dict(environment),
        start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends its children in order
    )
    return Child(job, process, log)


def _check(child: Child) -> None:
    """Raise what the child left behind unless it finished its job."""
    child.log.close()
    assert child.process.stdin is not None
    child.process.stdin.close()
    (child.job.folder / f"job.{os.getpid()}.json").unlink(missing_ok=True)
    status = child.process.returncode
    name, log = child.job.node.key, child.job.folder / LOG_FILE
    if status == 0 and child.job.done is not None:
        return
    if status < 0:
        end = signal.Signals(-status).name
        raise UserError(f"stage {name} was ended by {end} (log: {log}); the same command continues it", status=1)
    if status == FULL:
        raise UserError(f"stage {name}: no space left for {child.job.folder}; {HOW}")
    error = read_json(child.job.folder / ERROR_FILE) if (child.job.folder / ERROR_FILE).exists() else {}
    if status == error.get("status") and status != CRASHED:
        raise UserError(f"stage {name}: {error['message']}", status=status)
    what = error.get("message", f"exit status {status}")
    raise UserError(f"stage {name} failed unexpectedly: {what} (traceback: {log})", status=1)


def _stop(children: list[Child]) -> None:
    """End the children and theirs: first asked, then, after the time that their stages need to save, forced."""
    for child in children:
        _signal(child, signal.SIGTERM)
    asked = time.monotonic()
    for child in sorted(children, key=lambda child: child.job.grace_s):
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, asked + child.job.grace_s - time.monotonic()))
        _signal(child, signal.SIGKILL)  # also what the child may have left running in its group
        child.process.wait()
        child.log.close()
        (child.job.folder / f"job.{os.getpid()}.json").unlink(missing_ok=True)


def _signal(child: Child, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.process.pid, number)
