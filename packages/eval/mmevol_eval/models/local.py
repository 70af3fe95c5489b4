"""The local batch engine: a checkpoint folder answers here.

One prompt source: the chat template saved with the checkpoint's processor. Prompts are padded on the left (asserted),
sorted by length so that little is padded, and each picture is preprocessed once however many questions it has. Before
the first answer a self-test compares answers alone with answers in a batch, because a wrong pad side or a wrong
position id changes scores without any error.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from mmevol_core.errors import UserError
from mmevol_eval.models import Prompt, Reply
from mmevol_eval.models.checkpoint import device_of, end_tokens, fingerprint, load
from mmevol_eval.models.pictures import Pictures

log = logging.getLogger(__name__)

CHUNK = 4096  # prompts sorted at once
GROUP = 32  # prompts prepared at once
SELF_TEST_ITEMS, SELF_TEST_TOKENS = 8, 4
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}  # of the largest logit


@dataclass(frozen=True, slots=True)
class _Ready:
    """A prompt as numbers."""

    key: str
    tokens: list[int]
    images: tuple[bytes | Path, ...]
    longest: int  # tokens of the answer


@dataclass(frozen=True, slots=True)
class _Made:
    """Answers as tokens (B, T) and, for the self-test, the logits of every step (B, T, V)."""

    tokens: torch.Tensor
    steps: torch.Tensor | None

    @property
    def logits(self) -> torch.Tensor:
        """The steps' logits, where they were asked for."""
        assert self.steps is not None
        return self.steps


class LocalModel:
    """A LLaVA-NeXT checkpoint folder, run here.

    Args:
        checkpoint: folder with weights, processor and chat template.
        batch_size: prompts at once; halved when memory runs out.
        max_new_tokens: longest answer of a prompt that sets none.
        beams: width of the beam search; 1: greedy.
        threads: of torch on the CPU.
        device: `cpu`, `cuda`, `cuda:N`, or `auto` (`cuda` where there is one).

    Raises:
        UserError: the folder is no checkpoint, has no chat template, or gives other answers in a batch than alone.
    """

    def __init__(
        self,
        checkpoint: Path,
        *,
        batch_size: int = 64,
        max_new_tokens: int = 20,
        beams: int = 1,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        torch.set_num_threads(threads)
        self._device = device_of(device)
        self._model, self._processor = load(checkpoint, self._device)
        self._batch_size, self._beams, self._longest = batch_size, beams, max_new_tokens
        self._tokenizer = self._processor.tokenizer
        self._tokenizer.padding_side = "left"
        self._pad = next(
            id_ for id_ in (self._tokenizer.pad_token_id, self._tokenizer.eos_token_id, 0) if id_ is not None
        )
        self._ends = end_tokens(self._model, self._tokenizer)
        self._pictures = Pictures(self._processor)
        self._tested = False
        self.fingerprint = fingerprint(checkpoint)

    @property
    def decoding(self) -> Mapping[str, Any]:
        """Beams, longest answer, precision; the batch size changes no answer and is left out."""
        precision = str(self._model.dtype).removeprefix("torch.")
        return {"beams": self._beams, "max_new_tokens": self._longest, "sampling": False, "precision": precision}

    def close(self) -> None:
        """Nothing to let go of."""

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Reply]:
        """Answer all prompts, of every few thousand the longest first (so that memory runs out at once or never)."""
        for start in range(0, len(prompts), CHUNK):
            ready: list[_Ready] = []
            end = min(start + CHUNK, len(prompts))
            for group_start in range(start, end, GROUP):
                prepared, failed = self._prepare(prompts[group_start : min(group_start + GROUP, end)])
                ready += prepared
                yield from failed
            if ready and not self._tested:
                self._self_test(ready)
            ready.sort(key=lambda one: (one.longest, len(one.tokens)), reverse=True)
            for _, group in groupby(ready, key=lambda one: one.longest):
                yield from self._batches(list(group))

    def _batches(self, ready: Sequence[_Ready]) -> Iterator[Reply]:
        """Batch after batch; one that does not fit into memory is tried again at half the size."""
        start = 0
        while start < len(ready):
            batch = ready[start : start + self._batch_size]
            try:
                replies = self._replies(batch)
            except RuntimeError as error:
                self._shrink(batch, error)
                continue
            start += len(batch)
            yield from replies

    def _shrink(self, batch: Sequence[_Ready], error: RuntimeError) -> None:
        """Halve the batch size when memory ran out."""
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise error
        if len(batch) == 1:
            raise UserError(
                f"not enough memory for one prompt of {len(batch[0].tokens)} tokens (item {batch[0].key}); "
                "use a larger device, fewer beams or a smaller evaluate.max_new_tokens",
                status=3,
            ) from error
        self._batch_size = len(batch) // 2
        log.warning("out of memory at %d prompts; going on with %d at once", len(batch), self._batch_size)
        traceback.clear_frames(error.__traceback__)  # they hold the lost batch's tensors
        torch.cuda.empty_cache()

    def _prepare(self, prompts: Sequence[Prompt]) -> tuple[list[_Ready], list[Reply]]:
        """Prompts as tokens, and a failure for each whose picture cannot be read."""
        self._pictures.prepare(image for prompt in prompts for image in prompt.message.images)
        texts: list[str] = []
        good: list[Prompt] = []
        failed: list[Reply] = []
        for prompt in prompts:
            try:
                texts.append(self._text(prompt))
                good.append(prompt)
            except OSError as error:
                failed.append(Reply(prompt.key, "", f"image: {type(error).__name__}"))
        tokens = self._tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        ready = [
            _Ready(prompt.key, ids, prompt.message.images, prompt.max_new_tokens or self._longest)
            for prompt, ids in zip(good, tokens, strict=True)
        ]
        return ready, failed

    def _text(self, prompt: Prompt) -> str:
        """Render with the saved template and open each image placeholder to the tokens that the image takes."""
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
            for part in prompt.message.parts
        ]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if prompt.message.system:
            messages.insert(0, {"role": "system", "content": prompt.message.system})
        text = self._processor.apply_chat_template(messages, add_generation_prompt=True)
        marker = self._processor.image_token
        pieces = text.split(marker)
        images = prompt.message.images
        if len(pieces) != len(images) + 1:
            raise UserError(
                f"item {prompt.key}: its prompt holds {len(pieces) - 1} image marks for {len(images)} images; "
                f"the chat template or a question contains {marker!r}"
            )
        taken = [self._pictures.view(image).tokens for image in images]
        opened = [piece + marker * tokens for piece, tokens in zip(pieces, taken, strict=False)]
        return "".join([*opened, pieces[-1]])

    def _inputs(self, batch: Sequence[_Ready]) -> dict[str, torch.Tensor]:
        """Left-padded token ids and mask (B, T); pixels (images, views, 3, H, W) with their sizes."""
        length = max(len(one.tokens) for one in batch)
        ids = torch.full((len(batch), length), self._pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, one in enumerate(batch):
            ids[row, length - len(one.tokens) :] = torch.tensor(one.tokens)
            mask[row, length - len(one.tokens) :] = 1
        if not bool(mask[:, -1].all()):
            raise AssertionError("prompts must end at the right edge of the batch")
        inputs = {"input_ids": ids, "attention_mask": mask}
        views = [self._pictures.view(image) for one in batch for image in one.images]
        if views:
            most = max(len(view.pixels) for view in views)
            padded = [torch.nn.functional.pad(view.pixels, (0, 0) * 3 + (0, most - len(view.pixels))) for view in views]
            inputs["pixel_values"] = torch.stack(padded).to(self._model.dtype)
            inputs["image_sizes"] = torch.tensor([view.size for view in views])
        return {name: value.to(self._device) for name, value in inputs.items()}

    @torch.inference_mode()
    def _generate(self, batch: Sequence[_Ready], longest: int, beams: int, *, logits: bool = False) -> _Made:
        inputs = self._inputs(batch)
        made = self._model.generate(
            **inputs,
            max_new_tokens=longest,
            num_beams=beams,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=self._ends,
            pad_token_id=self._pad,
            output_logits=logits,
            return_dict_in_generate=True,
        )
        steps = torch.stack(made.logits, dim=1).float().cpu() if logits else None
        return _Made(made.sequences[:, inputs["input_ids"].shape[1] :].cpu(), steps)

    def _replies(self, batch: Sequence[_Ready]) -> list[Reply]:
        made = self._generate(batch, batch[0].longest, self._beams)
        texts = self._tokenizer.batch_decode(made.tokens, skip_special_tokens=True)
        return [Reply(one.key, text.strip()) for one, text in zip(batch, texts, strict=True)]

    def _self_test(self, ready: Sequence[_Ready]) -> None:
        """Greedy answers of some prompts of different lengths, in one batch and alone, must be the same.

        Where rounding (bfloat16 above all) turns a tie around, the two tokens' logits lie within the tolerance.
        """
        self._tested = True
        ordered = sorted(ready, key=lambda one: len(one.tokens))
        some = ordered[:: -(-len(ordered) // min(SELF_TEST_ITEMS, self._batch_size))]
        longest = min(SELF_TEST_TOKENS, *(one.longest for one in some), SELF_TEST_TOKENS)
        try:
            together = self._generate(some, longest, 1, logits=True)
        except RuntimeError as error:
            self._shrink(some, error)
            self._self_test(ready)
            return
        for row, one in enumerate(some):
            alone = self._generate([one], longest, 1, logits=True)
            difference = _difference(together, row, alone)
            limit = TOLERANCE[self._model.dtype] * float(alone.logits[0].abs().max())
            if not difference <= limit:
                raise UserError(
                    f"batched answers differ from single ones (logits by {difference:.3g}, limit {limit:.3g}); "
                    "set evaluate.batch_size=1 and report the model's padding",
                    status=3,
                )


def _difference(together: _Made, row: int, alone: _Made) -> float:
    """Largest difference of logits up to the first step at which the answers part; beyond it they read other texts."""
    both = min(together.tokens.shape[1], alone.tokens.shape[1])
    parted = torch.nonzero(together.tokens[row, :both] != alone.tokens[0, :both])
    steps = int(parted[0]) + 1 if len(parted) else both
    return float((together.logits[row, :steps] - alone.logits[0, :steps]).abs().max())
