"""A checkpoint folder: what is loaded from it, and what tells it from another."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor
from transformers.utils.logging import disable_progress_bar

from mmevol_core.errors import UserError
from mmevol_core.files import digest, file_digest


def device_of(name: str) -> str:
    """The device that a configuration means; `auto` is a GPU where there is one.

    Raises:
        UserError: another word, or a device that is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"unknown device {name!r}; choose cpu, cuda, cuda:N or auto")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"evaluate.device={name}, but this machine has no CUDA device; set evaluate.device=cpu")
    here = torch.cuda.device_count() if name.startswith("cuda:") else 0
    if here and int(name.removeprefix("cuda:")) >= here:
        raise UserError(f"evaluate.device={name}, but this machine has {here} CUDA devices, counted from 0")
    return name


def load(checkpoint: Path, device: str, dtype: torch.dtype | None = None) -> tuple[Any, Any]:
    """Model and processor from the folder's own files alone.

    Args:
        checkpoint: the folder.
        device: where the model goes.
        dtype: of the weights; None: bfloat16 on a GPU, float32 elsewhere.

    Raises:
        UserError: no checkpoint, one that does not fit LLaVA-NeXT, or one without a chat template.
    """
    if not (checkpoint / "config.json").is_file():
        raise UserError(f"no checkpoint at {checkpoint}: config.json is missing")
    if dtype is None:
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    disable_progress_bar()  # of the weights: seconds, written into every log
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


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer: the tokenizer's and the generation config's."""
    configured = model.generation_config.eos_token_id
    ends = [*(configured if isinstance(configured, list) else [configured]), tokenizer.eos_token_id]
    return sorted({int(end) for end in ends if end is not None})


def fingerprint(checkpoint: Path) -> str:
    """Digest of everything in the folder that decides an answer."""
    kinds = {".safetensors", ".json", ".jinja", ".model", ".txt"}  # .txt: a tokenizer's merges
    files = sorted(path for path in checkpoint.iterdir() if path.suffix in kinds)
    return digest([[path.name, file_digest(path)] for path in files if path.name != "complete.json"])
