"""Command line: `python -m mmevol_dataengine.scripted_teacher --port 0 --port-file F --seed 0 --log FILE.jsonl`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import stat
import sys
from pathlib import Path

from mmevol_core.files import replacing
from mmevol_dataengine.scripted_teacher.server import HOST, Teacher, open_log, serve

PARENT_POLL_S = 0.5  # how often a watched parent is looked for


def main() -> int:
    """Serve until told to stop: 0 after a signal or a lost parent, 2 for bad options."""
    options = _parser().parse_args()
    with contextlib.ExitStack() as stack:
        try:
            log = stack.enter_context(open_log(options.log)) if options.log else None
            teacher = Teacher(options.seed, options.error_rate, options.latency_s, log)
            asyncio.run(_run(teacher, options))
        except OSError as error:
            sys.stderr.write(f"scripted teacher: {error}; choose another --port or --log\n")
            return 2
    return 0


async def _run(teacher: Teacher, options: argparse.Namespace) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    ready: asyncio.Future[int] = loop.create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    ready.add_done_callback(lambda port: _announce(port.result(), options.port_file))
    if options.watch_parent or stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        with contextlib.suppress(OSError):  # standard input may be a plain file, which cannot be waited for
            loop.add_reader(sys.stdin.fileno(), _drained, stop)
    watching = asyncio.create_task(_watch_parent(stop)) if options.watch_parent else None
    try:
        await serve(teacher, options.port, ready, stop)
    finally:
        if watching:
            watching.cancel()


def _announce(port: int, port_file: Path | None) -> None:
    if port_file:
        with replacing(port_file) as file:
            file.write(str(port).encode())
    sys.stdout.write(f"READY http://{HOST}:{port}\n")
    sys.stdout.flush()


async def _watch_parent(stop: asyncio.Event) -> None:
    """Stop when the parent process is gone."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_POLL_S)
    stop.set()


def _drained(stop: asyncio.Event) -> None:
    """Stop at the end of standard input: whoever started the teacher holds the other end of the pipe."""
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share between 0 and 1")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mmevol_dataengine.scripted_teacher", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--port-file", type=Path, help="gets the port once the server listens")
    parser.add_argument("--seed", type=int, default=0)
    rate = "share of rewritten items to spoil"
    parser.add_argument("--error-rate", "--mistakes", dest="error_rate", type=_share, default=0.12, help=rate)
    parser.add_argument("--latency-s", type=float, default=0.0, help="seconds to wait before each answer")
    parser.add_argument("--log", type=Path, help="JSONL, one line a request, appended")
    parser.add_argument(
        "--watch-parent",
        action="store_true",
        help="end with the parent process; a piped standard input is always watched",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
