"""`mmevol data check`: the report on a tree of pictures, or on the pictures of records."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmevol_core.errors import UserError
from mmevol_core.files import write_json
from mmevol_core.sample import Sample

if TYPE_CHECKING:
    from mmevol_core.images import ImageStore
    from mmevol_dataengine.check import Folder, Report

BAD = 3  # exit status: it ran, and something is wrong


def check(
    path: Annotated[Path, typer.Argument(help="folder of pictures, or JSONL of records")],
    images: Annotated[Path | None, typer.Option(help="records: image root")] = None,
    named: Annotated[list[Path] | None, typer.Option("--data", help="folder: files that name its pictures")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="folder: file for the whole report")] = None,
    quarantine: Annotated[Path | None, typer.Option(help="folder: file for the list of bad pictures")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="folder: how many decode; all cores")] = None,
    strict: Annotated[bool, typer.Option(help="folder: duplicates are wrong too")] = False,
) -> None:
    """Open every picture below a folder, or of every record; exit 3 when one is bad."""
    if path.is_dir():
        if images is not None:
            raise UserError(f"--images is for records, and {path} is a folder of pictures; leave it out")
        for target in (as_json, quarantine):
            if target is not None and target.is_dir():
                raise UserError(f"{target} is a folder; give a file to write")
        check_folder(path, named or [], as_json, quarantine, processes or os.cpu_count() or 1, strict=strict)
        return
    if not path.is_file():
        raise UserError(f"not found: {path}; give a folder of pictures, or JSONL of records with --images")
    of_folders = {
        "--data": named, "--json": as_json, "--quarantine": quarantine, "--processes": processes, "--strict": strict,
    }  # fmt: skip
    if given := [option for option, value in of_folders.items() if value]:
        raise UserError(f"{', '.join(given)}: for folders of pictures, and {path} is a file; leave it out")
    if images is None:
        raise UserError(f"{path} is no folder; to check records, give their image root with --images")
    _check_records(path, images)


def _check_records(records: Path, images: Path) -> None:
    from mmevol_core.images import ImageStore
    from mmevol_dataengine.seeds import Failure, read_sample_rows

    if not images.is_dir():
        raise UserError(f"image folder not found: {images}; set --images")
    store, good, bad = ImageStore(images), 0, Counter[str]()
    for number, row in enumerate(read_sample_rows(records, evolved=True), start=1):
        problem = (row.reason, row.detail) if isinstance(row, Failure) else _bad_image(row, store)
        if problem is None:
            good += 1
            continue
        bad[problem[0]] += 1
        print(f"record {number} {row.id}: {problem[1]}")
    named = "".join(f", {reason} {count}" for reason, count in bad.most_common())
    print(f"{good + bad.total()} records: {good} good, {bad.total()} bad{named}")
    if not good and not bad:
        raise UserError(f"{records} holds no records", status=BAD)
    if bad:
        raise UserError(f"{records}: {bad.total()} of {good + bad.total()} records are bad", status=BAD)


def _bad_image(sample: Sample, store: ImageStore) -> tuple[str, str] | None:
    """Name and text of what is wrong with the first image that cannot be used."""
    from mmevol_core.images import ImageFailure

    for name in sample.images:
        try:
            store.load(name)
        except ImageFailure as failure:
            return f"image_{failure.reason}", str(failure)
    return None


def check_folder(
    root: Path, named: Sequence[Path], as_json: Path | None, quarantine: Path | None, processes: int, *, strict: bool
) -> None:
    """Print a line a folder, write the files asked for, and refuse with status 3 when a picture is bad."""
    from mmevol_dataengine.check import check_tree, write_quarantine

    report = check_tree(root, named, processes=processes)
    width = max((len(name) for name in report.folders), default=0)
    for name, folder in sorted(report.folders.items()):
        print(f"{name:<{width}}  {_line(folder)}")
    if as_json:
        write_json(as_json, report.as_dict())
    if quarantine:
        print(f"{write_quarantine(quarantine, report)} pictures on the list {quarantine}")
    _judge(root, report, strict=strict)


def _line(folder: Folder) -> str:
    found = Counter(folder.bad)
    found += Counter(missing=folder.missing, duplicates=folder.duplicates)
    named = "".join(f", {reason} {count}" for reason, count in sorted(found.items()))
    return f"{folder.pictures} pictures, {folder.bytes / 1e6:.1f} MB, {folder.good} good{named}"


def _judge(root: Path, report: Report, *, strict: bool) -> None:
    copies = sum(len(names) - 1 for names in report.duplicates) if strict else 0
    if not report.folders:
        raise UserError(f"{root} holds no pictures", status=BAD)
    if report.broken or copies:
        reasons = Counter(row.reason for row in report.bad) + Counter(duplicate=copies)
        named = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        raise UserError(f"{root}: {named}; --json FILE lists them, --quarantine FILE keeps them out", status=BAD)
