"""Arithmetic of a training step, counted from shapes, and how much of the machine's it is (MFU).

One multiply-add is two operations. With P the weights of all matrices a token passes through (embeddings are looked
up, not multiplied; the head counts for supervised tokens only), L layers of width h, and a segment of T tokens:

    forward(segment) = 2 P T + 2 L h T^2             (causal attention: scores and values, 2 x 2 h T^2 / 2)
    forward(view)    = 2 P_v V + 4 L_v h_v V^2       (V patches and the class token, attention in both directions)
    projector        = 2 P_p for every patch

Backward costs as much again for the gradients of activations, and as much again for those of weights that learn:
a learning part counts 3 x forward, a frozen part behind a learning one 2 x, a frozen part before all learning ones 1 x.
Adapters learn, the matrices that they adapt do not: 2 x these and 3 x those, 2 r (in + out) a token and matrix.
Work done twice (gradient checkpointing) and padding do not count: MFU = counted / (seconds x peak), PaLM's definition
(arXiv 2204.02311, appendix B).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# dense bfloat16 operations a second by part of the name that CUDA reports; NVIDIA's data sheets
PEAKS = {
    "H200": 989e12,
    "H100": 989e12,
    "H800": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "B200": 2250e12,
}


def peak_flops(device: str) -> float | None:
    """Dense bfloat16 operations a second of a GPU by its name; None when it is not known."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def layer_weights(config: Any) -> int:
    """Matrix weights of one layer of a language model (attention with shared keys, gated MLP)."""
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    attention = config.hidden_size * size * (2 * heads + 2 * shared)
    return int(attention + 3 * config.hidden_size * config.intermediate_size)


def language_forward(config: Any, segments: Iterable[int], supervised: int | None = None) -> float:
    """Forward operations of a language model on segments of that many tokens; the head on `supervised` of them."""
    lengths = list(segments)
    tokens, weights = sum(lengths), config.num_hidden_layers * layer_weights(config)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = 2 * config.num_hidden_layers * config.num_attention_heads * size * sum(n * n for n in lengths)
    head = 2 * config.hidden_size * config.vocab_size * (tokens if supervised is None else supervised)
    return float(2 * weights * tokens + attention + head)


def adapter_forward(config: Any, tokens: int, rank: int, targets: Iterable[str]) -> float:
    """Forward operations of low-rank adapters on the linear layers of those names, one of each in every layer."""
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    hidden, wide, inner = config.hidden_size, heads * size, config.intermediate_size
    shared = (getattr(config, "num_key_value_heads", None) or heads) * size
    ends = {
        "q_proj": hidden + wide, "k_proj": hidden + shared, "v_proj": hidden + shared, "o_proj": wide + hidden,
        "gate_proj": hidden + inner, "up_proj": hidden + inner, "down_proj": inner + hidden,
    }  # fmt: skip
    return float(2 * tokens * config.num_hidden_layers * rank * sum(ends.get(name, 0) for name in targets))


def vision_forward(config: Any, views: int) -> float:
    """Forward operations of a CLIP tower on `views` tiles, up to the layer before the last."""
    places = (config.image_size // config.patch_size) ** 2 + 1
    layer = config.hidden_size * (4 * config.hidden_size + 2 * config.intermediate_size)
    layers = config.num_hidden_layers - 1
    patches = 3 * config.patch_size**2 * config.hidden_size * (places - 1)
    return float(views * (2 * patches + layers * (2 * layer * places + 4 * config.hidden_size * places**2)))


def projector_forward(config: Any, views: int) -> float:
    """Forward operations of the two linear layers between tower and language model."""
    patches = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    wide, hidden = config.vision_config.hidden_size, config.text_config.hidden_size
    return float(2 * views * patches * (wide * hidden + hidden * hidden))


def step_flops(config: Any, segments: Iterable[int], views: int, trained: Any, supervised: int | None = None) -> float:
    """Operations of one step, forward and backward, of a LLaVA-NeXT `config`.

    `trained` has train_vision, train_projector, train_language_model and lora. `supervised` tokens reach the head.
    """
    vision, projector, lora, lengths = trained.train_vision, trained.train_projector, trained.lora, list(segments)
    language = 3 if trained.train_language_model and lora is None else 2 if vision or projector or lora else 1
    adapters = adapter_forward(config.text_config, sum(lengths), lora.rank, lora.targets) if lora else 0.0
    between = 3 if projector else 2 if vision else 1
    return (
        language * language_forward(config.text_config, lengths, supervised)
        + 3 * adapters
        + (3 if vision else 1) * vision_forward(config.vision_config, views)
        + between * projector_forward(config, views)
    )
