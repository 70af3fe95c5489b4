"""Whoever answers the questions: the local batch engine.

One prompt source: the chat template saved with the checkpoint's processor. Prompts are padded on the left (asserted),
sorted by length so that little is padded, and each picture is preprocessed once however many questions it has. Before
the first answer a self-test compares answers alone with answers in a batch, because a wrong pad side or a wrong
position id changes scores without any error.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image, UnidentifiedImageError
from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor

from mmevol_core.errors import UserError
from mmevol_core.files import digest, file_digest
from mmevol_eval.benchmark import Message

CACHE_BYTES = 512 << 20  # preprocessed pictures kept
SELF_TEST_ITEMS = 16
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}  # of the largest logit


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question under a key that its answer comes back with."""

    key: str
    message: Message


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or the reason why there is none."""

    key: str
    text: str
    failure: str | None = None


class Model(Protocol):
    """Answers prompts in any order; what it yields is final and may be logged."""

    @property
    def decoding(self) -> Mapping[str, Any]:
        """What is told apart by protocols: beams, longest answer, precision."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of the weights, or name of the endpoint's model."""
        ...

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Reply]:
        """One reply for every prompt."""
        ...


@dataclass(frozen=True, slots=True)
class _Ready:
    """A prompt as numbers."""

    key: str
    tokens: list[int]
    images: tuple[bytes | Path, ...]


@dataclass(frozen=True, slots=True)
class _Views:
    """A preprocessed picture: pixels (views, 3, H, W), original (height, width), tokens it takes."""

    pixels: torch.Tensor
    size: tuple[int, int]
    tokens: int


class LocalModel:
    """A LLaVA-NeXT checkpoint folder, run here.

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
        self._model, self._processor = _load(checkpoint, device)
        self._device, self._batch_size, self._beams, self._longest = device, batch_size, beams, max_new_tokens
        self._tokenizer = self._processor.tokenizer
        self._tokenizer.padding_side = "left"
        self._pad = next(
            id_ for id_ in (self._tokenizer.pad_token_id, self._tokenizer.eos_token_id, 0) if id_ is not None
        )
        self._ends = _end_tokens(self._model, self._tokenizer)
        self._views: OrderedDict[str, _Views] = OrderedDict()
        self._view_bytes = 0
        self._tested = False
        self.fingerprint = _fingerprint(checkpoint)

    @property
    def decoding(self) -> Mapping[str, Any]:
        """Beams, longest answer, precision; the batch size changes no answer and is left out."""
        precision = str(self._model.dtype).removeprefix("torch.")
        return {"beams": self._beams, "max_new_tokens": self._longest, "sampling": False, "precision": precision}

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Reply]:
        """Answer all prompts, longest first (so that memory runs out at once or never)."""
        ready: list[_Ready] = []
        for prompt in prompts:
            try:
                ready.append(self._prepare(prompt))
            except (UnidentifiedImageError, OSError) as error:
                yield Reply(prompt.key, "", f"image: {type(error).__name__}")
        ready.sort(key=lambda one: -len(one.tokens))
        if ready and not self._tested:
            self._self_test(ready)
        start = 0
        while start < len(ready):
            batch = ready[start : start + self._batch_size]
            try:
                replies = self._generate(batch)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error) or self._batch_size == 1:
                    raise
                self._batch_size = max(1, min(self._batch_size, len(batch)) // 2)
                if self._device.startswith("cuda"):
                    torch.cuda.empty_cache()
                continue
            start += len(batch)
            yield from replies

    def _prepare(self, prompt: Prompt) -> _Ready:
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
        opened = [piece + marker * self._view(image).tokens for piece, image in zip(pieces, images, strict=False)]
        whole = "".join([*opened, pieces[-1]])
        return _Ready(prompt.key, self._tokenizer(whole, add_special_tokens=False)["input_ids"], images)

    def _view(self, image: bytes | Path) -> _Views:
        """Preprocess a picture, or take it from the cache."""
        data = image if isinstance(image, bytes) else image.read_bytes()
        key = blake2b(data, digest_size=16).hexdigest()
        if key in self._views:
            self._views.move_to_end(key)
            return self._views[key]
        with Image.open(io.BytesIO(data)) as opened:
            picture = opened.convert("RGB")
        made = self._processor.image_processor(images=picture, return_tensors="pt")
        size = (picture.height, picture.width)
        tokens = self._processor._get_num_multimodal_tokens(image_sizes=[size])["num_image_tokens"][0]
        views = _Views(made["pixel_values"][0], size, int(tokens))
        self._views[key] = views
        self._view_bytes += views.pixels.nbytes
        while self._view_bytes > CACHE_BYTES and len(self._views) > 1:
            self._view_bytes -= self._views.popitem(last=False)[1].pixels.nbytes
        return views

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
        views = [self._view(image) for one in batch for image in one.images]
        if views:
            most = max(len(view.pixels) for view in views)
            padded = [torch.nn.functional.pad(view.pixels, (0, 0) * 3 + (0, most - len(view.pixels))) for view in views]
            inputs["pixel_values"] = torch.stack(padded).to(self._model.dtype)
            inputs["image_sizes"] = torch.tensor([view.size for view in views])
        return {name: value.to(self._device) for name, value in inputs.items()}

    @torch.inference_mode()
    def _generate(self, batch: Sequence[_Ready]) -> list[Reply]:
        inputs = self._inputs(batch)
        tokens = self._model.generate(
            **inputs,
            max_new_tokens=self._longest,
            num_beams=self._beams,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=self._ends,
            pad_token_id=self._pad,
        )
        texts = self._tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [Reply(one.key, text.strip()) for one, text in zip(batch, texts, strict=True)]

    @torch.inference_mode()
    def _self_test(self, ready: Sequence[_Ready]) -> None:
        """Last logits of up to 16 prompts of different lengths, in one batch and alone."""
        some = ready[:: max(1, len(ready) // SELF_TEST_ITEMS)][:SELF_TEST_ITEMS]
        together = self._model(**self._inputs(some)).logits[:, -1].float()
        alone = torch.cat([self._model(**self._inputs([one])).logits[:, -1].float() for one in some])
        difference = float((together - alone).abs().max())
        limit = TOLERANCE[self._model.dtype] * float(alone.abs().max())
        if not difference <= limit:
            raise UserError(
                f"batched answers differ from single ones (logits by {difference:.3g}, limit {limit:.3g}); "
                "set evaluate.batch_size=1 and report the model's padding",
                status=3,
            )
        self._tested = True


def _load(checkpoint: Path, device: str) -> tuple[Any, Any]:
    """Model and processor from the folder's own files alone."""
    if not (checkpoint / "config.json").is_file():
        raise UserError(f"no checkpoint at {checkpoint}: config.json is missing")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("evaluate.device=cuda, but this machine has no CUDA device; set evaluate.device=cpu")
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    try:
        model, report = LlavaNextForConditionalGeneration.from_pretrained(
            checkpoint, dtype=dtype, local_files_only=True, output_loading_info=True
        )
        processor = LlavaNextProcessor.from_pretrained(checkpoint, backend="pil", local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load checkpoint {checkpoint}: {str(error).splitlines()[0]}") from error
    wrong = sorted([*report["missing_keys"], *report["unexpected_keys"]])
    if wrong:
        raise UserError(f"checkpoint {checkpoint} does not fit LLaVA-NeXT: {len(wrong)} keys differ, first {wrong[0]}")
    if not processor.chat_template:
        raise UserError(
            f"checkpoint {checkpoint} has no chat template; save the processor with the one it was trained on"
        )
    model.config.use_cache = True
    return model.eval().to(device), processor


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer: the tokenizer's and the generation config's."""
    configured = model.generation_config.eos_token_id
    ends = [*(configured if isinstance(configured, list) else [configured]), tokenizer.eos_token_id]
    return sorted({int(end) for end in ends if end is not None})


def _fingerprint(checkpoint: Path) -> str:
    """Digest of everything in the folder that decides an answer."""
    files = sorted(
        path for path in checkpoint.iterdir() if path.suffix in {".safetensors", ".json", ".jinja", ".model"}
    )
    return digest([[path.name, file_digest(path)] for path in files if path.name != "complete.json"])


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
