"""A row of LLaVA JSON, as far as it can be judged without tokenizer or picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmevol_train.conversation import BadRow


def row_problem(row: Any) -> str:
    """Why a row is no LLaVA row, or an empty text."""
    turns = row.get("conversations") if isinstance(row, dict) else None
    if not isinstance(turns, list) or not turns:
        return "needs a non-empty list `conversations`"
    for turn in turns:
        if not (isinstance(turn, dict) and isinstance(turn.get("from"), str) and isinstance(turn.get("value"), str)):
            return "every turn needs the texts `from` and `value`"
        try:
            (turn["from"] + turn["value"]).encode()
        except UnicodeEncodeError:
            return "a turn holds half of a surrogate pair, which is no character"
    return ""


def image_names(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths of a row's pictures; BadRow when `image` holds something else."""
    value = row.get("image") or []
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BadRow("`image` is neither a path nor a list of paths")
    return tuple(names)
