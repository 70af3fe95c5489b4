"""Embedded prompts to tokens: a greedy loop of our own, and Transformers' `generate` for everything else.

The loop gives the tokens that `generate` gives (tests/eval/test_models.py). It is faster because answers that have
ended leave the batch: most are one word, and one long one would otherwise hold all up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

STAYING = 0.75  # ended answers leave once so few of the batch go on; each leaving copies what the others have cached
# What a generation config may say without changing greedy tokens; anything else (a penalty, say) is generate's work
HARMLESS = {
    "_from_model_config", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "use_cache",
    "do_sample", "temperature", "top_p", "top_k", "max_length", "max_new_tokens", "num_beams",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Embedded:
    """Prompts of a batch, padded on the left: token ids and mask (B, L), embeddings with the pictures in (B, L, D)."""

    ids: torch.Tensor
    mask: torch.Tensor
    embeddings: torch.Tensor


@dataclass(frozen=True, slots=True)
class Made:
    """Answers as tokens (B, T) and, where they were asked for, the logits of every step (B, T, V); on the CPU."""

    tokens: torch.Tensor
    steps: torch.Tensor | None

    @property
    def logits(self) -> torch.Tensor:
        """The steps' logits, where they were asked for."""
        assert self.steps is not None
        return self.steps


class Decoder:
    """Answers of a model.

    Args:
        model: LLaVA-NeXT.
        ends: tokens that end an answer.
        pad: fills up what is shorter.
    """

    def __init__(self, model: Any, ends: Sequence[int], pad: int) -> None:
        self._model, self._ends, self._pad = model, list(ends), pad
        self._plain = set(model.generation_config.to_diff_dict()) <= HARMLESS

    @torch.inference_mode()
    def decode(self, prompts: Embedded, longest: int, beams: int = 1) -> Made:
        """At most `longest` tokens for each prompt, by beam search or, with one beam, greedily."""
        if beams == 1 and self._plain:
            return self.greedy(prompts, longest)
        made = self._model.generate(
            input_ids=prompts.ids,  # penalties count them; the first step reads the embeddings
            inputs_embeds=prompts.embeddings,
            attention_mask=prompts.mask,
            max_new_tokens=longest,
            num_beams=beams,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=self._ends,
            pad_token_id=self._pad,
        )
        return Made(made[:, prompts.ids.shape[1] :].cpu(), None)

    @torch.inference_mode()
    def greedy(self, prompts: Embedded, longest: int, *, logits: bool = False) -> Made:
        """The likeliest token at each step until every answer has ended; `logits`: keep them."""
        count, device = len(prompts.ids), prompts.ids.device
        ends = torch.tensor(self._ends, device=device)
        tokens = torch.full((count, longest), self._pad, device=device)
        kept: list[torch.Tensor] = []
        rows, going = torch.arange(count, device=device), torch.ones(count, dtype=torch.bool, device=device)
        mask, feed = prompts.mask, {"inputs_embeds": prompts.embeddings}
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache(config=self._model.config)
        for step in range(longest):
            scores = self._step(feed, mask, positions, cache)
            if logits:
                kept.append(scores.new_zeros(count, scores.shape[-1]).index_copy_(0, rows, scores).cpu())
            best = scores.argmax(-1).where(going, self._pad)
            tokens[rows, step] = best
            going = going & ~torch.isin(best, ends)
            left = int(going.sum())
            if left == 0 or step + 1 == longest:
                break
            if left <= STAYING * len(rows):
                staying = going.nonzero().squeeze(1)
                cache.batch_select_indices(staying)
                rows, best, mask, positions, going = (one[staying] for one in (rows, best, mask, positions, going))
            feed = {"input_ids": best[:, None]}
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            positions = positions[:, -1:] + 1
        return Made(tokens[:, : step + 1].cpu(), torch.stack(kept, dim=1) if logits else None)

    def _step(
        self, feed: Mapping[str, torch.Tensor], mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache
    ) -> torch.Tensor:
        """Logits (B, V) of the next token; the cache grows by what was fed."""
        made = self._model(
            **feed, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        scores: torch.Tensor = made.logits[:, -1].float()
        return scores


def truncated(made: Made, ends: Sequence[int]) -> list[bool]:
    """Of each answer, whether it ended at the longest one allowed: none of its tokens ends it."""
    whole: list[bool] = torch.isin(made.tokens, torch.tensor(list(ends))).any(dim=1).tolist()
    return [not ended for ended in whole]


def largest_difference(together: Made, row: int, alone: Made) -> float:
    """Of the logits, up to the first step at which the answers part; beyond it they read other texts."""
    both = min(together.tokens.shape[1], alone.tokens.shape[1])
    parted = torch.nonzero(together.tokens[row, :both] != alone.tokens[0, :both])
    steps = int(parted[0]) + 1 if len(parted) else both
    return float((together.logits[row, :steps] - alone.logits[0, :steps]).abs().max())
