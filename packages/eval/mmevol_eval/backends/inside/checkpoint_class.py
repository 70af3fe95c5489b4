"""A LLaVA-NeXT checkpoint as a model class of the official package; runs inside the package's environment.

It shares no code with `mmevol_eval.models`: Transformers' public calls, one prompt at a time, as the package asks.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

Part = Mapping[str, str]  # of the package's messages: type, value


def build(checkpoint: str, decoding: Mapping[str, Any]) -> Any:
    """The model; `decoding` holds beams, max_new_tokens, threads and device (`auto`: a GPU where there is one)."""
    base = importlib.import_module("vlmeval.vlm.base").BaseModel
    network = Network(checkpoint, decoding)

    class Checkpoint(base):  # type: ignore[misc, valid-type]
        """Images and texts in the order of the message; every reply is kept as it was said."""

        INTERLEAVE = True

        def __init__(self) -> None:
            super().__init__()
            self.replies: list[str] = []
            self.precision = network.precision

        def generate_inner(self, message: Sequence[Part], dataset: str | None = None) -> str:
            self.replies.append(network.answer(message))
            return self.replies[-1]

    return Checkpoint()


class Network:
    """The checkpoint behind its own chat template; bfloat16 on a GPU, float32 elsewhere."""

    def __init__(self, checkpoint: str, decoding: Mapping[str, Any]) -> None:
        import torch
        from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor

        torch.set_num_threads(decoding["threads"])
        self._device = decoding["device"]
        if self._device == "auto":
            self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._dtype = torch.bfloat16 if self._device.startswith("cuda") else torch.float32
        self._processor = LlavaNextProcessor.from_pretrained(checkpoint, backend="pil", local_files_only=True)
        self._network = LlavaNextForConditionalGeneration.from_pretrained(
            checkpoint, dtype=self._dtype, local_files_only=True
        )
        self._network.eval().to(self._device)
        ends = _ends(self._network.generation_config.eos_token_id, self._processor.tokenizer.eos_token_id)
        self._settings = {
            "max_new_tokens": decoding["max_new_tokens"],
            "num_beams": decoding["beams"],
            "do_sample": False,
            **dict.fromkeys(("temperature", "top_p", "top_k")),  # of sampling: the checkpoint's own are put aside
            "eos_token_id": ends,
            "pad_token_id": ends[0],
        }

    @property
    def precision(self) -> str:
        """Type of the weights: `float32`, `bfloat16`."""
        return str(self._dtype).removeprefix("torch.")

    def answer(self, message: Sequence[Part]) -> str:
        """What the checkpoint says, without special tokens."""
        import torch

        inputs = self._inputs(message)
        with torch.inference_mode():
            made = self._network.generate(**inputs, **self._settings)
        said = made[0, inputs["input_ids"].shape[1] :]
        return str(self._processor.tokenizer.decode(said, skip_special_tokens=True)).strip()

    def _inputs(self, message: Sequence[Part]) -> Any:
        from PIL import Image

        pictures = [Image.open(part["value"]).convert("RGB") for part in message if part["type"] == "image"]
        content = [
            {"type": "image"} if part["type"] == "image" else {"type": "text", "text": part["value"]}
            for part in message
        ]
        turns = [{"role": "user", "content": content}]
        text = self._processor.apply_chat_template(turns, add_generation_prompt=True)
        inputs = self._processor(images=pictures or None, text=text, add_special_tokens=False, return_tensors="pt")
        return inputs.to(self._device, self._dtype)


def _ends(configured: int | list[int] | None, own: int | None) -> list[int]:
    """Tokens that end an answer: those of the checkpoint's configuration, and the tokenizer's."""
    listed = configured if isinstance(configured, list) else [configured]
    return sorted({end for end in (*listed, own) if end is not None})
