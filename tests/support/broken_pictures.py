"""Files that are no whole picture, in ways that Pillow answers with errors of different kinds."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def broken_png() -> bytes:
    """A picture whose second block of pixels has a name that no PNG may have: Pillow raises SyntaxError."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    before, _, after = file.getvalue().rpartition(b"IDAT")
    return before + b"\1\2\3\4" + after


def huge_png(side: int = 40_000) -> bytes:
    """A header of `side` times `side` pixels: Pillow raises DecompressionBombError."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    begin = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13)
    return begin + header + struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 0) + b"IDAT"
