"""`mmevol data check|import|curate|mix|export|stats|figures|show` and `mmevol parse`."""

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
from mmevol_experiment.cli.data_check import check
from mmevol_experiment.cli.data_curate import curate, mix
from mmevol_experiment.cli.data_export import export
from mmevol_experiment.cli.data_figures import figures

NOTHING_USABLE = 3
data = typer.Typer(no_args_is_help=True, help="Validate, convert, count and look at records.")
Records = Annotated[Path, typer.Argument(help="JSONL of records, for example outputs/quickstart/evolve/evolved.jsonl")]


class Kind(StrEnum):
    """What a teacher was asked for."""

    qas = "qas"
    score = "score"


class Source(StrEnum):
    """Kinds of seed files."""

    mmevol_json = "mmevol_json"
    llava_json = "llava_json"
    parquet = "parquet"
    samples = "samples"


class ImageCheck(StrEnum):
    """How closely pictures are looked at."""

    none = "none"
    exists = "exists"
    decode = "decode"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (check, curate, mix, export, figures):
        data.command()(command)
    app.add_typer(data, name="data")
    app.command()(parse)


def parse(
    kind: Kind,
    jsonl: Annotated[Path | None, typer.Option(help='lines {"id", "raw"} instead of standard input')] = None,
) -> None:
    """A teacher's raw text to a JSON list; exit 3 when nothing in it can be trusted."""
    from mmevol_dataengine.parse import parse_lines, parse_reply

    if jsonl is not None:
        for row in parse_lines(kind.value, read_jsonl(jsonl)):
            _out(row)
        return
    text = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    items = parse_reply(kind.value, text)
    if items is None:
        raise UserError(f"parse {kind.value}: nothing in the text can be trusted", status=NOTHING_USABLE)
    _out(items)


@data.command("import")
def import_(
    source: Annotated[Source, typer.Argument(help="kind of file")],
    path: Path,
    out: Annotated[Path, typer.Argument(help="folder that gets seed.jsonl and failed.jsonl")],
    images: Annotated[
        Path | None, typer.Option(help="image root; parquet: OUT/images when the file holds them")
    ] = None,
    max_failed: Annotated[float, typer.Option(min=0, max=1, help="share of rows that may be refused")] = 0.1,
    check_images: Annotated[ImageCheck, typer.Option(help="decode finds truncated files")] = ImageCheck.decode,
    quarantine: Annotated[Path | None, typer.Option(help="list that `data check` wrote")] = None,
    captions_alone: Annotated[bool, typer.Option(help="keep records without a question, for `data curate`")] = False,
) -> None:
    """Turn seed data of another kind into records under OUT."""
    from mmevol_dataengine.seed import STAGE, SeedConfig

    if images is None and source is not Source.parquet:
        raise UserError(f"import {source.value} needs --images: the folder that its image paths start from")
    if captions_alone and source is Source.llava_json:
        raise UserError("--captions-alone: llava_json holds questions, not captions; leave the option out")
    config = SeedConfig(
        source=source.value,
        path=path,
        image_root=images,
        max_failed=max_failed,
        check_images=check_images.value,
        quarantine=quarantine,
        captions_alone=captions_alone,
    )
    result = STAGE.run(config, {}, out)
    print(f"{result.files['seed']}: {orjson.dumps(dict(result.metrics)).decode()}")


@data.command()
def stats(
    records: Records,
    as_json: Annotated[bool, typer.Option("--json", help="all figures: histograms, verbs, objects")] = False,
) -> None:
    """Figures of every round: items, skills, steps, scores, wording, objects."""
    from mmevol_dataengine.analysis import analyse

    figures = analyse(read_samples(records))
    if as_json:
        _out(figures)
        return
    if not figures["rounds"]:
        raise UserError(f"{records} holds no questions", status=NOTHING_USABLE)
    for number, row in figures["rounds"].items():
        print(
            f"{f'round {number}' if int(number) else 'seed'}: {row['items']} items, "
            f"{row['skills_per_item']:.2f} skills and {row['steps_per_item']:.2f} steps an item, "
            f"{len(row['formats'])} formats, {row['question_words']:.1f} words a question"
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
