"""Are the benchmark files the published ones? Asked before a run spends anything; an unchanged file is read once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mmevol_core.files import read_json, write_json
from mmevol_eval.benchmark import PublishedData
from mmevol_eval.fetch import md5, published_sum


@dataclass(frozen=True, slots=True)
class Sum:
    """What a benchmark's data are: the published file, another one, or something that no sum is published for."""

    benchmark: str
    path: Path
    found: str | None  # MD5 in hexadecimal; None: not computed, there is nothing to compare it with
    published: str | None

    @property
    def state(self) -> Literal["published", "other", "without"]:
        """Of the three."""
        if self.published is None:
            return "without"
        return "published" if self.found == self.published else "other"

    @property
    def line(self) -> str:
        """The difference in words."""
        return f"{self.benchmark}: {self.path} has MD5 {self.found}, published is {self.published}"


def check_sums(data: Iterable[tuple[PublishedData, Path]], cache: Path) -> list[Sum]:
    """Compare each benchmark's data with its published MD5, in order.

    Args:
        data: where each benchmark is published, and the file or folder that a run will read.
        cache: JSON file {resolved path: [bytes, nanoseconds of the last change, MD5]}; a file that it holds under the
            same size and time is not read again. A cache that is lost costs time and nothing else.
    """
    known: dict[str, list[int | str]] = read_json(cache) if cache.is_file() else {}
    sums: list[Sum] = []
    changed = False
    for published, path in data:
        expected = published_sum(published, path)
        found: str | None = None
        if expected is not None:
            place, status = str(path.resolve()), path.stat()
            entry = known.get(place)
            if entry is None or entry[:2] != [status.st_size, status.st_mtime_ns]:
                known[place] = entry = [status.st_size, status.st_mtime_ns, md5(path)]
                changed = True
            found = str(entry[2])
        sums.append(Sum(published.name, path, found, expected))
    if changed:
        write_json(cache, known)
    return sums
