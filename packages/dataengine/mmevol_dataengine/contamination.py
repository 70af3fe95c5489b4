"""Contamination gate: training records that share a picture or a long stretch of words with a benchmark.

Three signs: the same pixels, a picture that looks the same (difference hash: sign of the change of brightness between
neighbours of a 9x8 thumbnail, 64 bits), and a run of words of a question. Short questions ("What colour is the bus?")
are common property and give no sign.

What was met is told from both sides: the record, and the benchmark's items. A picture in a file of its own stands for
all items that show it; which these are, the evaluation knows.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.files import files_below, write_jsonl
from mmevol_core.images import PICTURE_ERRORS, ImageFailure, ImageStore
from mmevol_core.sample import Sample
from mmevol_dataengine.benchmark_files import PICTURES, READ, read_items
from mmevol_dataengine.vocabulary import words

PLAIN_BITS = 6  # a hash with fewer bits of either kind belongs to a flat picture, and flat pictures all look the same
_BANDS = 4  # 16 bits each: hashes that differ in fewer bits than bands agree in one whole band
# Of scripts without blanks (Chinese, Japanese) each character is a word, and counts half of one.
_CHARACTER = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class GateConfig(Config):
    """What to compare with, and what to do with what is found."""

    benchmarks: Path  # folder of benchmark files: pictures, TSV, CSV, JSON, JSONL, Parquet, with pictures inside
    action: Literal["drop", "keep"] = "drop"  # keep: count only
    hash_distance: int = 2  # of 64 bits, below 4; larger finds more, also wrongly
    words: int = 13  # length of a run of words that counts, as in the GPT-3 paper's filter
    version: Literal["3"] = "3"  # of what the gate finds and lists: raised, only seeds behind a gate are made again


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


Found = list[tuple[str, list[Meeting]]]  # id of a record, what it meets


class Gate:
    """An index of the benchmarks present, to ask whether a sample meets one of them."""

    def __init__(self, config: GateConfig) -> None:
        if not 0 <= config.hash_distance < _BANDS:
            raise UserError(f"contamination.hash_distance is {config.hash_distance}; valid: 0 to {_BANDS - 1}")
        if not config.benchmarks.is_dir():
            raise UserError(f"benchmark folder not found: {config.benchmarks}; set data.contamination.benchmarks")
        self.config = config
        self.files: list[str] = []  # with a question or a picture
        self.empty: list[str] = []  # read, and nothing found in them
        self.skipped: list[str] = []  # broken or of another kind; an index with gaps must say so
        self._pixels: dict[bytes, list[Place]] = {}
        self._looks: dict[int, list[Place]] = {}
        self._bands: dict[tuple[int, int], list[int]] = {}
        self._runs: dict[int, list[Place]] = {}
        for path in files_below(config.benchmarks):
            name = path.relative_to(config.benchmarks)
            if not any(part.startswith(".") for part in name.parts):
                self._read(path, name)

    def sources(self) -> dict[str, Any]:
        """How many files were compared with, and which could not be."""
        unused = {"benchmark_files_unread": self.skipped, "benchmark_files_empty": self.empty}
        return {"benchmark_files": len(self.files), **unused}

    def check(self, sample: Sample, store: ImageStore) -> list[Meeting]:
        """What a sample meets, see `meetings`."""
        return self.meetings(sample.images, [item.question for items in sample.rounds for item in items], store)

    def meetings(self, images: Iterable[str], questions: Iterable[str], store: ImageStore) -> list[Meeting]:
        """What is met, each place once, the strongest sign first for each picture; empty when clean."""
        met: dict[Place, str] = {}
        for name in images:
            try:
                pixels, looks = fingerprints(store.path(name).read_bytes())
            except (ImageFailure, *PICTURE_ERRORS):
                continue  # an unreadable picture is the image check's business
            _note(met, "same_image", self._pixels.get(pixels, ()))
            for other in self._similar(looks):
                _note(met, "similar_image", self._looks[other])
        for question in questions:
            for run in _runs(question, self.config.words):
                _note(met, "same_question", self._runs.get(run, ()))
        return [Meeting(sign, place) for place, sign in met.items()]

    def _similar(self, looks: int) -> list[int]:
        if _plain(looks):
            return []
        near = {other for band in _bands(looks) for other in self._bands.get(band, ())}
        return sorted(other for other in near if (looks ^ other).bit_count() <= self.config.hash_distance)

    def _read(self, path: Path, name: Path) -> None:
        benchmark = name.parts[0] if len(name.parts) > 1 else name.stem
        something = True
        try:
            if path.suffix.lower() not in READ:
                raise ValueError(f"{name} is of no kind that is read")
            if path.suffix.lower() in PICTURES:
                self._add_picture(fingerprints(path.read_bytes()), Place(benchmark, picture=name.as_posix()))
            else:
                something = self._add_items(path, benchmark)
        except (*PICTURE_ERRORS, csv.Error):  # binascii.Error is a ValueError
            self.skipped.append(str(name))
        else:
            (self.files if something else self.empty).append(str(name))

    def _add_items(self, path: Path, benchmark: str) -> bool:
        """Questions and pictures of a file, an item without own pictures having those of another; False for none."""
        pictures: dict[str, list[tuple[bytes, int]]] = {}
        shown: list[tuple[Place, str]] = []  # item, index of the one with its pictures
        something = False
        for item in read_items(path):
            place = Place(benchmark, item.index)
            for run in _runs(item.question, self.config.words):
                self._runs.setdefault(run, []).append(place)
            for raw in item.pictures:
                prints = fingerprints(raw)
                self._add_picture(prints, place)
                pictures.setdefault(item.index, []).append(prints)
            if item.like:
                shown.append((place, item.like))
            something |= bool(item.question.strip() or item.pictures)
        for place, index in shown:
            for prints in pictures.get(index, ()):
                self._add_picture(prints, place)
        return something

    def _add_picture(self, prints: tuple[bytes, int], place: Place) -> None:
        pixels, looks = prints
        self._pixels.setdefault(pixels, []).append(place)
        if not _plain(looks):
            if looks not in self._looks:
                for band in _bands(looks):
                    self._bands.setdefault(band, []).append(looks)
            self._looks.setdefault(looks, []).append(place)


def write_found(found: Found, gate: Gate, out_dir: Path) -> tuple[dict[str, Path], dict[str, Any]]:
    """Write the records that meet a benchmark, and what they meet.

    Returns:
        the two files by role; the account: records by sign, places by benchmark, the gate's own sources.
    """
    action = gate.config.action
    records = [{"id": name, "sign": met[0].sign, "action": action} for name, met in found]
    files = {role: out_dir / f"{role}.jsonl" for role in ("contaminated", "contaminated_items")}
    write_jsonl(files["contaminated"], records)
    write_jsonl(files["contaminated_items"], [one.row(name) for name, met in found for one in met])
    places = {one.place for _, met in found for one in met}
    signs = dict(Counter(line["sign"] for line in records))
    met = dict(Counter(place.benchmark for place in sorted(places)))
    return files, {"action": action, "found": signs, "met": met, **gate.sources()}


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
    """Digests of all runs of so many words."""
    tokens = words(_CHARACTER.sub(r" \g<0> ", text))
    weights = [1 if _CHARACTER.match(token) else 2 for token in tokens]
    end = weight = 0
    for start, own in enumerate(weights):
        while weight < 2 * length and end < len(tokens):
            weight += weights[end]
            end += 1
        if weight < 2 * length:
            return
        run = " ".join(tokens[start:end]).encode()
        yield int.from_bytes(hashlib.blake2b(run, digest_size=8).digest())
        weight -= own
