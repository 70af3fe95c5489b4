"""What is wrong with the pictures below a folder, by folder: missing, unreadable, truncated, too large, duplicate.

A bad picture goes on a quarantine list, by which readers leave rows out; nothing is ever put in its place.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.files import folders_below, read_jsonl, write_jsonl
from mmevol_core.images import ImageFailure, ImagePolicy, ImageStore, plain_name
from mmevol_core.json_stream import json_rows
from mmevol_core.sample import Sample
from mmevol_dataengine.readers.values import printable
from mmevol_dataengine.seeds import Failure

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
BATCH = 64  # pictures a process takes at once
HERE = "."  # name of the root itself among the folders


@dataclass(frozen=True, slots=True)
class Finding:
    """One picture: its name below the root, its bytes and their digest, and what is wrong ("" for nothing)."""

    image: str
    bytes: int = 0
    digest: str = ""
    reason: str = ""
    detail: str = ""


@dataclass
class Folder:
    """Counts of one folder right below the root; pictures = good + bad, missing ones apart."""

    pictures: int = 0
    good: int = 0
    bytes: int = 0
    other_files: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    duplicates: int = 0  # pictures whose bytes an earlier name has, in whichever folder


@dataclass
class Report:
    """What a tree holds: folders by name, bad and missing pictures, and groups of names with the same bytes."""

    folders: dict[str, Folder]
    bad: list[Finding]
    duplicates: list[list[str]]

    @property
    def broken(self) -> int:
        """Pictures that cannot be used."""
        return len(self.bad)

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        total = Counter[str]()
        for folder in self.folders.values():
            total += Counter(pictures=folder.pictures, good=folder.good, bytes=folder.bytes, missing=folder.missing)
            total += Counter(duplicates=folder.duplicates) + folder.bad
        folders = {name: {**vars(folder), "bad": dict(folder.bad)} for name, folder in sorted(self.folders.items())}
        return {
            "total": dict(total),
            "folders": folders,
            "bad": [{"image": row.image, "reason": row.reason, "detail": row.detail} for row in self.bad],
            "duplicates": self.duplicates,
        }


def check_tree(root: Path, data: Sequence[Path] = (), policy: ImagePolicy | None = None, processes: int = 1) -> Report:
    """Open every picture below `root`, and look for every picture that the files `data` name.

    Args:
        data: LLaVA, ShareGPT or MMEvol JSON, or JSONL of records; their `image` and `images` are relative to `root`.
        policy: limits of size; `max_side` does not matter.
        processes: pictures are decoded in so many.

    Raises:
        UserError: the folder or a data file is missing or broken.
    """
    if not root.is_dir():
        raise UserError(f"image folder not found: {root}")
    folders: dict[str, Folder] = defaultdict(Folder)
    owners: dict[str, list[str]] = {}
    bad: list[Finding] = []
    for finding in _examined(root, _pictures(root, folders), policy or ImagePolicy(), processes):
        finding = replace(finding, image=printable(finding.image), detail=printable(finding.detail))
        folder = folders[_top(finding.image)]
        folder.pictures += 1
        folder.bytes += finding.bytes
        if finding.reason:
            folder.bad[finding.reason] += 1
            bad.append(finding)
        else:
            folder.good += 1
            owners.setdefault(finding.digest, []).append(finding.image)
    duplicates = [sorted(names) for names in owners.values() if len(names) > 1]
    for names in duplicates:
        for name in names[1:]:
            folders[_top(name)].duplicates += 1
    bad.sort(key=lambda finding: finding.image)
    for name, source in sorted(_absent(root, data).items()):
        folders[_top(name)].missing += 1
        bad.append(Finding(name, reason="missing", detail=f"named by {source}"))
    assert all(folder.pictures == folder.good + folder.bad.total() for folder in folders.values())
    return Report(dict(folders), bad, sorted(duplicates))


def write_quarantine(path: Path, report: Report) -> int:
    """Write the bad pictures, one a line, for `data.quarantine`; return how many."""
    return write_jsonl(path, ({"image": row.image, "reason": row.reason} for row in report.bad))


def read_quarantine(path: Path) -> dict[str, str]:
    """Picture (`plain_name`) -> reason of a quarantine list."""
    rows = list(read_jsonl(path))
    if not all(isinstance(row, dict) and isinstance(row.get("image"), str) and "reason" in row for row in rows):
        raise UserError(f"{path} is no quarantine list; write one with: mmevol data check FOLDER --quarantine {path}")
    return {plain_name(row["image"]): row["reason"] for row in rows}


def without(rows: Iterable[Sample | Failure], quarantine: dict[str, str]) -> Iterator[Sample | Failure]:
    """The rows, those with a picture in quarantine as failures `image_quarantined`."""
    for number, row in enumerate(rows, start=1):
        names = () if isinstance(row, Failure) else map(plain_name, row.images)
        name = next((name for name in names if name in quarantine), None)
        yield row if name is None else Failure(number, row.id, "image_quarantined", f"{name}: {quarantine[name]}")


def names_in(row: Any) -> Iterator[str]:
    """The pictures that a row of any layout names; an empty name is none."""
    for key in ("image", "images"):
        value = row.get(key) if isinstance(row, dict) else None
        yield from (name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str) and name)


def _absent(root: Path, data: Sequence[Path]) -> dict[str, str]:
    """Named pictures that are not there -> the file that names them first."""
    store, seen, absent = ImageStore(root), set[str](), dict[str, str]()
    for path in data:
        for name in (plain_name(name) for row in json_rows(path) for name in names_in(row)):
            if name in seen:
                continue
            seen.add(name)
            try:
                store.path(name)
            except ImageFailure:
                absent[printable(name)] = path.name
    return absent


def _pictures(root: Path, folders: dict[str, Folder]) -> Iterator[str]:
    """Names of the pictures, folder by folder; what else there is gets counted. Links to folders are followed once."""
    for here, names in folders_below(root):
        below = here.relative_to(root)
        for name in names:
            path = (below / name).as_posix()
            if Path(name).suffix.lower() in SUFFIXES:
                yield path
            else:
                folders[_top(printable(path))].other_files += 1


def _examined(root: Path, names: Iterator[str], policy: ImagePolicy, processes: int) -> Iterator[Finding]:
    """Findings in any order; a few batches a process are waiting, however large the tree is."""
    if processes == 1:
        yield from examine(root, list(names), policy)
        return
    with ProcessPoolExecutor(processes) as pool:
        waiting: set[Future[list[Finding]]] = set()
        while batch := list(islice(names, BATCH)):
            waiting.add(pool.submit(examine, root, batch, policy))
            if len(waiting) >= 4 * processes:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from future.result()
        for future in waiting:
            yield from future.result()


def examine(root: Path, names: Sequence[str], policy: ImagePolicy) -> list[Finding]:
    """Decode pictures as the engine does before it sends them."""
    store = ImageStore(root, policy.model_copy(update={"max_side": None}))
    return [_one(store, root, name) for name in names]


def _one(store: ImageStore, root: Path, name: str) -> Finding:
    try:
        store.load(name)
        with (root / name).open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        return Finding(name, (root / name).stat().st_size, digest)
    except ImageFailure as failure:
        return Finding(name, _size(root / name), reason=failure.reason, detail=str(failure))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _top(name: str) -> str:
    head, slash, _ = name.partition("/")
    return head if slash else HERE
