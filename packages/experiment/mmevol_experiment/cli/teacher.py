"""`mmevol teacher`: the scripted teacher as a local server."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(teacher)


def teacher(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")] = 8001,
    seed: Annotated[int, typer.Option()] = 0,
    mistakes: Annotated[float, typer.Option(min=0, max=1, help="share it gets wrong on purpose")] = 0.15,
    log: Annotated[Path | None, typer.Option(help="JSONL of requests and answers")] = None,
) -> None:
    """Run the scripted teacher until Ctrl-C. It is a program that rewrites from annotations, not a language model."""
    options = ["--port", str(port), "--seed", str(seed), "--mistakes", str(mistakes)]
    options += ["--log", str(log)] if log else []
    # in place of this process, so that signals and the exit status are the server's own
    os.execv(sys.executable, [sys.executable, "-m", "mmevol_dataengine.scripted_teacher", *options])
