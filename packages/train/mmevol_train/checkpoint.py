"""Checkpoints: written whole or not at all, loaded natively by transformers, verified by a fresh process."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor

from mmevol_core.errors import UserError
from mmevol_core.files import digest, file_digest, read_json, write_json

COMPLETE = "complete.json"  # written last: its presence says that every other file is whole
TOLERANCE = 1e-4  # float32 logits of two processes on one machine


def save(model: Any, processor: LlavaNextProcessor, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write a Hugging Face folder (safetensors, tokenizer, processor, chat template) and mark it complete."""
    if folder.exists():
        shutil.rmtree(folder)
    model.save_pretrained(folder, state_dict=state)
    processor.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    mark_complete(folder, 0)


def load(folder: Path, dtype: str = "float32") -> tuple[LlavaNextForConditionalGeneration, LlavaNextProcessor]:
    """Model in evaluation mode and processor.

    Raises:
        UserError: when the folder is no finished checkpoint or its weights do not fit.
    """
    if not (folder / "config.json").is_file():
        raise UserError(f"no checkpoint at {folder}: config.json is missing")
    try:
        model, report = LlavaNextForConditionalGeneration.from_pretrained(
            folder, dtype=getattr(torch, dtype), output_loading_info=True
        )
        processor = LlavaNextProcessor.from_pretrained(folder, backend="pil")
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load checkpoint {folder}: {str(error).splitlines()[0]}") from error
    wrong = [*report["missing_keys"], *report["unexpected_keys"]]
    if wrong:
        raise UserError(
            f"checkpoint {folder} does not fit LLaVA-NeXT: {len(wrong)} keys differ, first {sorted(wrong)[0]}"
        )
    return model.eval(), processor


def fingerprint(folder: Path) -> str:
    """Digest of the weights, names and bytes; equal for equal models whatever wrote them."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"no weights (*.safetensors) in {folder}")
    return digest([[path.name, file_digest(path)] for path in files])


def mark_complete(folder: Path, step: int) -> None:
    """Say that a folder is whole."""
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    write_json(folder / COMPLETE, {"step": step, "bytes": sizes})


def is_complete(folder: Path) -> bool:
    """Whether a folder was written to the end and nothing was cut since."""
    marker = folder / COMPLETE
    if not marker.is_file():
        return False
    sizes = read_json(marker)["bytes"]
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def latest(root: Path, clean: bool = True) -> Path | None:
    """The newest whole training checkpoint below `root`; `clean` removes broken ones."""
    whole = []
    for folder in root.glob("checkpoint-*"):
        if is_complete(folder):
            whole.append(folder)
        elif clean:
            shutil.rmtree(folder)
    return max(whole, key=_step, default=None)


def keep_last(root: Path, count: int) -> None:
    """Remove all but the newest whole checkpoints."""
    whole = sorted((folder for folder in root.glob("checkpoint-*") if is_complete(folder)), key=_step)
    for folder in whole[:-count]:
        shutil.rmtree(folder)


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def probe(model: Any, processor: LlavaNextProcessor) -> torch.Tensor:
    """Logits (T, vocabulary) of a fixed question about a fixed picture, in the model's own precision."""
    from PIL import Image

    tile = processor.image_processor.crop_size["height"]
    picture = Image.linear_gradient("L").resize((tile, tile)).convert("RGB")
    content = [{"type": "image"}, {"type": "text", "text": "What is shown?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    batch = processor(images=picture, text=text, return_tensors="pt", add_special_tokens=False).to(model.device)
    batch["pixel_values"] = batch["pixel_values"].to(model.dtype)
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(**batch, use_cache=False).logits[0]
    return logits.float().cpu()


def verify(model: Any, processor: LlavaNextProcessor, folder: Path) -> dict[str, Any]:
    """A fresh process loads `folder`, answers one question, and its logits are compared with the model in memory.

    Raises:
        UserError: when they differ.
    """
    expected = probe(model, processor)
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        done = subprocess.run(
            [sys.executable, "-m", "mmevol_train.checkpoint", str(folder), str(report)], capture_output=True, text=True
        )
        if done.returncode:
            raise UserError(f"checkpoint {folder} cannot be loaded: {done.stderr.strip().splitlines()[-1]}", status=3)
        found = read_json(report)
    difference = float((torch.tensor(found["logits"]) - expected[-1]).abs().max())
    limit = TOLERANCE * max(1.0, float(expected[-1].abs().max()))
    if model.dtype == torch.float32 and not difference <= limit:
        raise UserError(f"checkpoint {folder} changed on its way to disk: logits differ by {difference:.2e}", status=3)
    return {"max_logit_difference": difference, "answer": found["answer"]}


def _load_and_answer(folder: Path, report: Path) -> None:
    """The fresh process: last logits of the probe and one generated answer, as JSON."""
    torch.set_num_threads(1)
    model, processor = load(folder)
    logits = probe(model, processor)
    text = processor.apply_chat_template([{"role": "user", "content": "Hello"}], add_generation_prompt=True)
    batch = processor.tokenizer(text, return_tensors="pt", add_special_tokens=False)
    tokens = model.generate(**batch, max_new_tokens=8, do_sample=False)
    answer = processor.tokenizer.decode(tokens[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    write_json(report, {"logits": logits[-1].tolist(), "answer": str(answer)})


if __name__ == "__main__":
    _load_and_answer(Path(sys.argv[1]), Path(sys.argv[2]))
