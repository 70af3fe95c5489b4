"""Images as the official files carry them."""

from __future__ import annotations

import base64
from functools import lru_cache
from pathlib import Path

from PIL import Image

from mmevol_core.files import replacing

JPEG_QUALITY = 100  # as near to the source's flat colours as JPEG comes


@lru_cache(maxsize=4096)
def base64_image(path: Path) -> str:
    """A picture's own bytes, as a TSV's `image` cell holds them."""
    return base64.b64encode(path.read_bytes()).decode("ascii")


def write_jpeg(source: Path, target: Path) -> None:
    """Store a picture as JPEG without colour subsampling (GQA and COCO publish JPEG); skip it when it is there."""
    if not target.is_file():
        with Image.open(source) as picture, replacing(target) as file:
            picture.convert("RGB").save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
