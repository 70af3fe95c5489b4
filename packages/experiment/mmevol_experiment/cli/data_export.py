"""`mmevol data export`: records in the forms that others read."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl
from mmevol_core.json_stream import json_rows
from mmevol_core.sample import read_samples


class Form(StrEnum):
    """What records are written as."""

    parquet = "parquet"
    llava = "llava"
    llama_factory = "llama_factory"
    ms_swift = "ms_swift"


class TrainingSample(StrEnum):
    """What one training sample is."""

    image_round = "image_round"
    image = "image"
    item = "item"
    latest = "latest"


def export(
    records: Annotated[
        Path,
        typer.Argument(help="JSONL of records; llama_factory, ms_swift: or conversations.json of a mixture"),
    ],
    out: Annotated[Path, typer.Argument(help="folder")],
    form: Annotated[Form, typer.Option("--as")] = Form.parquet,
    sample: Annotated[TrainingSample | None, typer.Option(help="trainers: what one sample is; image_round")] = None,
) -> None:
    """Write records as Parquet for `datasets`, or as conversations for LLaVA, LLaMA-Factory or ms-swift."""
    from mmevol_dataengine import export as forms
    from mmevol_dataengine.mixture import MixtureConfig, own_rows, run

    mixed = records.suffix == ".json"
    if mixed and form in (Form.parquet, Form.llava):
        raise UserError(f"{records} is LLaVA JSON already; --as {form.value} takes a JSONL of records")
    if sample is not None and (mixed or form is Form.parquet):
        what = f"{records} holds training samples already" if mixed else "Parquet holds whole records"
        raise UserError(f"--sample {sample.value}: {what}; leave the option out")
    if next(json_rows(records) if mixed else read_jsonl(records), None) is None:
        raise UserError(f"{records} holds no records", status=3)
    if form is Form.parquet:
        print(f"{forms.to_parquet(read_samples(records), out)} records in {out}")
        return
    config = MixtureConfig(  # every round of the records, no format sentence added
        arm="evolved", short_answers="none", letter_answers=False, sample=(sample or TrainingSample.image_round).value
    )
    if form is Form.llava:
        result = run(config, {"evolved": records}, out)
        own = Counter({name: count for name, count in result.metrics.items() if name not in ("arm", "rows_out")})
        print(f"{result.metrics['rows_out']} rows in {result.files['conversations']}{_named(own)}")
        return
    counts: Counter[str] = Counter()  # of our records; of a foreign file's rows, by what is not as it has them
    rows = forms.conversation_rows(records, counts) if mixed else own_rows(config, records, {}, counts)
    write = forms.to_llama_factory if form is Form.llama_factory else forms.to_ms_swift
    print(f"{write(rows, out)} rows in {out}{_named(counts)}")


def _named(counts: Counter[str]) -> str:
    return "".join(f", {name} {count}" for name, count in sorted(counts.items()))
