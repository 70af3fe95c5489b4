"""`mmevol data check FOLDER`: the report on a tree of pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmevol_core.errors import UserError
from mmevol_core.files import write_json
from mmevol_dataengine.check import Folder, Report, check_tree, write_quarantine


def check_folder(
    root: Path, named: Sequence[Path], as_json: Path | None, quarantine: Path | None, processes: int, *, strict: bool
) -> None:
    """Print a line a folder, write the files asked for, and refuse with status 3 when a picture is bad."""
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
        raise UserError(f"{root} holds no pictures", status=3)
    if report.broken or copies:
        reasons = Counter(row.reason for row in report.bad) + Counter(duplicate=copies)
        named = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        raise UserError(f"{root}: {named}; --json FILE lists them, --quarantine FILE keeps them out", status=3)
