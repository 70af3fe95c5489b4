"""Ctrl-C and a full disk, to real processes: one line, nothing left running, and the same command continues."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time

import psutil
import pytest

from mmevol_core.errors import UserError
from mmevol_experiment.room import is_out_of_room
from mmevol_experiment.stages import STAGES

RUN = [sys.executable, "-m", "mmevol_experiment", "run", "experiment=quickstart", "debug=ci", "name=x"]
RUN.append("curation=default")
INTERRUPTED = 130


def command(outputs, stage):
    return [*RUN, f"paths.outputs={outputs}", f"stages=[{stage}]"]


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)


def finishes(outputs, stage):
    done = subprocess.run(command(outputs, stage), capture_output=True, text=True, timeout=600, check=False)
    return done.returncode == 0 and len(list((outputs / "stages" / stage).glob("*/manifest.json"))) >= 1


def test_ctrl_c_ends_the_children_says_one_line_and_the_same_command_continues(tmp_path):
    process = subprocess.Popen(
        command(tmp_path, "seed"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: list(tmp_path.glob("stages/seed/*/job.*.json")))
    wait_for(lambda: psutil.Process(process.pid).children(recursive=True))
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the group in front
    _, error = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert error == "mmevol: interrupted; the same command continues\n"
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert not list(tmp_path.glob("stages/seed/*/manifest.json"))
    assert finishes(tmp_path, "seed")


def limited(size):
    """No file may grow beyond `size` bytes: what a quota or a full disk does, without the rights to make one."""

    def set_limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return set_limit


def refusal(outputs, stage, size):
    """What the command says when no file may be larger than `size`."""
    done = subprocess.run(
        command(outputs, stage), capture_output=True, text=True, timeout=600, check=False, preexec_fn=limited(size)
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n")
    return done.stderr


def test_a_full_disk_in_the_first_stage_is_one_line_and_the_same_command_continues(tmp_path):
    assert refusal(tmp_path, "seed", 12_000).startswith("mmevol: stage seed: no space left for ")
    assert not list(tmp_path.glob("stages/seed/*/manifest.json"))
    assert finishes(tmp_path, "seed")


@pytest.mark.slow
def test_a_full_disk_in_each_stage_is_one_line_and_the_same_command_continues(tmp_path):
    """Every stage meets the limit once and then ends as if nothing had been."""
    plan = [*RUN[:3], "plan", *RUN[4:], f"paths.outputs={tmp_path}"]  # the schemas of all stages, kept for what follows
    subprocess.run(plan, capture_output=True, timeout=600, check=True)
    for stage in STAGES:
        assert "space" in refusal(tmp_path, stage, 12_000), stage
        assert not list(tmp_path.glob(f"stages/{stage}/*/manifest.json")), stage
        assert finishes(tmp_path, stage), stage


@pytest.mark.slow
def test_a_disk_without_a_free_byte_is_one_line(tmp_path):
    """A real one: a memory disk of 300 kB, which only root may make."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small memory disk")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(tmp_path)], check=False)
    if made.returncode != 0:
        pytest.skip("this container may not mount")
    try:
        done = subprocess.run(command(tmp_path, "seed"), capture_output=True, text=True, timeout=600, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "no space left" in done.stderr and "continues" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=100m", str(tmp_path)], check=True)
        assert finishes(tmp_path, "seed")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        OSError(27, "File too large"),
        sqlite3.OperationalError("database or disk is full"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_known_by_any_name(error):
    assert is_out_of_room(error)
    wrapped = ValueError("could not save")
    wrapped.__cause__ = error
    assert is_out_of_room(wrapped)


def test_other_failures_are_not_taken_for_a_full_disk():
    for error in (OSError(13, "Permission denied"), UserError("bad input"), ValueError("boom"), None):
        assert not is_out_of_room(error)
