"""Which parts make a model: the configuration of a backbone, readable without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from mmevol_core.config import Config
from mmevol_core.errors import UserError, unknown

STANDIN = "standin:"
WEIGHTS = Path(__file__).parent / "standins" / "weights"


class BackboneConfig(Config):
    """Which parts make a model. Ids are Hugging Face ids or folders, or `standin:NAME` for the ones shipped here."""

    name: str
    vision_tower: str
    language_model: str
    chat_template: Literal["qwen2", "llama3", "tokenizer"]  # tokenizer: the language model's own, label_mode answer
    system: str | None = None  # default system text; None: the template's own, "": none
    tile: int | None = Field(default=None, ge=1)  # side of the tower's picture, pixels; None: ask the tower
    patch: int | None = Field(default=None, ge=1)  # side of its patches, pixels; None: ask the tower
    pinpoints: tuple[tuple[int, int], ...]  # (height, width) of the grids a picture may take, pixels
    vision_feature_layer: int = -2  # whose output is read: 1 is the first, -1 the last
    vision_feature_select_strategy: Literal["default"] = "default"  # without the class token: it has no place in a grid
    projector_act: str = "gelu"
    projector_std: float | None = Field(default=None, gt=0)  # initial weights; None: the language model's own
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"

    def tower_geometry(self) -> tuple[int, int]:
        """(image size, patch size) of the vision tower in pixels, without its weights.

        Raises:
            UserError: when neither this configuration nor the tower's own says them.
        """
        if self.tile and self.patch:
            return self.tile, self.patch
        tile, patch = _geometry(self.vision_tower)
        return self.tile or tile, self.patch or patch

    def check_tower(self, tile: int, patch: int, layers: int) -> None:
        """Whether a tower of that picture and patch size in pixels, and of so many layers, fits.

        Raises:
            UserError: when it does not.
        """
        where = f"backbone {self.name}"
        if (tile, patch) != self.tower_geometry():
            raise UserError(f"{where}: {self.vision_tower} has tile={tile} and patch={patch}; correct them")
        if any(side % tile for pair in self.pinpoints for side in pair):
            raise UserError(f"{where}: pinpoints must be multiples of the tower's {tile} pixels")
        if not 1 <= abs(self.vision_feature_layer) <= layers:
            raise UserError(
                f"{where}: vision_feature_layer={self.vision_feature_layer}, but {self.vision_tower} has the layers "
                f"1 to {layers}, or -{layers} to -1 from the end"
            )


def locate(identifier: str) -> str:
    """A Hugging Face id or folder as it is, a stand-in as its folder; UserError when there is no such stand-in."""
    if not identifier.startswith(STANDIN):
        return identifier
    folder = WEIGHTS / identifier.removeprefix(STANDIN)
    if not (folder / "config.json").is_file():
        shipped = [STANDIN + path.parent.name for path in WEIGHTS.glob("*/config.json")]
        raise unknown("stand-in", identifier, shipped, where="backbone")
    return str(folder)


def _geometry(identifier: str) -> tuple[int, int]:
    """(image size, patch size) from a tower's config.json; the hub's copy when it is no folder here."""
    file = Path(locate(identifier)) / "config.json"
    if not file.is_file():
        file = _from_hub(identifier)
    stored = json.loads(file.read_text(encoding="utf-8"))
    vision = stored.get("vision_config", stored)
    if not {"image_size", "patch_size"} <= vision.keys():
        raise UserError(f"{identifier}: config.json gives no image_size and patch_size; set backbone.tile and .patch")
    return int(vision["image_size"]), int(vision["patch_size"])


def _from_hub(identifier: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(identifier, "config.json"))
    except (LocalEntryNotFoundError, EntryNotFoundError, HFValidationError, OSError) as error:
        raise UserError(
            f"cannot load {identifier}: {str(error).strip().splitlines()[0]} "
            "Give a Hugging Face id or folder, standin:NAME, or set backbone.tile and backbone.patch"
        ) from error
