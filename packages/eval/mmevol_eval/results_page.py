"""One model's results as a page that needs no other file: scores, categories, and the wrong answers to look through.

Every number comes from `scores.json` and `items.jsonl` of stage `evaluate`; pictures come from the benchmark files and
only for the wrong answers that are shown, as many as asked for. What is left out is counted on the page.
"""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
from PIL import Image

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, read_jsonl, replacing
from mmevol_core.images import PICTURE_ERRORS
from mmevol_eval.benchmark import Image as Encoded
from mmevol_eval.benchmark import Item
from mmevol_eval.benchmarks import find
from mmevol_eval.data import FOLDER, locate
from mmevol_eval.protocol import data_hash

LISTED = 3000  # wrong answers on the page
PICTURES = 400  # of them with pictures
SIDE_PIXELS = 320  # longest side of a picture on the page
QUALITY = 80  # JPEG
RIGHT = 0.5  # an item below this score is listed as wrong

Row = dict[str, Any]


def write_results(
    evaluated: Path,
    out: Path,
    benchmarks: Path | None = None,
    title: str = "",
    *,
    listed: int = LISTED,
    pictures: int = PICTURES,
) -> dict[str, int]:
    """Write the page of a finished evaluation's folder; return how many answers are wrong, listed, and with a picture.

    `benchmarks` is the folder of the benchmark files (found through the evaluation's manifest when None; without one
    the page has no pictures and says so).

    Raises:
        UserError: the folder holds no finished evaluation, or `benchmarks` none of its benchmarks.
    """
    for name in ("scores.json", "items.jsonl"):
        if not (evaluated / name).is_file():
            raise UserError(f"{evaluated} holds no {name}; give the folder of a finished evaluation")
    folder = benchmarks or benchmark_files(evaluated / "manifest.json")
    scores, items = evaluated / "scores.json", evaluated / "items.jsonl"
    own = own_paths(evaluated / "manifest.json")
    names = read_json(scores)["benchmarks"]
    if benchmarks and names and not _files(names, benchmarks, own):
        raise UserError(f"{benchmarks} holds none of {', '.join(names)}; give the folder of the benchmark files")
    return write_page(scores, items, out, folder, title or evaluated.name, own=own, listed=listed, pictures=pictures)


def write_page(
    scores_file: Path,
    items_file: Path,
    out: Path,
    benchmarks: Path | None,
    title: str,
    *,
    own: Mapping[str, Path] | None = None,
    listed: int = LISTED,
    pictures: int = PICTURES,
) -> dict[str, int]:
    """The same from the files of stage `evaluate`; `own` holds the paths of benchmarks that do not lie in the folder.

    A benchmark whose files are gone, or are others by now, is shown without pictures, and the page names it.
    """
    scores, rows = read_json(scores_file), list(read_jsonl(items_file))
    wrong = [row for row in rows if row["score"] is not None and row["score"] < RIGHT]
    shown = _spread(wrong, listed)
    illustrated = _spread(shown, pictures)
    files = _files({row["benchmark"] for row in illustrated}, benchmarks, own or {})
    other = [name for name, path in files.items() if _is_other(path, scores["benchmarks"].get(name, {}))]
    seen = _pictures(illustrated, {name: path for name, path in files.items() if name not in other})
    counts = {"wrong": len(wrong), "listed": len(shown), "pictures": len(seen), "items": len(rows)}
    data = {
        "title": title,
        "counts": counts,
        "gone": sorted({row["benchmark"] for row in illustrated} - files.keys()),
        "other": sorted(other),
        "average": scores["average"],
        "benchmarks": [_benchmark(name, entry, rows) for name, entry in scores["benchmarks"].items()],
        "wrong": [_wrong(row, seen.get((row["benchmark"], row["index"]), [])) for row in shown],
    }
    with replacing(out) as file:
        file.write(render(data).encode())
    return counts


def render(data: Mapping[str, Any]) -> str:
    """The template with the data inside; no text of the data can end its element."""
    template = resources.files("mmevol_eval").joinpath("templates/results.html").read_text(encoding="utf-8")
    return template.replace("{{data}}", orjson.dumps(data).decode().replace("<", "\\u003c"), 1)


def benchmark_files(manifest: Path) -> Path | None:
    """The folder of benchmark files that an evaluation's manifest names, when it is still there."""
    source = read_json(manifest).get("inputs", {}).get("benchmarks") if manifest.is_file() else None
    if not source:
        return None
    folder = manifest.resolve().parents[2] / source["stage"] / source["fingerprint"] / FOLDER
    return folder if folder.is_dir() else None


def own_paths(manifest: Path) -> dict[str, Path]:
    """The data of benchmarks that an evaluation read elsewhere than in the folder of stage `benchmarks`."""
    settings = read_json(manifest).get("config", {}).get("settings", {}) if manifest.is_file() else {}
    return {name: Path(one["path"]) for name, one in settings.items() if one.get("path")}


def _files(names: Iterable[str], folder: Path | None, own: Mapping[str, Path]) -> dict[str, Path]:
    """The file or folder of each of these benchmarks that is still there."""
    files: dict[str, Path] = {}
    for name in names:
        try:
            path = own[name] if name in own else locate(folder, find(name)) if folder else None
        except UserError:  # the page stands without it
            continue
        if path is not None and path.exists():
            files[name] = path
    return files


def _is_other(path: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a benchmark's file is not the one that was evaluated; an entry without its hash is trusted."""
    evaluated = str(entry.get("protocol", {}).get("data", "")).split(",")[0]  # of a preview: "HASH, 10 of 400 items"
    return bool(evaluated) and data_hash(path) != evaluated


def _spread(rows: Sequence[Row], most: int) -> list[Row]:
    """At most so many rows, taken in turn from every benchmark's every category, in the order of the file."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        groups[row["benchmark"], row["category"]].append(number)
    turns = sorted((turn, number) for numbers in groups.values() for turn, number in enumerate(numbers))
    return [rows[number] for number in sorted(number for _, number in turns[:most])]


def _benchmark(name: str, entry: Mapping[str, Any], rows: Iterable[Row]) -> dict[str, Any]:
    groups: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["benchmark"] == name and row["score"] is not None:
            groups[row["category"]].append(row["score"])
    categories = [
        {"name": category, "percent": 100 * sum(values) / len(values), "n": len(values)}
        for category, values in sorted(groups.items())
    ]
    return {"name": name, "scores": {}, **entry, "categories": categories}


def _wrong(row: Row, pictures: Sequence[str]) -> dict[str, Any]:
    names = ("benchmark", "index", "category", "question", "answer", "prediction", "parsed", "method", "truncated")
    shown = {name: row.get(name, "") for name in names}  # rows of older evaluations lack some
    return shown | {"options": row.get("options", {}), "score": row["score"], "pictures": list(pictures)}


def _pictures(rows: Sequence[Row], files: Mapping[str, Path]) -> dict[tuple[str, str], list[str]]:
    """Data addresses of the pictures of each of these rows that has any."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["benchmark"] in files:
            wanted[row["benchmark"]].add(row["index"])
    found: dict[tuple[str, str], list[str]] = {}
    for name, indices in wanted.items():
        for item in find(name).load(files[name]):
            if item.index in indices and (addresses := _addresses(item)):
                found[name, item.index] = addresses
    return found


def _addresses(item: Item) -> list[str]:
    try:
        return [address for image in item.images if (address := _address(image))]
    except UserError:  # the data do not say which file it is, or hold none
        return []


def _address(image: Encoded) -> str:
    """A small JPEG as a data address; empty when the file is no picture."""
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as picture:
            small = picture.convert("RGB")
    except PICTURE_ERRORS:
        return ""
    small.thumbnail((SIDE_PIXELS, SIDE_PIXELS))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
