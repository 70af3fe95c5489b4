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
from mmevol_train.interchange import publish

COMPLETE = "complete.json"  # written last: its presence says that every other file is whole
TOLERANCE = 1e-4  # float32 logits of two processes on one machine
TOLERANCE_BFLOAT16 = 5e-2  # of the largest logit: eight bits of mantissa through all layers


def save(model: Any, processor: LlavaNextProcessor, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write a Hugging Face folder (safetensors, tokenizer, processor, chat template) and mark it complete.

    Names are those of the published LLaVA-NeXT checkpoints, which transformers 4, vLLM and SGLang read.
    """
    if folder.exists():
        shutil.rmtree(folder)
    model.save_pretrained(folder, state_dict=state)
    processor.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    publish(folder)
    mark_complete(folder, 0)


def load(
    folder: Path, dtype: str = "float32", *, four_bit: bool = False
) -> tuple[LlavaNextForConditionalGeneration, LlavaNextProcessor]:
    """Model in evaluation mode and processor; `four_bit` holds the language model's matrices in NF4 (GPU).

    Raises:
        UserError: when the folder is no finished checkpoint or its weights do not fit.
    """
    if not (folder / "config.json").is_file():
        raise UserError(f"no checkpoint at {folder}: config.json is missing")
    try:
        model, report = LlavaNextForConditionalGeneration.from_pretrained(
            folder, dtype=getattr(torch, dtype), output_loading_info=True, **(_four_bit() if four_bit else {})
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


def _four_bit() -> dict[str, Any]:
    """QLoRA's storage (arXiv 2305.14314): NF4, double quantisation, products in bfloat16; the rest stays as it is."""
    from transformers import BitsAndBytesConfig

    quantized = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=["vision_tower", "multi_modal_projector", "lm_head"],
    )  # fmt: skip
    return {"quantization_config": quantized, "device_map": {"": torch.cuda.current_device()}}


def fingerprint(folder: Path) -> str:
    """Digest of the weights, names and bytes; equal for equal models whatever wrote them."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"no weights (*.safetensors) in {folder}")
    return digest([[path.name, file_digest(path)] for path in files])


def mark_complete(folder: Path, step: int, ranks: int = 1, held_out_loss: float | None = None) -> None:
    """Say that a folder is whole, shards of other ranks in its subfolders included."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in files}
    taken = {} if held_out_loss is None else {"held_out_loss": held_out_loss}
    write_json(folder / COMPLETE, {"step": step, "ranks": ranks, **taken, "bytes": sizes})


def is_complete(folder: Path) -> bool:
    """Whether a folder was written to the end and nothing was cut since."""
    marker = folder / COMPLETE
    if not marker.is_file():
        return False
    sizes = read_json(marker)["bytes"]
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def latest(root: Path, clean: bool = True, ranks: int = 1) -> Path | None:
    """The newest whole training checkpoint below `root`; `clean` removes broken ones.

    Raises:
        UserError: when another number of processes wrote it: order and shards would not fit.
    """
    whole = []
    for folder in root.glob("checkpoint-*"):
        if is_complete(folder):
            whole.append(folder)
        elif clean:
            shutil.rmtree(folder)
    newest = max(whole, key=step_of, default=None)
    wrote = read_json(newest / COMPLETE).get("ranks", 1) if newest else ranks
    if wrote != ranks:
        raise UserError(
            f"{newest} was written by {wrote} processes and here are {ranks}; "
            f"use as many, or remove {root} to start over"
        )
    return newest


def best(root: Path) -> tuple[Path, float] | None:
    """(folder, loss) of the whole checkpoint with the lowest held-out loss; None when none was taken."""
    taken = []
    for folder in kept(root):
        loss = read_json(folder / COMPLETE).get("held_out_loss")
        if loss is not None:
            taken.append((loss, step_of(folder), folder))
    return (min(taken)[2], min(taken)[0]) if taken else None


def prune(root: Path, count: int) -> None:
    """Remove all but the newest whole checkpoints and the best one."""
    found = best(root)
    for folder in kept(root)[:-count]:
        if found is None or folder != found[0]:
            shutil.rmtree(folder)


def kept(root: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted((folder for folder in root.glob("checkpoint-*") if is_complete(folder)), key=step_of)


def step_of(folder: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(folder.name.rpartition("-")[2])


def probe(model: Any, processor: LlavaNextProcessor) -> torch.Tensor:
    """Logits (T, vocabulary) of a fixed question about a fixed picture, in the model's own precision.

    With sharded weights every process must call it at the same time.
    """
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(**_question(model, processor), use_cache=False).logits[0]
    return logits.float().cpu()


def _question(model: Any, processor: LlavaNextProcessor) -> Any:
    from PIL import Image

    tile = processor.image_processor.crop_size["height"]
    picture = Image.linear_gradient("L").resize((tile, tile)).convert("RGB")
    content = [{"type": "image"}, {"type": "text", "text": "What is shown?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    batch = processor(images=picture, text=text, return_tensors="pt", add_special_tokens=False).to(model.device)
    batch["pixel_values"] = batch["pixel_values"].to(model.dtype)
    return batch


def verify(expected: torch.Tensor, folder: Path, *, exact: bool = True) -> dict[str, Any]:
    """A fresh process loads `folder` and answers one question; its logits are compared with the trained model's.

    Args:
        expected: `probe` of the model before it was written, (T, vocabulary).
        exact: it was float32 on a CPU; otherwise only bfloat16's precision is asked for.

    Raises:
        UserError: when they differ.
    """
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        done = subprocess.run(
            [sys.executable, "-m", "mmevol_train.checkpoint", str(folder), str(report)], capture_output=True, text=True
        )
        if done.returncode:
            raise UserError(f"checkpoint {folder} cannot be loaded: {done.stderr.strip().splitlines()[-1]}", status=3)
        found = read_json(report)
    difference = float((torch.tensor(found["logits"]) - expected[-1]).abs().max())
    limit = (TOLERANCE if exact else TOLERANCE_BFLOAT16) * max(1.0, float(expected[-1].abs().max()))
    if not difference <= limit:
        raise UserError(f"checkpoint {folder} changed on its way to disk: logits differ by {difference:.2e}", status=3)
    return {"max_logit_difference": difference, "answer": found["answer"]}


def _load_and_answer(folder: Path, report: Path) -> None:
    """The fresh process: last logits of the probe and its generated answer, as JSON."""
    torch.set_num_threads(1)
    model, processor = load(folder)
    logits = probe(model, processor)
    batch = _question(model, processor)
    tokens = model.generate(**batch, max_new_tokens=8, do_sample=False)
    answer = processor.tokenizer.decode(tokens[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    write_json(report, {"logits": logits[-1].tolist(), "answer": str(answer)})


if __name__ == "__main__":
    _load_and_answer(Path(sys.argv[1]), Path(sys.argv[2]))
