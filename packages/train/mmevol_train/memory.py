"""What a training stage needs of one GPU, from shapes alone: parameters, gradients, optimizer, activations.

P parameters, of which G learn, on N ranks, in bytes a parameter (arXiv 1910.02054, section 3, with what this trainer
keeps; DeepSpeed's bfloat16 engine holds bfloat16 weights and gradients and float32 copies in the optimizer, the other
engines float32 weights and gradients under autocast):

    engine            weights        gradients     optimizer (two moments, and a float32 copy under DeepSpeed)
    deepspeed_zero2   2 P            2 G / N       12 G / N
    deepspeed_zero3   2 P / N        2 G / N       12 G / N
    single, ddp       4 P (+ 2 P)    4 G            8 G        (+ 2 P: autocast keeps bfloat16 copies)
    fsdp2             4 P / N        4 G / N        8 G / N

QLoRA keeps the Q weights of the language model's matrices in NF4, whole on every rank, and only P - Q as above: 4 bits
and, for every 64 of them, a scale of 8 bits, 256 of which share a float32 (arXiv 2305.14314, section 3: 0.127 bits).

DeepSpeed's offload moves to host memory, of which every rank then needs as much:

    offload_optimizer   gradients and optimizer as above, and 4 G / N: the float32 gradients that AdamW reads there
    offload_param       2 P / N; on the GPU are the weights gathered for use, 2 times stage3_max_live_parameters at most

With `nvme` instead of `cpu` neither memory holds them.

Activations of a micro-batch with T tokens, S of them supervised, V views, in bfloat16, language model of width h with
inner width i, L layers, v words, tower of width w with C patches and L_v layers:

    kept         2 T h L     + 2 V C w L_v     with gradient checkpointing: what goes into each layer
                 16 times as much without it (attention and MLP of every layer)
    at work      2 T (8 h + 4 i) + 2 V C 12 w   the one layer that is computed again
    logits       10 S v      bfloat16, float32, and float32's gradient

The sum is an estimate for planning; buffers of the engine, fragments and CUDA itself are the 10 % that `fits` adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmevol_train.anyres import grid
from mmevol_train.parts import BackboneConfig
from mmevol_train.shapes import Language, Vision, projector

SUPERVISED = 1 / 3  # of a row's tokens, assumed for the logits
WITHOUT_CHECKPOINTING = 16
MARGIN = 1.1
NF4 = 4 / 8 + 1 / 64 + 4 / (64 * 256)  # bytes a weight
MAX_LIVE = 10**9  # DeepSpeed's default of stage3_max_live_parameters
SHARED = ("deepspeed_zero2", "deepspeed_zero3", "fsdp2")  # engines whose ranks share gradients and optimizer


@dataclass(frozen=True)
class Need:
    """Bytes on one GPU, and of host memory for its process."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    host: float = 0.0

    @property
    def total(self) -> float:
        """All of it on the GPU, without the margin."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def fits(self, capacity: float) -> bool:
        """Whether a GPU of that many bytes holds it with a tenth to spare."""
        return self.total * MARGIN <= capacity


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
    packed = language.matrices if config.lora and config.lora.four_bit else 0
    weights = (total - packed) / (ranks if engine in ("deepspeed_zero3", "fsdp2") else 1)
    learned /= ranks if engine in SHARED else 1
    activations = _activations(config, language, tower)
    if engine.startswith("deepspeed"):
        zero = config.engine.deepspeed.get("zero_optimization") or {}
        return _offloaded(
            zero, Need(2 * weights + NF4 * packed, 2 * learned, 12 * learned, activations), total, learned
        )
    copies = 2 if config.dtype == "bfloat16" and engine != "fsdp2" else 0
    return Need((4 + copies) * weights + NF4 * packed, 4 * learned, 8 * learned, activations)


def _offloaded(zero: Mapping[str, Any], found: Need, total: int, learned: float) -> Need:
    """What is left on the GPU of `found`, and what moves to host memory: of `total` weights and a rank's `learned`."""
    optimizer, weights = (
        (zero.get(part) or {}).get("device", "none") for part in ("offload_optimizer", "offload_param")
    )
    if optimizer != "none":
        kept = (found.gradients + found.optimizer + 4 * learned) if optimizer == "cpu" else 0.0
        found = replace(found, gradients=0.0, optimizer=0.0, host=kept)
    if weights != "none":
        live = zero.get("stage3_max_live_parameters", MAX_LIVE)
        live = 2.0 * min(total, MAX_LIVE if live == "auto" else int(live))
        found = replace(found, weights=live, host=found.host + found.weights * (weights == "cpu"))
    return found


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
