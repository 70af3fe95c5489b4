"""Where a command writes, checked before it reads, asks or pays for anything."""

from __future__ import annotations

from pathlib import Path

from mmevol_core.errors import UserError


def check_out(out: Path, *inputs: Path) -> None:
    """Refuse an output file that is a folder, or that would overwrite one of the inputs."""
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it")
    for path in inputs:
        if path.exists() and out.exists() and path.samefile(out):
            raise UserError(f"--out {out} would overwrite what is read from there; name another file")
