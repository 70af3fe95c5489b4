"""Pictures as the vision tower sees them: uint8 views, cut once, normalised later.

The views and the normalised values equal `LlavaNextImageProcessorPil` bit for bit (tests prove it); the work is
done on bytes, without the second resize and the per-tile normalisation of the original.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mmevol_core.images import PICTURE_ERRORS, ImageFailure, locate
from mmevol_train.anyres import Pinpoints, best_resolution
from mmevol_train.conversation import BadRow

OUTSIDE, ABSENT, UNREADABLE = "image path leaves the image root", "image not found", "image cannot be read"
MENDABLE = frozenset({OUTSIDE, ABSENT, UNREADABLE})  # reasons that lie in the image root and not in the row
Views = NDArray[np.uint8]  # (views, 3, tile, tile)


def locate_image(root: Path, name: str) -> Path:
    """A picture's path under the image root.

    Raises:
        BadRow: when the path leaves the root or there is no such file.
    """
    try:
        return locate(root, name)
    except ImageFailure as failed:
        raise BadRow(OUTSIDE if failed.reason == "outside_root" else ABSENT) from failed


def image_size(root: Path, name: str) -> tuple[int, int]:
    """(width, height) in pixels from the header alone; BadRow when it is no picture."""
    try:
        with Image.open(locate_image(root, name)) as image:
            return image.size
    except PICTURE_ERRORS as error:
        raise BadRow(UNREADABLE) from error


def read_views(path: Path, pinpoints: Pinpoints, tile: int, size: tuple[int, int] | None = None) -> Views:
    """Open a picture and cut it; BadRow when it cannot be decoded or is not of that (width, height) any more."""
    try:
        with Image.open(path) as image:
            if size is not None and image.size != size:
                raise BadRow(f"image was {size[0]}x{size[1]} pixels when the run began")
            return cut(image.convert("RGB"), pinpoints, tile)
    except PICTURE_ERRORS as error:
        raise BadRow(f"image cannot be decoded ({error})") from error


def cut(image: Image.Image, pinpoints: Pinpoints, tile: int) -> Views:
    """Base view and tiles of an RGB picture: resized to fit the best grid, centred, black outside."""
    width, height = image.size
    high, wide = best_resolution(width, height, pinpoints)
    base = image.resize((tile, tile), Image.Resampling.BICUBIC)
    canvas = np.zeros((high, wide, 3), np.uint8)
    inner_high, inner_wide = _fitted(width, height, high, wide)
    top, left = (high - inner_high) // 2, (wide - inner_wide) // 2
    fitted = image.resize((inner_wide, inner_high), Image.Resampling.BICUBIC)
    canvas[top : top + inner_high, left : left + inner_wide] = np.asarray(fitted)
    tiles = canvas.reshape(high // tile, tile, wide // tile, tile, 3).transpose(0, 2, 4, 1, 3)
    stacked = np.concatenate([np.asarray(base).transpose(2, 0, 1)[None], tiles.reshape(-1, 3, tile, tile)])
    return np.ascontiguousarray(stacked)


def _fitted(width: int, height: int, high: int, wide: int) -> tuple[int, int]:
    """(height, width) of the picture scaled to fit the grid, rounded up as transformers does."""
    if wide / width < high / height:
        return min(int(np.ceil(height * (wide / width))), high), wide
    return high, min(int(np.ceil(width * (high / height))), wide)


class Normalizer:
    """uint8 views to the tower's numbers, bit for bit as the processor computes them.

    By a table of 3 x 256 values; on a CPU by arithmetic, which is seven times as fast there, when it gives the values
    of the table.
    """

    def __init__(self, mean: list[float], std: list[float], scale: float = 1 / 255) -> None:
        levels = (np.arange(256).astype(np.float64) * scale).astype(np.float32)
        table = (levels[None] - np.array(mean, np.float32)[:, None]) / np.array(std, np.float32)[:, None]
        self._table = torch.from_numpy(table.astype(np.float32))  # (3, 256)
        self._mean, self._std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (mean, std))
        self._divisor = 1 / scale
        every = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
        self._computes = torch.equal(self._computed(every)[:, 0], self._table)

    def __call__(self, views: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """(..., 3, H, W) uint8 to the same shape of `dtype`, on the device of `views`."""
        if self._computes and views.device.type == "cpu":
            return self._computed(views).to(dtype)
        table = self._table.to(views.device)
        channels = [table[channel][views[..., channel, :, :].int()] for channel in range(3)]
        return torch.stack(channels, dim=-3).to(dtype)

    def _computed(self, views: torch.Tensor) -> torch.Tensor:
        return views.to(torch.float32).div_(self._divisor).sub_(self._mean).div_(self._std)
