"""Contamination gate: training records that share a picture or a long stretch of words with a benchmark.

Three signs: the same pixels, a picture that looks the same (difference hash: sign of the change of brightness between
neighbours of a 9x8 thumbnail, 64 bits), and a run of words of a question. Short questions ("What colour is the bus?")
are common property and give no sign.

What was met is told from both sides: the record, and the benchmark's items. A picture in a file of its own stands for
all items that show it; which these are, the evaluation knows.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson
from PIL import Image

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.images import PICTURE_ERRORS, ImageFailure, ImageStore
from mmevol_core.sample import Sample
from mmevol_dataengine.vocabulary import words

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
TEXTS = {".tsv", ".json", ".jsonl"}
PLAIN_BITS = 6  # a hash with fewer bits of either kind belongs to a flat picture, and flat pictures all look the same
_HOLD_QUESTIONS = ("question", "text", "query", "instruction")  # keys of a JSON file that hold one
_NUMBER_ITEMS = ("index", "question_id", "id", "pid")  # keys that number an item; without one: its own key or place
_NUMBER = 64  # a cell for a picture that is not longer holds the index of another row
_BANDS = 4  # 16 bits each: hashes that differ in fewer bits than bands agree in one whole band


class GateConfig(Config):
    """What to compare with, and what to do with what is found."""

    benchmarks: Path  # folder of benchmark files: pictures, TSV (pictures in base64), JSON, JSONL
    action: Literal["drop", "keep"] = "drop"  # keep: count only
    hash_distance: int = 2  # of 64 bits, below 4; larger finds more, also wrongly
    words: int = 13  # length of a run of words that counts, as in the GPT-3 paper's filter
    version: Literal["2"] = "2"  # of what the gate finds and lists: raised, only seeds behind a gate are made again


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in the benchmarks something stands: an item, or a picture file that stands for its items."""

    benchmark: str  # first part of the path below the folder, without suffix
    index: str = ""  # the item's
    picture: str = ""  # the file, relative to the folder


class Meeting(NamedTuple):
    """A sign (same_image, similar_image, same_question), and where it points."""

    sign: str
    place: Place

    def row(self, record: str) -> dict[str, str]:
        """A line of `contaminated_items.jsonl`: {"benchmark", "index" or "picture", "how", "record"}."""
        named = {key: value for key, value in asdict(self.place).items() if value}
        return {**named, "how": self.sign, "record": record}


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
        self._pixels: dict[bytes, list[Place]] = {}
        self._looks: dict[int, list[Place]] = {}
        self._bands: dict[tuple[int, int], list[int]] = {}
        self._runs: dict[int, list[Place]] = {}
        for path in sorted(config.benchmarks.rglob("*")):
            if path.suffix.lower() in PICTURES | TEXTS:
                self._read(path)

    def check(self, sample: Sample, store: ImageStore) -> list[Meeting]:
        """What a sample meets, each place once, the strongest sign first for each picture; empty when clean."""
        met: dict[Place, str] = {}
        for name in sample.images:
            try:
                pixels, looks = fingerprints(store.path(name).read_bytes())
            except (ImageFailure, *PICTURE_ERRORS):
                continue  # an unreadable picture is the image check's business
            _note(met, "same_image", self._pixels.get(pixels, ()))
            for other in self._similar(looks):
                _note(met, "similar_image", self._looks[other])
        for generation in sample.rounds:
            for item in generation:
                for run in _runs(item.question, self.config.words):
                    _note(met, "same_question", self._runs.get(run, ()))
        return [Meeting(sign, place) for place, sign in met.items()]

    def _similar(self, looks: int) -> list[int]:
        if _plain(looks):
            return []
        near = {other for band in _bands(looks) for other in self._bands.get(band, ())}
        return sorted(other for other in near if (looks ^ other).bit_count() <= self.config.hash_distance)

    def _read(self, path: Path) -> None:
        name = path.relative_to(self.config.benchmarks)
        benchmark = name.parts[0] if len(name.parts) > 1 else name.stem
        try:
            if path.suffix.lower() in PICTURES:
                self._add_picture(fingerprints(path.read_bytes()), Place(benchmark, picture=name.as_posix()))
            else:
                self._add_rows(path, benchmark)
        except (*PICTURE_ERRORS, csv.Error):  # binascii.Error is a ValueError
            self.skipped.append(str(name))
        else:
            self.files.append(str(name))

    def _add_rows(self, path: Path, benchmark: str) -> None:
        """Questions and pictures of a file; a cell for a picture may hold the index of the row that has it."""
        pictures: dict[str, list[tuple[bytes, int]]] = {}
        shown: list[tuple[Place, str]] = []  # item, index of the row with its pictures
        for index, question, cell in _rows(path):
            place = Place(benchmark, index)
            for run in _runs(question, self.config.words):
                self._runs.setdefault(run, []).append(place)
            if len(cell) > _NUMBER:
                pictures[index] = [fingerprints(base64.b64decode(one, validate=True)) for one in _several(cell)]
            shown.append((place, index if len(cell) > _NUMBER else cell))
        for place, index in shown:
            for prints in pictures.get(index, ()):
                self._add_picture(prints, place)

    def _add_picture(self, prints: tuple[bytes, int], place: Place) -> None:
        pixels, looks = prints
        self._pixels.setdefault(pixels, []).append(place)
        if not _plain(looks):
            if looks not in self._looks:
                for band in _bands(looks):
                    self._bands.setdefault(band, []).append(looks)
            self._looks.setdefault(looks, []).append(place)


def _note(met: dict[Place, str], sign: str, places: Iterable[Place]) -> None:
    for place in places:
        met.setdefault(place, sign)


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


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """(index, question, cell of the picture or "") of a benchmark file, whatever its other columns."""
    if path.suffix.lower() == ".tsv":
        csv.field_size_limit(1 << 28)  # pictures in base64
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file, delimiter="\t")):
                yield row.get("index") or str(number), row.get("question") or "", row.get("image") or ""
        return
    raw = path.read_bytes()
    lines = raw.splitlines() if path.suffix.lower() == ".jsonl" else [raw]
    for number, document in enumerate(line for line in lines if line.strip()):
        yield from ((index, question, "") for index, question in _questions(orjson.loads(document), str(number)))


def _several(cell: str) -> list[str]:
    """The pictures of a cell: one in base64, or a list of them as Python writes it."""
    return [one.strip(" '\"") for one in cell.strip("[]").split(",")] if cell.startswith("[") else [cell]


def _questions(value: Any, index: str) -> Iterator[tuple[str, str]]:
    """(index, text) under every key that holds questions, at any depth."""
    if isinstance(value, dict):
        own = next((str(value[key]) for key in _NUMBER_ITEMS if isinstance(value.get(key), str | int)), index)
        for key, inner in value.items():
            if key in _HOLD_QUESTIONS and isinstance(inner, str):
                yield own, inner
            else:
                yield from _questions(inner, key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _questions(inner, str(number))
