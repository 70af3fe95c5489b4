"""Images on their way to a chat model: safe to open, prepared once, never prepared on the event loop."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import posixpath
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field

from mmevol_core.config import Config

# What Pillow raises over a file that is no picture, is cut or broken, or would decode to too much. Such a file is data.
PICTURE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

Reason = Literal["outside_root", "missing", "truncated", "unreadable", "too_large"]


class ImageFailure(Exception):  # noqa: N818 - a row's failure, not a defect
    """An image that cannot be used; `reason` is what a ledger counts."""

    def __init__(self, reason: Reason, name: str, detail: str = "") -> None:
        super().__init__(f"image {name!r}: {reason}{': ' if detail else ''}{detail}")
        self.reason, self.name = reason, name


class ImagePolicy(Config):
    """What a model is sent: part of every request's key through the digest of the picture."""

    max_side: int | None = Field(default=1024, ge=16)  # longer sides are reduced to this many pixels
    format: Literal["keep", "jpeg", "png"] = "keep"  # keep: the file's own bytes if they need no change
    quality: int = Field(default=90, ge=1, le=100)  # of JPEG
    max_pixels: int = Field(default=64_000_000, gt=0)  # refuse decompression bombs
    max_bytes: int = Field(default=32 << 20, gt=0)  # refuse larger files


@dataclass(frozen=True, slots=True)
class Picture:
    """An image ready to be sent.

    `digest` fingerprints the prepared bytes; `url` is a JSON string literal (with quotes) holding the data URL, so
    that a request's body is built without escaping it again; sizes are (width, height) in pixels.
    """

    digest: str
    url: orjson.Fragment
    size: tuple[int, int]
    original_size: tuple[int, int]
    bytes: int


def locate(root: Path, name: str) -> Path:
    """The file behind a name relative to an image root. Links below the root are followed wherever they lead: they are
    the user's, names are a data file's.

    Raises:
        ImageFailure: `outside_root` when the name leaves the root (`..`, an absolute path), `missing`.
    """
    base = Path(os.path.normpath(root.absolute()))
    try:
        path = Path(os.path.normpath(base / name))
        below = path.is_relative_to(base) or path.resolve().is_relative_to(base.resolve())
        there = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # name too long, NUL inside, a loop of links
        raise ImageFailure("missing", name, str(error)) from error
    if not below:
        raise ImageFailure("outside_root", name)
    if not there:
        raise ImageFailure("missing", name)
    return path


def plain_name(name: str) -> str:
    """One spelling of a picture's name: `./b//x.jpg` is `b/x.jpg`."""
    return posixpath.normpath(name)


class ImageStore:
    """Opens images under one root. Prepared pictures are kept in a cache of at most `cache_mb`."""

    def __init__(self, root: Path, policy: ImagePolicy | None = None, cache_mb: int = 64) -> None:
        self.policy = policy or ImagePolicy()
        self._root = root
        self._room = cache_mb << 20
        self._used = 0
        self._cache: OrderedDict[str, Picture] = OrderedDict()
        self._coming: dict[str, asyncio.Future[Picture]] = {}

    def path(self, name: str) -> Path:
        """The file behind a relative name.

        Raises:
            ImageFailure: when the name leaves the root, or when there is no such file.
        """
        return locate(self._root, name)

    async def get(self, name: str) -> Picture:
        """The prepared picture; one preparation however many ask for it at the same time.

        Raises:
            ImageFailure: with the reason.
        """
        while True:
            if picture := self._cache.get(name):
                self._cache.move_to_end(name)
                return picture
            coming = self._coming.get(name)
            if coming is None:
                break
            await asyncio.wait([coming])  # its failure or cancellation is its owner's; then look again
            if not coming.cancelled():
                return coming.result()
        future = self._coming[name] = asyncio.ensure_future(asyncio.to_thread(self.load, name))
        try:
            picture = await future
        finally:
            del self._coming[name]
        self._keep(name, picture)
        return picture

    def _keep(self, name: str, picture: Picture) -> None:
        self._cache[name] = picture
        self._used += picture.bytes
        while self._used > self._room and len(self._cache) > 1:
            self._used -= self._cache.popitem(last=False)[1].bytes

    def load(self, name: str) -> Picture:
        """The same as `get` without a cache, in the calling thread."""
        path = self.path(name)
        size = path.stat().st_size
        if size > self.policy.max_bytes:
            raise ImageFailure("too_large", name, f"{size} bytes, allowed {self.policy.max_bytes}")
        return prepare(path.read_bytes(), self.policy, name)


def prepare(raw: bytes, policy: ImagePolicy, name: str) -> Picture:
    """Check, turn upright, reduce and encode one image.

    Raises:
        ImageFailure: truncated, unreadable or too large; `name` is only for the message.
    """
    try:
        with Image.open(io.BytesIO(raw)) as image:
            original = image.size
            if image.width * image.height > policy.max_pixels:
                raise ImageFailure("too_large", name, f"{image.width}x{image.height} pixels")
            image.load()  # the only way to see that a file is whole
            sent, kind, size = _encode(image, raw, policy)
    except Image.DecompressionBombError as error:  # Pillow refuses more than twice its own limit by itself
        raise ImageFailure("too_large", name, str(error)) from error
    except UnidentifiedImageError as error:  # its own words hold the address of the buffer, another in every run
        raise ImageFailure("unreadable", name, "no image format is known by these bytes") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise for broken data
        cut = "truncated" in str(error) or "ended" in str(error)
        raise ImageFailure("truncated" if cut else "unreadable", name, str(error)) from error
    url = b'"data:image/' + kind.encode() + b";base64," + base64.b64encode(sent) + b'"'
    digest = hashlib.blake2b(sent, digest_size=16).hexdigest()
    return Picture(digest, orjson.Fragment(url), size, original, len(url))


def _encode(image: Image.Image, raw: bytes, policy: ImagePolicy) -> tuple[bytes, str, tuple[int, int]]:
    """Bytes to send, their kind (jpeg, png, ...), and (width, height)."""
    own = (image.format or "").lower()
    fits = policy.max_side is None or max(image.size) <= policy.max_side
    turned = image.getexif().get(0x0112, 1) != 1  # EXIF orientation: 1 is upright
    if fits and not turned and own in {"jpeg", "png"} and policy.format in {"keep", own}:
        return raw, own, image.size
    kind = policy.format if policy.format != "keep" else ("png" if own == "png" else "jpeg")
    upright = ImageOps.exif_transpose(image).convert("RGB")
    if policy.max_side is not None and not fits:
        upright.thumbnail((policy.max_side, policy.max_side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    upright.save(out, kind, quality=policy.quality)
    return out.getvalue(), kind, upright.size
