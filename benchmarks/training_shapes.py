"""Model shapes and synthetic rows for benchmarks/training.py; weights are random."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import CLIPVisionConfig, LlavaNextConfig, LlavaNextForConditionalGeneration, Qwen2Config

from mmevol_train.anyres import grid
from mmevol_train.parts import BackboneConfig

MMEVOL = ((672, 336), (336, 672), (672, 672), (336, 1008), (1008, 336))
TINY = ((64, 64), (64, 128), (128, 64), (128, 128))
CLIP_L = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}


@dataclass(frozen=True)
class Shape:
    """Sizes of the parts, of pictures (width, height) in pixels, and of texts in tokens (median of a lognormal)."""

    vision: dict
    text: dict
    tile: int
    patch: int
    pinpoints: tuple
    pictures: tuple
    text_tokens: float
    pack_length: int
    dtype: torch.dtype

    def backbone(self):
        return BackboneConfig(
            name="benchmark", vision_tower="random", language_model="random", chat_template="qwen2",
            tile=self.tile, patch=self.patch, pinpoints=self.pinpoints,
        )  # fmt: skip


def _qwen2(hidden, inner, layers, heads, kv, vocab, tied=False):
    return {
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv, "vocab_size": vocab, "tie_word_embeddings": tied, "max_position_embeddings": 32768,
    }  # fmt: skip


SHAPES = {
    # vocabulary: the head is 6 % of the language model's arithmetic, as it is in Qwen2-7B
    "tiny": Shape(
        {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4},
        _qwen2(128, 512, 4, 4, 2, 512), 64, 8, TINY,
        ((64, 64), (100, 40), (50, 120), (128, 128), (300, 200)), 90, 1024, torch.float32,
    ),
    "qwen2_1_5b": Shape(
        CLIP_L, _qwen2(1536, 8960, 28, 12, 2, 151936, tied=True), 336, 14, MMEVOL,
        ((640, 480), (640, 427), (480, 640), (1024, 768), (336, 336)), 300, 4096, torch.bfloat16,
    ),
    "qwen2_7b": Shape(
        CLIP_L, _qwen2(3584, 18944, 28, 28, 4, 152064), 336, 14, MMEVOL,
        ((640, 480), (640, 427), (480, 640), (1024, 768), (336, 336)), 300, 4096, torch.bfloat16,
    ),
}  # fmt: skip


def random_model(shape, device):
    """LLaVA-NeXT of that shape with random weights."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(**shape.vision, image_size=shape.tile, patch_size=shape.patch).to_dict()
    config = LlavaNextConfig(
        vision_config=vision, text_config=Qwen2Config(**shape.text).to_dict(), image_token_index=1,
        image_grid_pinpoints=[list(pair) for pair in shape.pinpoints], vision_feature_layer=-2,
        vision_feature_select_strategy="default", image_seq_length=(shape.tile // shape.patch) ** 2,
        tie_word_embeddings=shape.text["tie_word_embeddings"],
    )  # fmt: skip
    with torch.device(device):
        model = LlavaNextForConditionalGeneration._from_config(config, dtype=shape.dtype)
    return model.to(shape.dtype)


def random_rows(shape, count):
    """Training rows as mmevol_train.dataset gives them, with random bytes for pixels, and their number of words."""
    draw = np.random.default_rng(0)
    rows = []
    for number in range(count):
        words = int(np.clip(draw.lognormal(np.log(shape.text_tokens), 0.9), 8, shape.pack_length // 2))
        text = draw.integers(2, shape.text["vocab_size"], words)
        labels = np.where(np.arange(words) >= words // 3, text, -100)  # two thirds of a conversation are answers
        row = {"row": number, "views": [], "sizes": [], "words": words, "ids": text, "labels": labels}
        if number % 8:
            width, height = shape.pictures[number % len(shape.pictures)]
            seen = grid(width, height, shape.pinpoints, shape.tile, shape.patch)
            pixels = draw.integers(0, 256, (seen.views, 3, shape.tile, shape.tile), np.uint8)
            row |= {"views": [pixels], "sizes": [(height, width)]}
            row["ids"] = np.concatenate([text[:2], np.full(seen.tokens, 1), text[2:]])
            row["labels"] = np.concatenate([labels[:2], np.full(seen.tokens, -100), labels[2:]])
        rows.append(row)
    return rows
