"""Parquet files and Hugging Face data set folders as rows; pictures inside them become files, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmevol_core.errors import UserError
from mmevol_core.files import files_below, read_json, replacing

BATCH = 64  # rows in memory at once; each may hold pictures
EMBEDDED = "embedded"  # folder below the image root
_MAGIC = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"RIFF": "webp", b"GIF8": "gif", b"BM": "bmp"}


def table_rows(path: Path, image_root: Path | None) -> Iterator[Any]:
    """Rows of a Parquet file, of a folder with Parquet files, or of a folder that `datasets` saved (split `train`).

    A picture stored as bytes is written to `image_root/embedded/` under its digest, and the row names that file;
    without an image root it is only named.

    Raises:
        UserError: nothing to read there, or a file is broken.
    """
    try:
        for batch in _batches(path):
            for row in batch.to_pylist():
                yield {key: _stored(value, image_root) for key, value in row.items() if value is not None}
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: {str(error).splitlines()[0]}; download it again") from error


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    if (path / "dataset_dict.json").is_file():
        splits = read_json(path / "dataset_dict.json")["splits"]
        if "train" not in splits:
            raise UserError(f"{path} has no split train; give one of its folders: {', '.join(splits)}")
        path = path / "train"
    if (path / "state.json").is_file():  # datasets.save_to_disk
        for entry in read_json(path / "state.json")["_data_files"]:
            with pa.memory_map(str(path / entry["filename"])) as source:
                for whole in pa.ipc.open_stream(source):
                    yield from (whole.slice(start, BATCH) for start in range(0, whole.num_rows, BATCH))
        return
    files = [path] if path.is_file() else sorted(one for one in files_below(path) if one.suffix == ".parquet")
    if not files:
        raise UserError(f"no Parquet file at {path}; give a .parquet file, a folder of them, or a saved data set")
    for file in files:
        with pq.ParquetFile(file) as table:
            yield from table.iter_batches(batch_size=BATCH)


def _stored(value: Any, image_root: Path | None) -> Any:
    """The value with every embedded picture replaced by the name of its file."""
    if isinstance(value, bytes):
        return _file_of(value, image_root)
    if isinstance(value, list):
        return [_stored(inner, image_root) for inner in value]
    if isinstance(value, dict):
        if value.keys() == {"bytes", "path"}:  # what `datasets` makes of a picture
            return _file_of(value["bytes"], image_root) if value["bytes"] else value["path"]
        return {key: _stored(inner, image_root) for key, inner in value.items() if inner is not None}
    return value


def _file_of(raw: bytes, image_root: Path | None) -> str:
    """Write a picture once, where there is an image root; its name, relative to that."""
    digest = hashlib.blake2b(raw, digest_size=16).hexdigest()
    kind = next((kind for magic, kind in _MAGIC.items() if raw.startswith(magic)), "bin")
    name = f"{EMBEDDED}/{digest[:2]}/{digest}.{kind}"
    if image_root is not None and not (image_root / name).exists():
        with replacing(image_root / name) as file:
            file.write(raw)
    return name
