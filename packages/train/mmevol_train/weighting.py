"""Loss weighting: every supervised token of a step weighs the same, or every conversation does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def sample_weights(batch: Mapping[str, Any]) -> tuple[torch.Tensor, int]:
    """(N,) weights of a batch's losses that give each conversation its mean, and how many conversations learn.

    Of a padded batch (B, T) a place's conversation is its row; of a packed one (1, T) its segment. The sum of the
    weighted losses over a step, by its conversations, is the mean of their means, however they were put together.
    """
    positions = batch["positions"]
    if "cu_seq_lens_q" in batch:
        edges = batch["cu_seq_lens_q"][1:].to(positions)
        conversations = torch.bucketize(positions, edges, right=True)
    else:
        conversations = positions // batch["input_ids"].shape[1]
    _, places, counts = conversations.unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    return counts.float().reciprocal()[places], len(counts)
