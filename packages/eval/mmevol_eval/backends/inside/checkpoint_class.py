"""A LLaVA-NeXT checkpoint as a model class of the official package; runs inside the package's environment.

It shares no code with `mmevol_eval.models`: Transformers' public calls, one prompt at a time, as the package asks.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any


def build(checkpoint: str, decoding: Mapping[str, Any]) -> Any:
    """The model; `decoding` holds beams, max_new_tokens, threads and device (`auto`: a GPU where there is one)."""
    import torch
    from PIL import Image
    from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor

    base = importlib.import_module("vlmeval.vlm.base").BaseModel
    torch.set_num_threads(decoding["threads"])
    device = decoding["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32

    class Checkpoint(base):  # type: ignore[misc, valid-type]
        """Images and texts in the order of the message, under the checkpoint's own chat template."""

        INTERLEAVE = True

        def __init__(self) -> None:
            super().__init__()
            self.replies: list[str] = []
            self.processor = LlavaNextProcessor.from_pretrained(checkpoint, backend="pil", local_files_only=True)
            self.network = LlavaNextForConditionalGeneration.from_pretrained(
                checkpoint, dtype=dtype, local_files_only=True
            )
            self.network.eval().to(device)
            configured = self.network.generation_config.eos_token_id
            ends = [
                *(configured if isinstance(configured, list) else [configured]),
                self.processor.tokenizer.eos_token_id,
            ]
            self.ends = sorted({end for end in ends if end is not None})

        @torch.inference_mode()
        def generate_inner(self, message: Sequence[Mapping[str, str]], dataset: str | None = None) -> str:
            content = [
                {"type": "image"} if part["type"] == "image" else {"type": "text", "text": part["value"]}
                for part in message
            ]
            pictures = [Image.open(part["value"]).convert("RGB") for part in message if part["type"] == "image"]
            text = self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
            inputs = self.processor(
                images=pictures or None, text=text, add_special_tokens=False, return_tensors="pt"
            ).to(device, dtype)
            made = self.network.generate(
                **inputs,
                max_new_tokens=decoding["max_new_tokens"],
                num_beams=decoding["beams"],
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=self.ends,
                pad_token_id=self.ends[0],
            )
            answer = made[0, inputs["input_ids"].shape[1] :]
            self.replies.append(self.processor.tokenizer.decode(answer, skip_special_tokens=True).strip())
            return self.replies[-1]

    return Checkpoint()
