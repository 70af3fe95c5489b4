"""The one error type for what a person can fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something a person can fix: one line that says what, where and how to fix it.

    The command line prints the message without a traceback and exits with `status`:
    2 for input a person can correct, 3 when nothing usable came out.
    """

    def __init__(self, message: str, *, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


def unknown(kind: str, name: str, valid: Iterable[str], *, where: str = "") -> UserError:
    """Error for a name that does not exist: near matches first, then the valid choices."""
    choices = sorted(valid)
    near = difflib.get_close_matches(name, choices, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    place = f" in {where}" if where else ""
    return UserError(f"unknown {kind} {name!r}{place}{hint} Valid: {', '.join(choices)}")
