"""Contamination gate: training records that share a picture or a long stretch of words with a benchmark.

Three signs: the same pixels, a picture that looks the same (difference hash: sign of the change of brightness between
neighbours of a 9x8 thumbnail, 64 bits), and a run of words of a question. Short questions ("What colour is the bus?")
are common property and give no sign.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import orjson
from PIL import Image, UnidentifiedImageError

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.images import ImageFailure, ImageStore
from mmevol_core.sample import Sample
from mmevol_dataengine.vocabulary import words

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
TEXTS = {".tsv", ".json", ".jsonl"}
PLAIN_BITS = 6  # a hash with fewer bits of either kind belongs to a flat picture, and flat pictures all look the same
_BANDS = 4  # 16 bits each: hashes that differ in fewer bits than bands agree in one whole band


class GateConfig(Config):
    """What to compare with, and what to do with what is found."""

    benchmarks: Path  # folder of benchmark files: pictures, TSV (pictures in base64), JSON, JSONL
    action: Literal["drop", "keep"] = "drop"  # keep: count only
    hash_distance: int = 2  # of 64 bits, below 4; larger finds more, also wrongly
    words: int = 13  # length of a run of words that counts, as in the GPT-3 paper's filter


class Gate:
    """An index of the benchmarks present, to ask whether a sample meets one of them."""

    def __init__(self, config: GateConfig) -> None:
        if not 0 <= config.hash_distance < _BANDS:
            raise UserError(f"contamination.hash_distance is {config.hash_distance}; valid: 0 to {_BANDS - 1}")
        if not config.benchmarks.is_dir():
            raise UserError(f"benchmark folder not found: {config.benchmarks}; set data.contamination.benchmarks")
        self.config = config
        self.files: list[str] = []
        self.skipped: list[str] = []  # files that could not be read; an index with gaps must say so
        self._pixels: set[bytes] = set()
        self._bands: dict[tuple[int, int], list[int]] = {}
        self._runs: set[int] = set()
        for path in sorted(config.benchmarks.rglob("*")):
            if path.suffix.lower() in PICTURES | TEXTS:
                self._read(path)

    def check(self, sample: Sample, store: ImageStore) -> str | None:
        """The sign that a sample gives: same_image, similar_image, same_question; None when clean."""
        for name in sample.images:
            try:
                pixels, looks = fingerprints(store.path(name).read_bytes())
            except (ImageFailure, OSError, UnidentifiedImageError):
                continue  # an unreadable picture is the image check's business
            if pixels in self._pixels:
                return "same_image"
            if self._similar(looks):
                return "similar_image"
        for generation in sample.rounds:
            if any(not self._runs.isdisjoint(_runs(item.question, self.config.words)) for item in generation):
                return "same_question"
        return None

    def _similar(self, looks: int) -> bool:
        if _plain(looks):
            return False
        near = {other for band in _bands(looks) for other in self._bands.get(band, ())}
        return any((looks ^ other).bit_count() <= self.config.hash_distance for other in near)

    def _read(self, path: Path) -> None:
        try:
            if path.suffix.lower() in PICTURES:
                self._add_picture(path.read_bytes())
            else:
                for question, picture in _rows(path):
                    self._runs.update(_runs(question, self.config.words))
                    if picture:
                        self._add_picture(base64.b64decode(picture, validate=True))
        except (OSError, ValueError, csv.Error, binascii.Error, UnidentifiedImageError):
            self.skipped.append(str(path.relative_to(self.config.benchmarks)))
        else:
            self.files.append(str(path.relative_to(self.config.benchmarks)))

    def _add_picture(self, raw: bytes) -> None:
        pixels, looks = fingerprints(raw)
        self._pixels.add(pixels)
        if not _plain(looks):
            for band in _bands(looks):
                self._bands.setdefault(band, []).append(looks)


def fingerprints(raw: bytes) -> tuple[bytes, int]:
    """Digest of the decoded pixels (so that another encoding of the same pixels is the same), and difference hash."""
    with Image.open(io.BytesIO(raw)) as image:
        pixels = image.convert("RGB")
    digest = hashlib.blake2b(repr(pixels.size).encode() + pixels.tobytes(), digest_size=16).digest()
    grey = pixels.convert("L").resize((9, 8), Image.Resampling.BILINEAR).tobytes()
    bits = (grey[row * 9 + column] < grey[row * 9 + column + 1] for row in range(8) for column in range(8))
    return digest, sum(bit << place for place, bit in enumerate(bits))


def _plain(looks: int) -> bool:
    return not PLAIN_BITS <= looks.bit_count() <= 64 - PLAIN_BITS


def _bands(looks: int) -> Iterator[tuple[int, int]]:
    width = 64 // _BANDS
    for place in range(_BANDS):
        yield place, looks >> (place * width) & ((1 << width) - 1)


def _runs(text: str, length: int) -> Iterator[int]:
    tokens = words(text)
    for start in range(len(tokens) - length + 1):
        run = " ".join(tokens[start : start + length]).encode()
        yield int.from_bytes(hashlib.blake2b(run, digest_size=8).digest())


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """(question, picture in base64 or "") of a benchmark file, whatever its other columns."""
    if path.suffix.lower() == ".tsv":
        csv.field_size_limit(1 << 28)  # pictures in base64
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                picture = row.get("image") or ""
                yield row.get("question") or "", picture if len(picture) > 64 else ""  # shorter: the number of a row
        return
    raw = path.read_bytes()
    for document in raw.splitlines() if path.suffix.lower() == ".jsonl" else [raw]:
        if document.strip():
            yield from ((question, "") for question in _questions(orjson.loads(document)))


def _questions(value: Any) -> Iterator[str]:
    """Every text under a key that holds questions, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("question", "text", "query") and isinstance(inner, str):
                yield inner
            else:
                yield from _questions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _questions(inner)
