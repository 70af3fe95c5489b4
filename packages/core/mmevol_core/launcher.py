"""Running a launcher of several processes (torchrun, deepspeed) so that none of them outlives this one."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmevol_core.errors import UserError


def run_launcher(arguments: Sequence[str]) -> tuple[int, bool]:
    """(exit status, whether it was told to stop).

    SIGTERM goes to the launcher, which tells its processes. The pipe to them closes when this process dies, however it
    dies, which ends those that called `end_with_launcher`; a session of its own keeps a signal to this group from
    reaching them twice.

    Raises:
        UserError: the program is not there.
    """
    try:
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, start_new_session=True)
    except (FileNotFoundError, PermissionError) as error:
        raise UserError(f"cannot start {arguments[0]!r}: {error.strerror}; install or correct it") from error
    assert process.stdin is not None
    try:
        with _handed_on(process) as told:
            return process.wait(), bool(told)
    finally:
        process.stdin.close()
        process.terminate()
        process.wait()


def end_with_launcher() -> None:
    """Have this process, one that `run_launcher` started, end at once when the one that started it is gone.

    A process whose standard input is no pipe (mpirun gives all but the first none) lives on until its launcher ends it.
    """
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_end_with_pipe, daemon=True).start()


def _end_with_pipe() -> None:
    """Wait for the other end to close, then end: nobody is left to read the result."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def _handed_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Hand SIGTERM on; yields the signals seen."""
    told: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield told
        return

    def tell(number: int, _: Any) -> None:
        told.append(number)
        process.send_signal(number)

    before = signal.signal(signal.SIGTERM, tell)
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)
