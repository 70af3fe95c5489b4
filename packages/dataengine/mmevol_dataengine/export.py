"""Evolved records for others: Parquet with the whole lineage for `datasets.load_dataset`, conversations for trainers.

LLaVA reads what the stage `mixture` writes. LLaMA-Factory wants every row's images as a list and a description of the
columns, ms-swift messages with role and content; both find `<image>` in the text as LLaVA does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mmevol_core.errors import UserError
from mmevol_core.files import replacing, write_json, write_jsonl
from mmevol_core.json_stream import json_rows
from mmevol_core.sample import Sample
from mmevol_dataengine.readers.conversations import llava_row, talk_of
from mmevol_dataengine.readers.values import BadRow, images_of, printable

Row = dict[str, Any]  # LLaVA's: id, image, conversations

SHARD_ROWS = 20_000

_CORNERS = pa.list_(pa.float64())  # what JSON holds, or boxes do not come back as they were
_QA = pa.struct(
    [
        ("id", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("objects", pa.list_(pa.string())),
        ("skills", pa.list_(pa.string())),
        ("format", pa.string()),
        ("steps", pa.list_(pa.struct([("manipulation", pa.string()), ("description", pa.string())]))),
        ("image_position", pa.string()),
        ("direction", pa.string()),
        ("parent", pa.string()),
        ("score", pa.float64()),
        ("reason", pa.string()),
        ("teacher", pa.string()),
        ("prompt_version", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("images", pa.list_(pa.string())),
        ("sizes", pa.list_(pa.list_(pa.int32()))),
        ("caption", pa.string()),
        ("boxes", pa.list_(pa.struct([("label", pa.string()), ("xyxy", _CORNERS), ("score", pa.float64())]))),
        ("ocr", pa.list_(pa.struct([("text", pa.string()), ("xyxy", _CORNERS)]))),
        ("topic", pa.string()),
        ("source", pa.string()),
        ("license", pa.string()),
        ("rounds", pa.list_(pa.list_(_QA))),
    ]
)

_CARD = """---
configs:
- config_name: default
  data_files: data/*.parquet
---
# Evolved image-text instructions

{records} records with {items} question-answer items. `images` are paths relative to an image root that is not part of
this data set. `rounds[0]` is the seed, `rounds[n]` what survived round n; `parent` is the id of the item that an item
was rewritten from, `direction` how, `score` (0-10) and `reason` what the judge said, `teacher` and `prompt_version`
who wrote it on which instructions. Boxes are left, top, right, bottom as shares of the image (0..1).

Licences of the seed records: {licenses}. Items written by a model are also bound by the terms of that model.
"""


def to_parquet(samples: Iterable[Sample], out_dir: Path, shard_rows: int = SHARD_ROWS) -> int:
    """Write `data/*.parquet` and a data set card; return the number of records. Memory holds one shard.

    Shards that a longer export left in the folder are removed, so that nobody reads the two as one.
    """
    rows = iter(samples)
    records = items = number = 0
    licenses: set[str] = set()
    while shard := list(islice(rows, shard_rows)):
        _write(out_dir / "data" / f"evolved-{number:05d}.parquet", shard)
        number += 1
        records += len(shard)
        items += sum(len(generation) for sample in shard for generation in sample.rounds)
        licenses |= {sample.license or "not stated" for sample in shard}
    for shard_file in sorted((out_dir / "data").glob("evolved-*.parquet"))[number:]:
        shard_file.unlink()
    card = _CARD.format(records=records, items=items, licenses=", ".join(sorted(licenses)))
    with replacing(out_dir / "README.md") as file:
        file.write(card.encode())
    return records


def conversation_rows(path: Path, changed: Counter[str]) -> Iterator[Row]:
    """Rows of LLaVA or ShareGPT JSON as LLaVA has them, with as many `<image>` marks as images.

    `changed` counts rows by what is not as the file has it.

    Raises:
        UserError: for the first row that is no conversation.
    """
    for number, row in enumerate(json_rows(path), start=1):
        try:
            if not isinstance(row, dict):
                raise BadRow("not_an_object", f"a {type(row).__name__}")
            talk = talk_of(row)
        except BadRow as bad:
            raise UserError(f"{path} row {number}: {bad}; `mmevol data mix` leaves such rows out") from bad
        noted: list[str] = []
        written = llava_row(talk, talk.images, noted)
        changed.update(noted)
        name = row.get("id")
        yield {"id": name if isinstance(name, int) else printable(str(name or number)), **written}


def to_llama_factory(rows: Iterable[Row], out_dir: Path, name: str = "mmevol") -> int:
    """Write `NAME.json` and the `dataset_info.json` that makes it known; return the number of rows.

    Image paths stay relative: pass the image root as `media_dir`.
    """
    count = 0
    with replacing(out_dir / f"{name}.json") as file:
        for row in rows:
            file.write(b",\n" if count else b"[\n")
            row = {"id": row["id"], "images": list(images_of(row)), "conversations": row["conversations"]}
            file.write(orjson.dumps(row))
            count += 1
        file.write(b"\n]\n" if count else b"[]\n")
    columns = {"messages": "conversations", "images": "images"}
    write_json(
        out_dir / "dataset_info.json",
        {name: {"file_name": f"{name}.json", "formatting": "sharegpt", "columns": columns}},
    )
    return count


def to_ms_swift(rows: Iterable[Row], out_dir: Path, name: str = "mmevol") -> int:
    """Write `NAME.jsonl` with `messages` and `images`; return the number of rows.

    Image paths stay relative: set ROOT_IMAGE_DIR to the image root.
    """
    roles = {"human": "user", "gpt": "assistant"}

    def lines() -> Iterator[Row]:
        for row in rows:
            turns = [{"role": roles.get(t["from"], t["from"]), "content": t["value"]} for t in row["conversations"]]
            yield {"id": row["id"], "messages": turns, "images": list(images_of(row))}

    return write_jsonl(out_dir / f"{name}.jsonl", lines())


def _write(path: Path, shard: list[Sample]) -> None:
    rows = [asdict(sample) for sample in shard]  # with defaults, which other readers do not know
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    with replacing(path) as file:
        pq.write_table(table, file, compression="zstd")
