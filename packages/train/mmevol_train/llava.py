"""A row of LLaVA JSON, as far as it can be judged without tokenizer or picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmevol_train.conversation import BadRow

HALF = "holds half of a surrogate pair, which is no character"  # file names of odd bytes are read so


def row_problem(row: Any) -> str:
    """Why a row is no LLaVA row, or an empty text."""
    turns = row.get("conversations") if isinstance(row, dict) else None
    if not isinstance(turns, list) or not turns:
        return "needs a non-empty list `conversations`"
    for turn in turns:
        if not (isinstance(turn, dict) and isinstance(turn.get("from"), str) and isinstance(turn.get("value"), str)):
            return "every turn needs the texts `from` and `value`"
        if not _written(turn["from"] + turn["value"]):
            return f"a turn {HALF}"
    try:
        return "" if _written(row_id(row)) else f"`id` {HALF}"
    except ValueError:  # a number of more digits than Python writes
        return "`id` is a number of too many digits"


def row_id(row: Mapping[str, Any]) -> str:
    """A row's own name, empty without one."""
    return str(row.get("id") or "")


def image_names(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths of a row's pictures; BadRow when `image` holds something else."""
    value = row.get("image") or []
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BadRow("`image` is neither a path nor a list of paths")
    if not all(map(_written, names)):
        raise BadRow(f"`image` {HALF}")
    return tuple(names)


def _written(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
