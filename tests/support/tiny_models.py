"""Random tiny parts in Hugging Face folders: a CLIP tower, Qwen2 and LLaMA models, their tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from mmevol_train.parts import BackboneConfig

SPECIAL = {
    "qwen2": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama3": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
               "<|reserved_special_token_250|>"],
}  # fmt: skip
END = {"qwen2": "<|im_end|>", "llama3": "<|eot_id|>"}
WORDS = ["What color is it?", "red blue green circle square", "You are a helpful assistant.", "user assistant system\n"]
PINPOINTS = ((64, 64), (64, 128), (128, 64), (128, 128))


def tokenizer(family: str, image: bool = True) -> Tokenizer:
    """A byte-level BPE like the real one of the family: NFC for Qwen2, begin-of-text first for Llama 3."""
    words = Tokenizer(models.BPE())
    if family == "qwen2":
        words.normalizer = normalizers.NFC()
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    special = [*SPECIAL[family], *(["<image>"] if image else [])]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator(WORDS * 5, trainer)
    if family == "llama3":
        begin = words.token_to_id("<|begin_of_text|>")
        words.post_processor = processors.TemplateProcessing(
            single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", begin)]
        )
    return words


def parts(root: Path, family: str, *, tied: bool = False) -> tuple[Path, Path]:
    """(tower folder, language-model folder), random weights from a fixed seed."""
    torch.manual_seed(0)
    tower, language = root / "tower", root / family
    shape = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, image_size=64, patch_size=16
    )
    CLIPVisionModel(shape).save_pretrained(tower)
    stored = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}
    (tower / "preprocessor_config.json").write_text(json.dumps(stored))
    words = tokenizer(family)
    sizes: dict[str, Any] = {
        "vocab_size": 384, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 2048, "tie_word_embeddings": tied,
        "bos_token_id": None, "eos_token_id": words.token_to_id(END[family]), "pad_token_id": 0,
    }  # fmt: skip
    model = Qwen2ForCausalLM(Qwen2Config(**sizes)) if family == "qwen2" else LlamaForCausalLM(LlamaConfig(**sizes))
    model.save_pretrained(language)
    begin = "<|begin_of_text|>" if family == "llama3" else None
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token=begin,
        eos_token=END[family],
        pad_token=SPECIAL[family][0 if family == "qwen2" else -1],
    ).save_pretrained(language)
    return tower, language


def backbone(root: Path, family: str, *, tied: bool = False) -> BackboneConfig:
    """A backbone of random tiny parts under `root`."""
    tower, language = parts(root, family, tied=tied)
    return BackboneConfig(
        name=f"{family}_random", vision_tower=str(tower), language_model=str(language), chat_template=family,
        pinpoints=PINPOINTS, projector_std=0.06,
    )  # fmt: skip


def world(root: Path, rows: int = 24, text_rows: int = 0) -> tuple[Path, Path]:
    """(LLaVA JSON, image root): coloured squares of several sizes with a question each, then rows without image."""
    images = root / "images"
    images.mkdir(parents=True, exist_ok=True)
    colors, sizes = ("red", "blue", "green"), ((64, 64), (100, 40), (50, 120))
    stored = []
    for number in range(rows):
        color, size = colors[number % 3], sizes[number % len(sizes)]
        picture = Image.new("RGB", size, "white")
        ImageDraw.Draw(picture).rectangle((8 + number % 7, 8, 40, 30), fill=color)
        picture.save(images / f"{number}.png")
        turns = [("human", "<image>\nWhat color is it?"), ("gpt", color)] + [
            ("human", "Sure?"),
            ("gpt", "yes " * (number % 5)),
        ] * (number % 2)
        stored.append(
            {"id": str(number), "image": f"{number}.png", "conversations": [{"from": f, "value": v} for f, v in turns]}
        )
    for number in range(text_rows):
        turns = [("human", f"What is {number}?"), ("gpt", f"{number}")]
        stored.append({"id": f"t{number}", "conversations": [{"from": f, "value": v} for f, v in turns]})
    path = root / "conversations.json"
    path.write_text(json.dumps(stored))
    return path, images
