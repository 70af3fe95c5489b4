"""Personas: who asks. The released code holds prompts with a persona that its driver never uses."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mmevol_core.errors import UserError
from mmevol_core.files import digest


def choose(path: Path, seed: int, sample: str, number: int) -> str:
    """The persona of a round: a function of (seed, record, round), as the direction is.

    Raises:
        UserError: when the file cannot be read or is empty.
    """
    choices = _read(path)
    return choices[int(digest([seed, sample, number, "persona"]), 16) % len(choices)]


@cache
def _read(path: Path) -> tuple[str, ...]:
    try:
        lines = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"personas cannot be read: {error}; set recipe.personas to a text file") from error
    if not lines:
        raise UserError(f"{path} holds no persona; write one a line")
    return lines
