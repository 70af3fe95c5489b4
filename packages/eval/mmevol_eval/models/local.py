"""The local batch engine: a checkpoint folder answers here.

Prompts are padded on the left (asserted), sorted by length so that little is padded, and each picture is prepared and
seen by the network once however many questions it has. While the network answers a batch, the next one's pictures are
prepared. Before the first answer a self-test compares answers alone with answers in a batch, because a wrong pad side
or a wrong position id changes scores without any error.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import groupby
from pathlib import Path
from threading import Semaphore
from typing import Any

import torch

from mmevol_core.errors import UserError
from mmevol_core.files import digest
from mmevol_eval.models import Prompt, Reply
from mmevol_eval.models.checkpoint import device_of, end_tokens, fingerprint, load
from mmevol_eval.models.decoding import Decoder, Embedded, largest_difference, truncated
from mmevol_eval.models.pictures import Pictures, Prepared, Views
from mmevol_eval.models.rendering import Ready, Renderer, unreadable

log = logging.getLogger(__name__)

VERSION = "1"  # of what this engine makes of a prompt; answers kept from another one are asked again
CHUNK = 4096  # prompts sorted at once
WORKERS = 2  # batches at work: one is prepared while the other is answered
SELF_TEST_ITEMS, SELF_TEST_TOKENS = 4, 3
# Of the largest logit. Rounding alone made 3e-7, 0.005 and 0.0007 of it in a network of two layers; more add to it.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.03, torch.float16: 0.01}


class LocalModel:
    """A LLaVA-NeXT checkpoint folder, run here.

    Args:
        checkpoint: folder with weights, processor and chat template.
        batch_size: prompts in a batch; halved when memory runs out.
        max_new_tokens: longest answer of a prompt that sets none.
        beams: width of the beam search; 1: greedy.
        threads: of torch on the CPU; from two on, two batches are answered at once and share them.
        device: `cpu`, `cuda`, `cuda:N`, or `auto` (`cuda` where there is one).
        dtype: of the weights; None: bfloat16 on a GPU, float32 elsewhere.

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
        dtype: torch.dtype | None = None,
    ) -> None:
        self._device = device_of(device)
        on_cpu = self._device == "cpu"
        self._workers = 1 if on_cpu and threads == 1 else WORKERS
        at_once = self._workers if on_cpu else 1  # batches in the network
        self._network = Semaphore(at_once)
        torch.set_num_threads(max(1, threads // at_once))
        self._model, self._processor = load(checkpoint, self._device, dtype)
        self._batch_size, self._beams, self._longest = batch_size, beams, max_new_tokens
        self._tokenizer = self._processor.tokenizer
        self._tokenizer.padding_side = "left"
        self._pad = next(
            id_ for id_ in (self._tokenizer.pad_token_id, self._tokenizer.eos_token_id, 0) if id_ is not None
        )
        self._ends = end_tokens(self._model, self._tokenizer)
        self._decoder = Decoder(self._model, self._ends, self._pad)
        self._pictures = Pictures(self._processor, self._encode)
        self._renderer = Renderer(self._processor, self._pictures, max_new_tokens)
        self._tested = False
        self.fingerprint = digest([VERSION, fingerprint(checkpoint)])

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
            ready, failed = self._renderer.render(prompts[start : start + CHUNK])
            yield from failed
            if ready and not self._tested:
                self._self_test(ready)
            ready.sort(key=lambda one: one.order, reverse=True)
            for _, group in groupby(ready, key=lambda one: one.longest):
                yield from self._batches(list(group))

    def _batches(self, ready: Sequence[Ready]) -> Iterator[Reply]:
        """Batches as they are answered; one that does not fit into memory is tried again at half the size."""
        waiting = deque(ready)
        running: dict[Future[list[Reply]], tuple[list[Ready], int]] = {}  # and how many were to be at work with it
        pool = ThreadPoolExecutor(self._workers)
        try:
            while waiting or running:
                while waiting and len(running) < self._workers:
                    batch = [waiting.popleft() for _ in range(min(self._batch_size, len(waiting)))]
                    running[pool.submit(self._replies, batch)] = batch, self._workers
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    batch, at_work = running.pop(done)
                    try:
                        replies = done.result()
                    except (RuntimeError, MemoryError) as error:
                        self._shrink(batch, error, at_work)
                        waiting.extendleft(reversed(batch))
                        continue
                    yield from replies
        finally:
            pool.shutdown(cancel_futures=True)

    def _shrink(self, batch: Sequence[Ready], error: RuntimeError | MemoryError, at_work: int = 1) -> None:
        """Make room when memory ran out: kept features go, then half of the batch, then the second batch at work."""
        ran_out = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error)
        if not ran_out:
            raise error
        own = {picture.key for one in batch for picture in one.pictures}
        let_go = bool(self._pictures.forget() - own)
        if len(batch) > 1:
            self._batch_size = min(self._batch_size, len(batch) // 2)
            log.warning("out of memory at %d prompts; going on with %d at once", len(batch), self._batch_size)
        elif at_work > 1:  # the other batch may have had the room
            self._workers = 1
            log.warning("out of memory at one prompt; going on without a second one at work")
        elif not let_go:
            raise UserError(
                f"not enough memory for one prompt of {len(batch[0].tokens)} tokens (item {batch[0].key}); "
                "use a larger device, fewer beams or a smaller evaluate.max_new_tokens",
                status=3,
            ) from error
        traceback.clear_frames(error.__traceback__)  # they hold the lost batch's tensors
        torch.cuda.empty_cache()

    def _replies(self, batch: Sequence[Ready]) -> list[Reply]:
        """Answers of a batch whose prompts end at the same length; a failure for each with a broken picture."""
        prepared, broken = self._pictures.prepare(picture for one in batch for picture in one.pictures)
        errors = {one.key: broken[at.key] for one in batch for at in one.pictures if at.key in broken}
        replies = [unreadable(key, error) for key, error in errors.items()]
        whole = [one for one in batch if one.key not in errors]
        if whole:
            with self._network:
                made = self._decoder.decode(self._embed(whole, prepared), whole[0].longest, self._beams)
            texts = self._tokenizer.batch_decode(made.tokens, skip_special_tokens=True)
            replies += [
                Reply(one.key, text.strip(), truncated=cut)
                for one, text, cut in zip(whole, texts, truncated(made, self._ends), strict=True)
            ]
        return replies

    @torch.inference_mode()
    def _encode(self, views: Sequence[Views]) -> list[torch.Tensor]:
        """Pictures as features (tokens, D)."""
        pixels = torch.cat([view.pixels for view in views]).to(self._device, self._model.dtype)
        sizes = torch.tensor([view.size for view in views], device=self._device)
        return list(self._model.get_image_features(pixel_values=pixels, image_sizes=sizes).pooler_output)

    def _padded(self, batch: Sequence[Ready]) -> tuple[torch.Tensor, torch.Tensor]:
        """Left-padded token ids and mask (B, L)."""
        length = max(len(one.tokens) for one in batch)
        ids = torch.full((len(batch), length), self._pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, one in enumerate(batch):
            ids[row, length - len(one.tokens) :] = torch.tensor(one.tokens)
            mask[row, length - len(one.tokens) :] = 1
        if not bool(mask[:, -1].all()):
            raise AssertionError("prompts must end at the right edge of the batch")
        return ids.to(self._device), mask.to(self._device)

    @torch.inference_mode()
    def _embed(self, batch: Sequence[Ready], prepared: Prepared) -> Embedded:
        """The batch as embeddings, the pictures' features in the places that were opened for them."""
        ids, mask = self._padded(batch)
        embeddings = self._model.get_input_embeddings()(ids)
        pictures = [picture for one in batch for picture in one.pictures]
        if pictures:
            features = torch.cat(self._pictures.features(pictures, prepared)).to(embeddings.dtype)
            places = ids == self._model.config.image_token_id
            if int(places.sum()) != len(features):
                raise AssertionError(f"{int(places.sum())} places were opened for {len(features)} features")
            embeddings[places] = features
        return Embedded(ids, mask, embeddings)

    def _self_test(self, ready: Sequence[Ready]) -> None:
        """Greedy answers of some prompts, the shortest and the longest among them, in one batch and alone are the same.

        Where rounding (bfloat16 above all) turns a tie around, the two tokens' logits lie within the tolerance.
        """
        ordered = sorted(ready, key=lambda one: len(one.tokens))
        count = min(SELF_TEST_ITEMS, self._batch_size, len(ordered))
        some = [ordered[number * (len(ordered) - 1) // max(count - 1, 1)] for number in range(count)]
        prepared, broken = self._pictures.prepare(picture for one in some for picture in one.pictures)
        some = [one for one in some if not any(picture.key in broken for picture in one.pictures)]
        if not some:
            return
        longest = min(SELF_TEST_TOKENS, *(one.longest for one in some))
        try:
            together = self._decoder.greedy(self._embed(some, prepared), longest, logits=True)
        except (RuntimeError, MemoryError) as error:
            self._shrink(some, error)
            self._self_test(ready)
            return
        self._tested = True
        for row, one in enumerate(some):
            alone = self._decoder.greedy(self._embed([one], prepared), longest, logits=True)
            difference = largest_difference(together, row, alone)
            limit = TOLERANCE[self._model.dtype] * float(alone.logits[0].abs().max())
            if not difference <= limit:
                raise UserError(
                    f"batched answers differ from single ones (logits by {difference:.3g}, limit {limit:.3g}); "
                    "set evaluate.batch_size=1 and report the model's padding",
                    status=3,
                )
