"""Packing: several conversations in one row, none of which can see another.

Rows are packed by true token length. Every segment starts again at position 0 and attends only to itself: through
FlashAttention's variable-length kernels where they are installed, elsewhere through an attention function that is
registered with transformers under `segment_sdpa` and works segment by segment, so that a packed row costs the sum of
its segments' squares and not the square of their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from mmevol_core.errors import UserError
from mmevol_train.collate import heads, pixels, with_picture

SEGMENT_SDPA = "segment_sdpa"

# Most, in nats, that a token's loss may move with the wording of another conversation. Equal shapes run the same
# kernels and a place's numbers come from its own segment alone, so it is 0: measured on a CPU in float32 and bfloat16,
# both stand-ins, trained and not. Attention without borders moved one token at least by 0.1 to 9.9.
APART = 1e-3
# Most by which the mean losses of a packed and a padded batch may differ, as a share of the loss where that is above
# 1. The kernels' shapes differ and with them the rounding: measured likewise, 3e-7 at most in float32, 2.5e-3 in
# bfloat16. It finds pictures and labels in wrong places; a leak can even out in the mean (1e-3 was seen).
AGREE_EXACT, AGREE_ROUNDED = 1e-5, 2e-2


def pack(lengths: NDArray[np.int64], capacity: int) -> list[list[int]]:
    """Best-fit decreasing: each row goes where it leaves least room; bins of row indices.

    Open bins are kept by the room they have left; which rooms exist is one big integer's bits, so finding the
    smallest sufficient room is a shift and a lowest-bit: a million rows take seconds.

    Raises:
        UserError: when a row is longer than `capacity`.
    """
    if len(lengths) and int(lengths.max()) > capacity:
        raise UserError(f"a row of {int(lengths.max())} tokens does not fit pack_length={capacity}; lower max_length")
    bins: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms = 0
    for row in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[row])
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            place = by_room[room].pop()
            if not by_room[room]:
                rooms ^= 1 << room
            bins[place].append(row)
        else:
            room, place = capacity, len(bins)
            bins.append([row])
        left = room - length
        if not by_room[left]:
            rooms |= 1 << left
        by_room[left].append(place)
    return bins


class PackedCollator:
    """Rows to one packed row.

    `position_ids` restart and `cu_seq_lens` mark the segments (FlashAttention's names). The first label of a
    segment is never learned, so no segment is asked to predict the next one's beginning. `blank` is added to a row
    without pictures, see `Collator`.
    """

    def __init__(self, blank: dict[str, Any] | None = None) -> None:
        self._blank = blank

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """input_ids and position_ids (1, T), cu_seq_lens (segments + 1,), and what the padded collator gives."""
        tokens, numbers = sum(len(row["ids"]) for row in rows), [row["row"] for row in rows]
        rows = with_picture(rows, self._blank)
        lengths = [len(row["ids"]) for row in rows]
        edges = torch.tensor([0, *np.cumsum(lengths).tolist()], dtype=torch.int32)
        labels = np.concatenate([row["labels"] for row in rows])[None]
        return {
            "input_ids": torch.from_numpy(np.concatenate([row["ids"] for row in rows])[None]),
            "position_ids": torch.from_numpy(np.concatenate([np.arange(length) for length in lengths])[None]),
            "cu_seq_lens_q": edges, "cu_seq_lens_k": edges, "max_length_q": max(lengths), "max_length_k": max(lengths),
            **heads(labels), **pixels(rows), "tokens": tokens, "rows": numbers,
        }  # fmt: skip


def segment_sdpa(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None,
    dropout: float = 0.0, scaling: float | None = None, cu_seq_lens_q: torch.Tensor | None = None,
    sliding_window: int | None = None, **kwargs: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Causal attention within segments; without segments it is transformers' own sdpa.

    query (1, heads, T, d), key and value (1, kv heads, T, d) to (1, T, heads, d). With `sliding_window`, a place
    attends to that many places, the last of them itself.
    """
    if cu_seq_lens_q is None:
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            sliding_window=sliding_window,
            **kwargs,
        )
        return found
    lengths = cu_seq_lens_q.diff().tolist()
    parts = [
        functional.scaled_dot_product_attention(
            q,
            k,
            v,
            _within(sliding_window, q),
            dropout_p=dropout,
            scale=scaling,
            is_causal=_within(sliding_window, q) is None,
            enable_gqa=q.shape[1] != k.shape[1],
        )
        for q, k, v in zip(*(torch.split(states, lengths, dim=2) for states in (query, key, value)), strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _within(window: int | None, query: torch.Tensor) -> torch.Tensor | None:
    """Which places of a segment (1, heads, T, d) see which, (T, T); None where the window reaches all."""
    length = query.shape[2]
    if window is None or length <= window:
        return None
    return torch.ones(length, length, dtype=torch.bool, device=query.device).tril().triu(1 - window)


def use_packing(model: Any) -> None:
    """Give the language model an attention that knows segments (FlashAttention 2 already does)."""
    AttentionInterface.register(SEGMENT_SDPA, segment_sdpa)
    language = model.model.language_model
    if language.config._attn_implementation != "flash_attention_2":
        language.set_attn_implementation(SEGMENT_SDPA)


def sharing(batches: Sequence[list[int]]) -> list[int]:
    """Rows to prove packing on: the first packed row that several conversations share, or one made of two that do not.

    Every row has something to learn, so every one of them has losses that a leak would move.
    """
    return next((batch for batch in batches if len(batch) > 1), [batch[0] for batch in batches[:2]])


def reworded(row: dict[str, Any], slot: int) -> dict[str, Any]:
    """The row with each text token where the next one was; pictures, their `slot` tokens, labels and length stay.

    Where all text tokens are one, which moving does not change, their neighbour in the vocabulary takes its place.
    """
    ids = row["ids"].copy()
    text = ids != slot
    words = ids[text]
    if len(words) and (words == words[0]).all():
        other = next(token for token in (words[0] - 1, words[0] + 1, words[0] + 2) if token >= 0 and token != slot)
        ids[text] = other
    else:
        ids[text] = np.roll(words, 1)
    return {**row, "ids": ids}


def check_apart(
    losses: Callable[[dict[str, Any]], torch.Tensor], packed: dict[str, Any], other: dict[str, Any]
) -> float:
    """Run a packed row with two wordings of its first conversation; return the most that a loss of the others moves.

    Args:
        losses: (N,) losses of a batch, in nats, at its `positions`.

    Raises:
        UserError: when one moves: then conversations see each other, and training would be silently wrong.
    """
    others = (packed["positions"] >= packed["cu_seq_lens_q"][1]).to("cpu")
    before, after = (losses(dict(batch)).cpu()[others] for batch in (packed, other))
    moved = float((before - after).abs().max()) if len(before) else 0.0
    if not moved <= APART:
        raise UserError(
            f"a token's loss moves by {moved:.2g} with another conversation of its packed row; set batching=padded, "
            "this attention does not keep packed conversations apart",
            status=3,
        )
    return moved


def check_packing(
    mean_loss: Callable[[dict[str, Any]], float], packed: dict[str, Any], padded: dict[str, Any], tolerance: float
) -> float:
    """Compare the mean loss of one real batch packed and padded; return the difference.

    Raises:
        UserError: when they differ: then segments see each other, and training would be silently wrong.
    """
    losses = [mean_loss(dict(batch)) for batch in (packed, padded)]
    difference = abs(losses[0] - losses[1])
    if not difference <= tolerance * max(1.0, abs(losses[1])):
        raise UserError(
            f"packed loss {losses[0]:.6f} and padded loss {losses[1]:.6f} differ; set batching=padded, "
            "this attention does not keep packed conversations apart",
            status=3,
        )
    return difference
