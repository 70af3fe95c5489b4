"""Pictures of prompts: what they take in tokens, their pixels, and what the network makes of them.

A prompt's length needs a picture's size alone, which its first bytes tell. Pixels are prepared when a batch is about to
be answered, many in one call of the checkpoint's processor. The features that the vision tower makes are kept by
content, so a picture is prepared and seen once however many questions it has (twice at worst, where two batches that
are at work at the same time meet it first).
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from PIL import Image

from mmevol_core.images import PICTURE_ERRORS
from mmevol_eval.benchmark import image_bytes

CACHE_BYTES = 512 << 20  # features kept

Encode = Callable[[Sequence["Views"]], list[torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture before it is decoded: digest, where it comes from, (height, width), tokens it takes."""

    key: str
    source: bytes | Path
    size: tuple[int, int]
    tokens: int


@dataclass(frozen=True, slots=True)
class Views:
    """A preprocessed picture: pixels (views, 3, H, W), original (height, width)."""

    pixels: torch.Tensor
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Pictures of a batch by key: pixels, or the features that were kept then, which stay however few are kept now."""

    views: Mapping[str, Views]
    features: Mapping[str, torch.Tensor]


class Pictures:
    """Pictures as features (tokens, D), the latest of them kept. Several threads may ask at once.

    Args:
        processor: of the checkpoint; it says how many tokens a picture takes.
        encode: views to features, a list as long.
    """

    def __init__(self, processor: Any, encode: Encode) -> None:
        self._processor, self._encode = processor, encode
        self._tokens: dict[tuple[int, int], int] = {}  # by size
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()  # of the features kept

    def __len__(self) -> int:
        """Pictures whose features are kept."""
        return len(self._features)

    def look(self, source: bytes | Path) -> Picture:
        """A picture's size, read from its header.

        Raises:
            PICTURE_ERRORS: it cannot be read.
        """
        data = image_bytes(source)
        with Image.open(io.BytesIO(data)) as opened:
            size = (opened.height, opened.width)
        if size not in self._tokens:
            taken = self._processor._get_num_multimodal_tokens(image_sizes=[size])["num_image_tokens"]
            self._tokens[size] = int(taken[0])
        return Picture(_key(data), source, size, self._tokens[size])

    def prepare(self, pictures: Iterable[Picture]) -> tuple[Prepared, dict[str, str]]:
        """What `features` needs of these pictures; of those that cannot be decoded, the error's name by key."""
        wanted = {picture.key: picture for picture in pictures}
        kept = self._kept(wanted)
        opened: dict[str, Image.Image] = {}
        broken: dict[str, str] = {}
        for key, picture in wanted.items():
            if key in kept:
                continue
            try:
                opened[key] = _open(image_bytes(picture.source))
            except PICTURE_ERRORS as error:
                broken[key] = type(error).__name__
        if not opened:
            return Prepared({}, kept), broken
        # One call for all: the processor's checks of its own arguments take as long as a small picture does.
        made = self._processor.image_processor(images=list(opened.values()), do_pad=False)
        pairs = zip(opened.items(), made["pixel_values"], strict=True)
        views = {key: Views(torch.from_numpy(pixels), (image.height, image.width)) for (key, image), pixels in pairs}
        return Prepared(views, kept), broken

    def features(self, pictures: Sequence[Picture], prepared: Prepared) -> list[torch.Tensor]:
        """Features of each, kept or made now; `prepare` gave `prepared` for the same pictures, or more."""
        wanted = dict.fromkeys(picture.key for picture in pictures)
        known = {**prepared.features, **self._kept(wanted)}
        found = {key: known[key] for key in wanted if key in known}
        missing = [key for key in wanted if key not in found]
        if missing:
            made = self._encode([prepared.views[key] for key in missing])
            found |= zip(missing, made, strict=True)
        self._keep(found)
        return [found[picture.key] for picture in pictures]

    def forget(self) -> set[str]:
        """Let go of all that is kept, where memory is short; the keys of what it was."""
        with self._lock:
            gone = set(self._features)
            self._features.clear()
            self._bytes = 0
        return gone

    def _kept(self, keys: Iterable[str]) -> dict[str, torch.Tensor]:
        with self._lock:
            return {key: self._features[key] for key in keys if key in self._features}

    def _keep(self, used: Mapping[str, torch.Tensor]) -> None:
        with self._lock:
            for key, features in used.items():
                if key not in self._features:
                    self._bytes += features.nbytes
                    self._features[key] = features
                self._features.move_to_end(key)
            while self._bytes > CACHE_BYTES and len(self._features) > 1:
                self._bytes -= self._features.popitem(last=False)[1].nbytes


def _key(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _open(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as opened:
        return opened.convert("RGB")
