"""The published form of a checkpoint: the same folder for transformers 4 and 5, and for what is built on either.

transformers 5 writes shorter names of a CLIP tower, rotary parameters under one new key, and a tokenizer's class and
added tokens as its predecessor does not know them; that one then trains or answers with a random tower and says little.
All of it is also read in the old form by transformers 5.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from mmevol_core.files import read_json, replacing, write_json

NAMES = (  # beginnings, the first that fits; transformers itself renames no model that FSDP2 has wrapped
    ("vision_tower.vision_model.", "vision_tower.vision_model."),
    ("model.vision_tower.", "vision_tower.vision_model."),
    ("vision_tower.", "vision_tower.vision_model."),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", ""),
)


def publish(folder: Path) -> None:
    """Rewrite what `save_pretrained` has left in `folder`, whatever engine the weights came from."""
    config = read_json(folder / "config.json")
    _add_flat_rope(config["text_config"])
    write_json(folder / "config.json", config)
    tokens = read_json(folder / "tokenizer_config.json")
    _earlier_tokenizer(tokens)
    write_json(folder / "tokenizer_config.json", tokens)
    if config["vision_config"]["model_type"] != "clip_vision_model":
        return
    for path in folder.glob("*.safetensors"):
        _rename_weights(path)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        stored = read_json(index)
        stored["weight_map"] = {published(name): file for name, file in stored["weight_map"].items()}
        write_json(index, stored)


def published(name: str) -> str:
    """A weight's name in the published LLaVA-NeXT checkpoints."""
    for begins, becomes in NAMES:
        if name.startswith(begins):
            return becomes + name.removeprefix(begins)
    return name


def _rename_weights(path: Path) -> None:
    """Names stand in the header alone (safetensors format: its length in 8 bytes, JSON, bytes of the tensors)."""
    with path.open("rb") as old:
        header = json.loads(old.read(int.from_bytes(old.read(8), "little")))
        renamed = {published(name): place for name, place in header.items()}
        if renamed == header:
            return
        text = json.dumps(renamed, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
        with replacing(path) as new:
            new.write(len(text).to_bytes(8, "little") + text)
            shutil.copyfileobj(old, new, 2**24)


def _add_flat_rope(text: dict[str, Any]) -> None:
    """Rotary parameters as transformers 4 knows them; without, it takes a base of 10,000."""
    rope = dict(text.get("rope_parameters") or {})
    if "rope_theta" not in rope:  # by type of layer: there is no flat form
        return
    text["rope_theta"] = rope.pop("rope_theta")
    if rope.get("rope_type", "default") != "default":
        text["rope_scaling"] = rope


def _earlier_tokenizer(tokens: dict[str, Any]) -> None:
    """Class and added special tokens under the names that both read."""
    if tokens.get("tokenizer_class") == "TokenizersBackend":
        tokens["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(tokens.get("extra_special_tokens"), list):
        tokens["additional_special_tokens"] = tokens.pop("extra_special_tokens")
