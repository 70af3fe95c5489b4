"""`mmevol data check|import|export|stats|show` and `mmevol parse`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl
from mmevol_core.sample import Sample, read_samples

NOTHING_USABLE = 3
data = typer.Typer(no_args_is_help=True, help="Validate, convert, count and look at records.")
Records = Annotated[Path, typer.Argument(help="JSONL of records, for example outputs/quickstart/evolve/evolved.jsonl")]


class Kind(StrEnum):
    """What a teacher was asked for."""

    qas = "qas"
    score = "score"


class Form(StrEnum):
    """What records are written as."""

    parquet = "parquet"
    llava = "llava"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(data, name="data")
    app.command()(parse)


def parse(
    kind: Kind,
    jsonl: Annotated[Path | None, typer.Option(help='lines {"id", "raw"} instead of standard input')] = None,
) -> None:
    """A teacher's raw text to a JSON list; exit 3 when nothing in it can be trusted."""
    from mmevol_dataengine.parse import parse_items, parse_lines, parse_scores

    if jsonl is not None:
        for row in parse_lines(kind.value, read_jsonl(jsonl)):
            _out(row)
        return
    text = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    items = parse_items(text) if kind is Kind.qas else parse_scores(text)
    if items is None:
        raise UserError(f"parse {kind.value}: nothing in the text can be trusted", status=NOTHING_USABLE)
    _out(items)


@data.command()
def check(records: Records, images: Annotated[Path, typer.Option(help="image root")]) -> None:
    """Read every record and open every image; exit 3 when one is bad."""
    from mmevol_core.images import ImageFailure, ImagePolicy, ImageStore

    store, good, bad = ImageStore(images, ImagePolicy()), 0, 0
    for sample in read_samples(records):
        try:
            for name in sample.images:
                store.load(name)
            good += 1
        except ImageFailure as failure:
            bad += 1
            print(f"record {sample.id}: {failure}")
    print(f"{good + bad} records: {good} good, {bad} bad")
    if bad:
        raise UserError(f"{bad} of {good + bad} records have a bad image; see above", status=NOTHING_USABLE)


@data.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="kind of file, as in data.source")],
    path: Path,
    out: Path,
    images: Annotated[Path | None, typer.Option(help="image root")] = None,
) -> None:
    """Turn seed data of another kind into records under OUT."""
    from mmevol_core.config import fit
    from mmevol_dataengine.seed import STAGE, SeedConfig

    values = {"source": source, "path": path, **({"image_root": images} if images else {})}
    out.mkdir(parents=True, exist_ok=True)
    result = STAGE.run(fit(SeedConfig, values, "data"), {}, out)
    print(f"{result.files['seed']}: {orjson.dumps(dict(result.metrics)).decode()}")


@data.command()
def export(records: Records, out: Path, form: Annotated[Form, typer.Option("--as")] = Form.parquet) -> None:
    """Write records as Parquet for `datasets`, or every round as LLaVA JSON for other trainers."""
    if form is Form.parquet:
        from mmevol_dataengine.export import to_parquet

        print(f"{to_parquet(read_samples(records), out)} records in {out}")
        return
    from mmevol_dataengine.mixture import MixtureConfig, run

    out.mkdir(parents=True, exist_ok=True)
    result = run(MixtureConfig(arm="evolved", short_answers="none", letter_answers=False), {"evolved": records}, out)
    print(f"{result.metrics['rows_out']} rows in {result.files['conversations']}")


@data.command()
def stats(records: Records) -> None:
    """Counts per round: items, skills, steps, formats."""
    from mmevol_experiment.page import generations

    for row in generations(list(read_samples(records))):
        print(
            f"{row['name']}: {row['items']} items, {row['skills']:.2f} skills and {row['steps']:.2f} steps an item, "
            f"{row['formats']} formats, {row['words']:.1f} words a question"
        )


@data.command()
def show(
    records: Records, record: Annotated[str, typer.Argument(help="id, its beginning, or a number from 0")]
) -> None:
    """One record with the lineage of its questions."""
    for number, sample in enumerate(read_samples(records)):
        if record == str(number) or (len(record) > 3 and sample.id.startswith(record)):
            _show(sample)
            return
    raise UserError(f"{records} holds no record {record!r}; give an id, its first characters, or a number from 0")


def _show(sample: Sample) -> None:
    print(f"{sample.id}  {', '.join(sample.images)}\n{sample.caption}")
    for box in sample.boxes:
        print(f"  {box.label}: {', '.join(f'{edge:.2f}' for edge in box.xyxy)}")
    for number, generation in enumerate(sample.rounds):
        print(f"round {number}" if number else "seed")
        for item in generation:
            origin = f" <- {item.parent}" if item.parent else ""
            print(f"  {item.id}{origin} [{item.direction or 'seed'}] {item.question!r} -> {item.answer!r}")


def _out(value: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()
