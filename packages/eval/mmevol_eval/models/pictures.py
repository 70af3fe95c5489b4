"""Pictures as pixels: each distinct one is preprocessed once, many in one call of the checkpoint's processor."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError

CACHE_BYTES = 512 << 20  # preprocessed pictures kept


@dataclass(frozen=True, slots=True)
class Views:
    """A preprocessed picture: pixels (views, 3, H, W), original (height, width), tokens it takes."""

    pixels: torch.Tensor
    size: tuple[int, int]
    tokens: int


class Pictures:
    """The views of pictures, the latest of them kept by content.

    Args:
        processor: of the checkpoint; it says how many tokens a picture takes.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._views: OrderedDict[str, Views] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Pictures kept."""
        return len(self._views)

    def prepare(self, images: Iterable[bytes | Path]) -> None:
        """Preprocess those that are not kept yet, together; what cannot be read is left to `view`, which names it."""
        opened: dict[str, Image.Image] = {}
        for image in images:
            try:
                data = _read(image)
                key = _key(data)
                if key not in self._views and key not in opened:
                    opened[key] = _open(data)
            except (UnidentifiedImageError, OSError):
                continue
        if opened:
            self._add(opened)

    def view(self, image: bytes | Path) -> Views:
        """A picture's views, kept or made now.

        Raises:
            OSError: the picture cannot be read (`UnidentifiedImageError` among them).
        """
        data = _read(image)
        key = _key(data)
        if key not in self._views:
            self._add({key: _open(data)})
        self._views.move_to_end(key)
        return self._views[key]

    def _add(self, opened: dict[str, Image.Image]) -> None:
        # One call for all: the processor's checks of its own arguments take as long as a small picture does.
        made = self._processor.image_processor(images=list(opened.values()), do_pad=False)
        sizes = [(picture.height, picture.width) for picture in opened.values()]
        tokens = self._processor._get_num_multimodal_tokens(image_sizes=sizes)["num_image_tokens"]
        for key, pixels, size, taken in zip(opened, made["pixel_values"], sizes, tokens, strict=True):
            views = Views(torch.from_numpy(pixels), size, int(taken))
            self._views[key] = views
            self._bytes += views.pixels.nbytes
        while self._bytes > CACHE_BYTES and len(self._views) > 1:
            self._bytes -= self._views.popitem(last=False)[1].pixels.nbytes


def _read(image: bytes | Path) -> bytes:
    return image if isinstance(image, bytes) else image.read_bytes()


def _key(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _open(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as opened:
        return opened.convert("RGB")
