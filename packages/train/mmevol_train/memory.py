"""What a training stage needs of one GPU, from shapes alone: parameters, gradients, optimizer, activations.

P parameters, of which G learn, on N ranks, in bytes a parameter (arXiv 1910.02054, section 3, with what this trainer
keeps; DeepSpeed's bfloat16 engine holds bfloat16 weights and gradients and float32 copies in the optimizer, the other
engines float32 weights and gradients under autocast):

    engine            weights        gradients     optimizer (two moments, and a float32 copy under DeepSpeed)
    deepspeed_zero2   2 P            2 G / N       12 G / N
    deepspeed_zero3   2 P / N        2 G / N       12 G / N
    single, ddp       4 P (+ 2 P)    4 G            8 G        (+ 2 P: autocast keeps bfloat16 copies)
    fsdp2             4 P / N        4 G / N        8 G / N

Activations of a micro-batch with T tokens, S of them supervised, V views, in bfloat16, language model of width h with
inner width i, L layers, v words, tower of width w with C patches and L_v layers:

    kept         2 T h L     + 2 V C w L_v     with gradient checkpointing: what goes into each layer
                 16 times as much without it (attention and MLP of every layer)
    at work      2 T (8 h + 4 i) + 2 V C 12 w   the one layer that is computed again
    logits       10 S v      bfloat16, float32, and float32's gradient

The sum is an estimate for planning; buffers of the engine, fragments and CUDA itself are the 10 % that `fits` adds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_train.anyres import grid
from mmevol_train.parts import BackboneConfig, locate

SHAPES = Path(__file__).parent / "shapes.json"
SUPERVISED = 1 / 3  # of a row's tokens, assumed for the logits
WITHOUT_CHECKPOINTING = 16
MARGIN = 1.1


@dataclass(frozen=True)
class Language:
    """Sizes of a language model."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    tie_word_embeddings: bool
    head_dim: int
    attention_bias: bool

    @property
    def parameters(self) -> int:
        """Weights of a Llama-like model: grouped attention, gated MLP, two norms a layer."""
        h, wide = self.hidden_size, self.head_dim * (self.num_attention_heads + 2 * self.num_key_value_heads)
        attention = h * wide + self.attention_bias * wide + self.head_dim * self.num_attention_heads * h
        layer = attention + 3 * h * self.intermediate_size + 2 * h
        embeddings = self.vocab_size * h * (1 if self.tie_word_embeddings else 2)
        return self.num_hidden_layers * layer + h + embeddings


@dataclass(frozen=True)
class Vision:
    """Sizes of a CLIP tower."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int

    @property
    def places(self) -> int:
        """Patches and the class token."""
        return (self.image_size // self.patch_size) ** 2 + 1

    @property
    def parameters(self) -> int:
        """Weights of the tower."""
        w, i = self.hidden_size, self.intermediate_size
        layer = 4 * (w * w + w) + 2 * w * i + i + w + 4 * w
        return self.num_hidden_layers * layer + 3 * self.patch_size**2 * w + w + self.places * w + 4 * w


@dataclass(frozen=True)
class Need:
    """Bytes on one GPU."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of it, without the margin."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def fits(self, capacity: float) -> bool:
        """Whether a GPU of that many bytes holds it with a tenth to spare."""
        return self.total * MARGIN <= capacity


def shapes(backbone: BackboneConfig) -> tuple[Language, Vision]:
    """Sizes of a backbone's parts: from their folders, the hub's cache, or the list of known ids.

    Raises:
        UserError: when a part's shape is known nowhere, or its sizes do not fit each other.
    """
    text, vision = _stored(backbone.language_model), _stored(backbone.vision_tower)
    text, vision = text.get("text_config", text), vision.get("vision_config", vision)
    heads = text["num_attention_heads"]
    text = {
        "num_key_value_heads": heads, "tie_word_embeddings": False, "head_dim": text["hidden_size"] // heads,
        "attention_bias": text.get("model_type") == "qwen2", **{k: v for k, v in text.items() if v is not None},
    }  # fmt: skip
    try:
        language = Language(**{name: text[name] for name in Language.__dataclass_fields__})
        tower = Vision(**{name: vision[name] for name in Vision.__dataclass_fields__})
    except KeyError as error:
        raise UserError(f"backbone {backbone.name}: no {error} among the sizes of its parts") from error
    _check(backbone, language, tower)
    return language, tower


def _stored(identifier: str) -> dict[str, Any]:
    file = Path(locate(identifier)) / "config.json"
    if file.is_file():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    known = json.loads(SHAPES.read_text(encoding="utf-8"))
    if identifier in known:
        return dict(known[identifier])
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(identifier, "config.json")
    if isinstance(cached, str):
        return dict(json.loads(Path(cached).read_text(encoding="utf-8")))
    raise UserError(f"the shape of {identifier} is not known here: hf download {identifier} config.json")


def _check(backbone: BackboneConfig, language: Language, tower: Vision) -> None:
    where = f"backbone {backbone.name}"
    if language.num_attention_heads % language.num_key_value_heads:
        raise UserError(
            f"{where}: {language.num_attention_heads} heads cannot share {language.num_key_value_heads} keys"
        )
    if (tower.image_size, tower.patch_size) != backbone.tower_geometry():
        raise UserError(
            f"{where}: {backbone.vision_tower} has tile={tower.image_size} and patch={tower.patch_size}; correct them"
        )
    if any(side % tower.image_size for pair in backbone.pinpoints for side in pair):
        raise UserError(f"{where}: pinpoints must be multiples of the tower's {tower.image_size} pixels")


def projector(language: Language, tower: Vision) -> int:
    """Weights of the two linear layers and image_newline."""
    w, h = tower.hidden_size, language.hidden_size
    return w * h + h + h * h + h + h


def largest_picture(backbone: BackboneConfig) -> tuple[int, int]:
    """(tokens, views) of the picture that takes most tokens: one that fills its grid."""
    tile, patch = backbone.tower_geometry()
    grids = [grid(wide, high, backbone.pinpoints, tile, patch) for high, wide in backbone.pinpoints]
    return max((found.tokens, found.views) for found in grids)


def need(config: Any, language: Language, tower: Vision, ranks: int) -> Need:
    """Bytes on one GPU of a stage (a `TrainConfig`) spread over `ranks` processes."""
    adapter = _adapter(config.lora, language) if config.lora else 0
    learned = config.train_vision * tower.parameters + config.train_projector * projector(language, tower)
    learned += config.train_language_model * (adapter or language.parameters)
    total = language.parameters + tower.parameters + projector(language, tower) + adapter
    engine, ranks = config.engine.name, max(ranks, 1)
    whole, split = total, ranks if engine in ("deepspeed_zero2", "deepspeed_zero3", "fsdp2") else 1
    weights = whole / (ranks if engine in ("deepspeed_zero3", "fsdp2") else 1)
    if engine.startswith("deepspeed"):
        parts = (2 * weights, 2 * learned / split, 12 * learned / split)
    else:
        copies = 2 if config.dtype == "bfloat16" and engine != "fsdp2" else 0
        parts = ((4 + copies) * weights, 4 * learned / split, 8 * learned / split)
    return Need(*parts, activations=_activations(config, language, tower))


def _activations(config: Any, language: Language, tower: Vision) -> float:
    packed = config.batching == "packed"
    tokens = config.pack_length if packed else config.batch_size * config.max_length
    most, views = largest_picture(config.backbone)
    views *= max(1, tokens // most) if packed else config.batch_size
    h, i, w = language.hidden_size, language.intermediate_size, tower.hidden_size
    seen = views * tower.places
    kept = 2 * tokens * h * language.num_hidden_layers
    kept += 2 * seen * w * tower.num_hidden_layers * config.train_vision
    kept *= 1 if config.gradient_checkpointing else WITHOUT_CHECKPOINTING
    work = 2 * tokens * (8 * h + 4 * i) + 2 * seen * 12 * w
    return float(kept + work + 10 * tokens * SUPERVISED * language.vocab_size)


def _adapter(lora: Any, language: Language) -> int:
    """Weights of the low-rank adapters."""
    h, size = language.hidden_size, language.head_dim
    wide = {
        "q_proj": (h, size * language.num_attention_heads), "k_proj": (h, size * language.num_key_value_heads),
        "v_proj": (h, size * language.num_key_value_heads), "o_proj": (size * language.num_attention_heads, h),
        "gate_proj": (h, language.intermediate_size), "up_proj": (h, language.intermediate_size),
        "down_proj": (language.intermediate_size, h),
    }  # fmt: skip
    return int(language.num_hidden_layers * lora.rank * sum(sum(wide[name]) for name in lora.targets if name in wide))
