"""Sizes of a backbone's parts and the parameters that follow from them, without a weight and without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_train.config import LINEAR
from mmevol_train.parts import BackboneConfig, locate

SHAPES = Path(__file__).parent / "shapes.json"


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
    def matrices(self) -> int:
        """Weights of the linear layers without the head: grouped attention and gated MLP."""
        heads = 2 * self.num_attention_heads + 2 * self.num_key_value_heads  # queries and output, keys and values
        return self.num_hidden_layers * self.hidden_size * (self.head_dim * heads + 3 * self.intermediate_size)

    @property
    def parameters(self) -> int:
        """Weights of a Llama-like model: its matrices, two norms a layer, biases, embeddings."""
        h, wide = self.hidden_size, self.head_dim * (self.num_attention_heads + 2 * self.num_key_value_heads)
        embeddings = self.vocab_size * h * (1 if self.tie_word_embeddings else 2)
        return self.matrices + self.num_hidden_layers * (self.attention_bias * wide + 2 * h) + h + embeddings


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


def linear_layers(identifier: str) -> tuple[str, ...]:
    """Names of the linear layers of a language model where its family is known here, else none."""
    try:
        stored = _stored(identifier)
    except UserError:  # its weights may still be fetched
        return ()
    return LINEAR if stored.get("text_config", stored).get("model_type") in ("qwen2", "llama") else ()


def _stored(identifier: str) -> dict[str, Any]:
    file = Path(locate(identifier)) / "config.json"
    if file.is_file():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    known = json.loads(SHAPES.read_text(encoding="utf-8"))
    if identifier in known:
        return dict(known[identifier])
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(identifier, "config.json")
    except HFValidationError:  # a folder that is not here
        cached = None
    if isinstance(cached, str):
        return dict(json.loads(Path(cached).read_text(encoding="utf-8")))
    raise UserError(f"the shape of {identifier} is not known here: hf download {identifier} config.json")


def _check(backbone: BackboneConfig, language: Language, tower: Vision) -> None:
    if language.num_attention_heads % language.num_key_value_heads:
        raise UserError(
            f"backbone {backbone.name}: {language.num_attention_heads} heads cannot share "
            f"{language.num_key_value_heads} keys"
        )
    backbone.check_tower(tower.image_size, tower.patch_size, tower.num_hidden_layers)


def projector(language: Language, tower: Vision) -> int:
    """Weights of the two linear layers and image_newline."""
    w, h = tower.hidden_size, language.hidden_size
    return w * h + h + h * h + h + h
