"""Getting the published files of a benchmark: `fetch` downloads, `verify` checks, and nothing else ever does either.

A download streams to `NAME.part`, goes on where an earlier one stopped (HTTP Range), and takes its final name only once
its length and its published MD5 are right.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

from mmevol_core.errors import UserError
from mmevol_core.images import PICTURE_ERRORS
from mmevol_eval.benchmark import Benchmark, Item, PublishedData, PublishedFile

CHUNK = 1 << 20  # bytes
TRIES = 5  # in a row without a single new byte
TIMEOUT_SECONDS = 60.0
Say = Callable[[str], None]


def fetch(published: PublishedData, root: Path, say: Say, pause_seconds: float = 1.0) -> Path:
    """Download what is not there yet; return the file or folder that a loader reads.

    Raises:
        UserError: no address is published, a host cannot be reached, or a file is not the published one.
    """
    if not published.files:
        raise UserError(f"{published.name} has no address to download from; get it from {published.where}")
    for file in published.files:
        target = inside(root, file.save)
        mark = target.with_name(target.name + ".unpacked")
        if mark.exists() or (not file.unpack and is_published(target, file)):
            say(f"{target}: there")
            continue
        if not is_published(target, file):
            download(file, target, say, pause_seconds)
        if file.unpack:
            unpack(target, inside(root, file.unpack))
            mark.touch()
            target.unlink()
        say(f"{target}: done")
    return root / published.data


def inside(root: Path, name: str) -> Path:
    """`root/name`; UserError when it would leave `root`."""
    if not (root / name).resolve().is_relative_to(root.resolve()):
        raise UserError(f"the benchmark's file {name!r} leaves {root}")
    return root / name


def is_published(path: Path, file: PublishedFile) -> bool:
    """Whether the file is there with the published MD5 (with any content when none is published)."""
    return path.is_file() and (file.md5 is None or md5(path) == file.md5)


def published_sum(published: PublishedData, path: Path) -> str | None:
    """The MD5 that a benchmark's file should have: the one of the published file of that name, or when it bears the
    benchmark's own (`GQA.tsv`); None for folders, other splits, and what is published without a sum."""
    if not path.is_file():
        return None
    whole = [file for file in published.files if file.md5 and not file.unpack]
    named = [file.md5 for file in whole if path.name in (Path(file.save).name, f"{published.name}.tsv")]
    return named[0] if named else None


def md5(path: Path) -> str:
    """MD5 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(file: PublishedFile, target: Path, say: Say, pause_seconds: float) -> None:
    """Bring one file, going on after interruptions; a wrong checksum after a resumed download is tried afresh once.

    Raises:
        UserError: the host cannot be reached, refuses, or sends another file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    resumed = part.exists()
    _stream(file.url, part, say, pause_seconds)
    if resumed and file.md5 and md5(part) != file.md5:
        part.unlink()  # what was there may have belonged to another version
        _stream(file.url, part, say, pause_seconds)
    if file.md5 and (found := md5(part)) != file.md5:
        part.unlink()
        raise UserError(
            f"{file.url} is not the published file: its MD5 is {found}, published is {file.md5}; nothing was kept"
        )
    part.replace(target)


def _stream(url: str, part: Path, say: Say, pause_seconds: float) -> None:
    """Append to `part` until the whole body is there."""
    if not url.startswith(("http://", "https://")):
        raise UserError(f"cannot download {url!r}: only http and https addresses")
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _body(url, part, before):
                return
            problem = "the connection was cut"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != http.HTTPStatus.TOO_MANY_REQUESTS:
                raise UserError(f"{url} answered {error.code} {error.reason}; fetch the file by hand") from error
            problem = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise  # our own disk
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        after = part.stat().st_size if part.exists() else 0
        failures = 0 if after > before else failures + 1
        if failures >= TRIES:
            raise UserError(
                f"cannot download {url}: {problem} ({TRIES} tries in a row); the same command goes on at byte {after}"
            )
        say(f"{problem} at byte {after}; going on")
        time.sleep(pause_seconds)


def _body(url: str, part: Path, start: int) -> bool:
    """One request from byte `start`; whether everything has come."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            whole = str(error.headers.get("Content-Range", "")).rpartition("/")[2]
            if whole == str(start):
                return True
            part.unlink()  # longer than the file at that address: another version
            return False
        raise
    with response:
        goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT
        length = response.headers.get("Content-Length")
        received = 0
        with part.open("ab" if goes_on else "wb") as stream:
            while chunk := response.read(CHUNK):
                stream.write(chunk)
                received += len(chunk)
    return length is None or received == int(length)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip.

    Raises:
        UserError: it is broken, or a member would leave the folder.
    """
    try:
        with zipfile.ZipFile(archive) as members:
            for member in members.infolist():
                target = inside(folder, member.filename)
                if member.is_dir():
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with members.open(member) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, CHUNK)
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise UserError(f"{archive} was no whole zip ({error}) and is removed; fetch it again") from error


def verify(published: PublishedData, benchmark: Benchmark, path: Path) -> tuple[list[str], list[str]]:
    """What was checked, and what is wrong: checksum, number of items, every image there and readable as a picture.

    Raises:
        UserError: nothing is there, or the file cannot be read at all.
    """
    if not path.exists():
        raise UserError(missing(published.name, path))
    checked: list[str] = []
    wrong: list[str] = []
    if expected := published_sum(published, path):
        found = md5(path)
        (checked if found == expected else wrong).append(f"MD5 {found}, published {expected}")
    items = list(benchmark.load(path))
    if published.items is not None and len(items) != published.items:
        wrong.append(f"{len(items)} items, published {published.items}")
    else:
        checked.append(f"{len(items)} items")
    without, broken = _pictures(items)
    for indices, fault in ((without, "without an image"), (broken, "with an image that cannot be read")):
        if indices:
            wrong.append(f"{len(indices)} items {fault} (first: {indices[0]})")
    if not without and not broken:
        checked.append("every image readable")
    return checked, wrong


def _pictures(items: Iterable[Item]) -> tuple[list[str], list[str]]:
    """Indices of items without any image, and of those with one that is absent or no picture."""
    without: list[str] = []
    broken: list[str] = []
    seen: set[Path] = set()
    for item in items:
        if not len(item.images):
            without.append(item.index)
        try:
            for image in item.images:
                if isinstance(image, Path) and image in seen:
                    continue
                with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as picture:
                    picture.verify()
                if isinstance(image, Path):
                    seen.add(image)
        except (UserError, *PICTURE_ERRORS):
            broken.append(item.index)
    return without, broken


def missing(name: str, path: Path) -> str:
    """The line for data that is not there."""
    return f"{name}: no data at {path}; `mmevol fetch {name} --to FOLDER` downloads it or says where it is published"
