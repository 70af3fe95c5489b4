"""Rows to one batch of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mmevol_train.conversation import IGNORED


class Collator:
    """Right-padded batches.

    Attention is causal, so no real token ever looks at the padding to its right and no mask is needed. The head only
    works on `positions`, the flattened places whose next token is supervised; `targets` are those tokens.

    `blank` is a row with a black picture and nothing to learn. It joins a batch without pictures: when ranks share
    the tower's gradients (DeepSpeed, FSDP), a rank that does not use the tower makes the others wait for ever. A single
    process has it too: Adam skips weights without a gradient but moves those whose gradient is zero, so that without
    it one process and two would not learn the same.
    """

    def __init__(self, pad: int, blank: dict[str, Any] | None = None) -> None:
        self._pad, self._blank = pad, blank

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """input_ids (B, T), positions (N,), targets (N,), pixel_values (views, 3, H, W) uint8, image_sizes."""
        tokens, numbers = sum(len(row["ids"]) for row in rows), [row["row"] for row in rows]
        rows = with_picture(rows, self._blank)
        longest = max(len(row["ids"]) for row in rows)
        ids = np.full((len(rows), longest), self._pad, np.int64)
        labels = np.full((len(rows), longest), IGNORED, np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row["ids"])] = row["ids"]
            labels[number, : len(row["ids"])] = row["labels"]
        batch: dict[str, Any] = {"input_ids": torch.from_numpy(ids), **heads(labels), **pixels(rows)}
        return {**batch, "tokens": tokens, "rows": numbers}


def with_picture(rows: list[dict[str, Any]], blank: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The rows, and `blank` if it is given and none of them has a picture."""
    return rows if blank is None or any(row["views"] for row in rows) else [*rows, blank]


def heads(labels: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, torch.Tensor]:
    """Flattened places (B * T) whose next token is supervised, and those tokens."""
    following = np.full_like(labels, IGNORED)
    following[:, :-1] = labels[:, 1:]
    flat = following.reshape(-1)
    positions = np.flatnonzero(flat != IGNORED)
    return {"positions": torch.from_numpy(positions), "targets": torch.from_numpy(flat[positions])}


def pixels(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """All views of a batch one after the other, and the (height, width) of each picture; nothing without pictures."""
    views = [view for row in rows for view in row["views"]]
    if not views:
        return {}
    sizes = [size for row in rows for size in row["sizes"]]
    return {"pixel_values": torch.from_numpy(np.concatenate(views)), "image_sizes": torch.tensor(sizes)}
