"""Processes of a launcher end with the one that started it, even when that one is killed by force."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest

from mmevol_core.errors import UserError
from mmevol_core.launcher import run_launcher

RANK = """
import os, time
from mmevol_core.launcher import end_with_launcher
end_with_launcher()
print(os.getpid(), flush=True)
time.sleep(60)
"""
# As torchrun it stays until its process ends.
LAUNCHER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {RANK!r}])"
STAGE = f"import sys; from mmevol_core.launcher import run_launcher; run_launcher([sys.executable, '-c', {LAUNCHER!r}])"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_processes_of_a_stage_that_is_gone_end(number):
    with subprocess.Popen([sys.executable, "-c", STAGE], stdout=subprocess.PIPE, text=True) as stage:
        rank = psutil.Process(int(stage.stdout.readline()))
        launcher = rank.parent()
        assert launcher.parent().pid == stage.pid
        stage.send_signal(number)
        stage.wait(10)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not (over(rank) and over(launcher)):
            time.sleep(0.01)
        assert over(rank) and over(launcher)


def over(process):
    """Ended; nobody may be left to collect it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_without_a_pipe_nobody_is_watched():
    with subprocess.Popen([sys.executable, "-c", RANK], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as rank:
        rank.stdout.readline()
        time.sleep(0.3)
        assert rank.poll() is None
        rank.kill()


def test_a_launcher_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"cannot start 'srun-of-nowhere': No such file or directory; install or"):
        run_launcher(["srun-of-nowhere", "python"])
