"""Stage `seed`: seed records of any source as one JSONL of samples, with every refused row counted and kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import Field, model_validator

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.files import replacing
from mmevol_core.images import ImageFailure, ImagePolicy, ImageStore
from mmevol_core.progress import Progress
from mmevol_core.sample import Sample, read_samples, to_dict
from mmevol_core.stage import Stage, StageResult
from mmevol_dataengine import tiny_world
from mmevol_dataengine.check import read_quarantine, without
from mmevol_dataengine.contamination import Found, Gate, GateConfig, write_found
from mmevol_dataengine.seeds import Changes, Failure, read_llava, read_mmevol, read_sample_rows, read_table

_OF_FILES = ("path", "image_root", "captions", "quarantine", "captions_alone", "limit")


class SeedConfig(Config):
    """Where seed records come from."""

    source: Literal["tiny_world", "mmevol_json", "llava_json", "parquet", "samples"]
    seed: int = 0  # tiny world: choice of questions and order
    limit: int | None = Field(default=None, ge=1)  # read at most so many rows
    # tiny world
    shapes: int | None = None  # easy-VQA pictures that become seed records; None: all
    digits: int | None = None  # handwritten digits that become seed records; None: all
    questions: int = Field(default=4, ge=1)  # at most so many per record
    # files
    path: Path | None = None  # the seed file; parquet: also a folder of files, or one that `datasets` saved
    image_root: Path | None = None  # folder that image paths are relative to; parquet: None when it holds the pictures
    captions: Path | None = None  # LLaVA JSON for pretraining
    check_images: Literal["none", "exists", "decode"] = "decode"  # decode finds truncated files, and costs a read each
    quarantine: Path | None = None  # list of `mmevol data check --quarantine`: rows with these pictures are refused
    captions_alone: bool = False  # let records through that have a caption and no question, for curation
    contamination: GateConfig | None = None  # compare with benchmark files; None: the split is the source's own
    max_failed: float = Field(default=0.1, ge=0, le=1)  # larger share of refused rows stops the run

    @model_validator(mode="after")
    def _has_files(self) -> SeedConfig:
        if self.source == "tiny_world":
            ignored = [name for name in _OF_FILES if getattr(self, name) != SeedConfig.model_fields[name].default]
            if ignored:
                raise ValueError(f"source tiny_world reads no files: leave out {', '.join(ignored)}")
        rooted = self.image_root is not None or self.source == "parquet"
        if self.source != "tiny_world" and (self.path is None or not rooted):
            raise ValueError(f"source {self.source} needs path and image_root")
        return self


def run(config: SeedConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """Write `seed.jsonl`, and `failed.jsonl` with the rows that were refused.

    Raises:
        UserError: when a file is missing or broken, nothing usable came out, or too many rows were refused.
    """
    if config.source == "tiny_world":
        return _tiny_world(config, out_dir)
    assert config.path is not None
    image_root = config.image_root or out_dir / "images"
    if config.image_root is None:
        image_root.mkdir(parents=True, exist_ok=True)
    elif not image_root.is_dir():
        raise UserError(f"image folder not found: {image_root}; set data.image_root")
    gate = Gate(config.contamination) if config.contamination else None
    found: Found = []  # what meets a benchmark, dropped or kept
    store = ImageStore(image_root, ImagePolicy(max_side=None))
    changes: Changes = {}
    examined = _examined(seed_rows(config, image_root, changes), store, config, gate, found)
    kept, refused, changed = _write(islice(examined, config.limit), out_dir, config.limit or 0, changes)
    total = kept + refused.total()
    broken = refused.total() - sum(count for reason, count in refused.items() if reason.startswith("contaminated_"))
    if not kept or broken > config.max_failed * total:
        (out_dir / "seed.jsonl").unlink()  # nobody takes it for whole
    if not kept:
        raise UserError(f"{config.path}: none of {total} rows is usable ({_named(refused)})", status=3)
    if broken > config.max_failed * total:
        raise UserError(
            f"{config.path}: {broken} of {total} rows refused ({_named(refused)}); see"
            f" {out_dir / 'failed.jsonl'} and fix the file, or allow more with data.max_failed"
        )
    files = {"seed": out_dir / "seed.jsonl", "images": image_root, "failed": out_dir / "failed.jsonl"}
    if config.captions is not None:
        if not config.captions.is_file():
            raise UserError(f"file not found: {config.captions}; set data.captions")
        files["captions"] = config.captions
    metrics: dict[str, Any] = {"rows": total, "records": kept, "failed": dict(refused), "changed": dict(changed)}
    if gate:
        listed, metrics["contamination"] = write_found(found, gate, out_dir)
        files |= listed
    return StageResult(files, metrics)


def seed_rows(config: SeedConfig, image_root: Path | None, changes: Changes) -> Iterator[Sample | Failure]:
    """The rows of a seed file, those with pictures in quarantine refused; no picture is opened.

    Pictures inside Parquet become files below `image_root`; without one they are only named.
    """
    path, alone = config.path, config.captions_alone
    assert path is not None
    if config.source == "parquet":
        rows = read_table(path, image_root, captions_alone=alone, changes=changes)
    elif config.source == "mmevol_json":
        rows = read_mmevol(path, captions_alone=alone)
    elif config.source == "llava_json":
        rows = read_llava(path, changes)
    else:
        rows = read_sample_rows(path, captions_alone=alone, changes=changes)
    return without(rows, read_quarantine(config.quarantine)) if config.quarantine else rows


def _tiny_world(config: SeedConfig, out_dir: Path) -> StageResult:
    world = tiny_world.build(
        out_dir, seed=config.seed, shapes=config.shapes, digits=config.digits, questions=config.questions
    )
    files = {"seed": world.seed, "images": world.images, "captions": world.captions, "held_out": world.held_out}
    records = world.counts["seed_records"]
    metrics: dict[str, Any] = {"rows": records, "records": records, "failed": {}, **world.counts}
    if config.contamination:
        gate, store, found = Gate(config.contamination), ImageStore(world.images, ImagePolicy(max_side=None)), Found()
        rows = enumerate(read_samples(world.seed), start=1)
        gated = (_gated(row, number, gate, store, found) for number, row in rows)
        kept, refused, _ = _write(gated, out_dir, records, {})
        if not kept:
            raise UserError(f"tiny world: none of {records} records is usable ({_named(refused)})", status=3)
        files["failed"] = out_dir / "failed.jsonl"
        metrics |= {"records": kept, "failed": dict(refused)}
        listed, metrics["contamination"] = write_found(found, gate, out_dir)
        files |= listed
    return StageResult(files, metrics)


def _examined(
    rows: Iterator[Sample | Failure],
    store: ImageStore,
    config: SeedConfig,
    gate: Gate | None,
    found: Found,
) -> Iterator[Sample | Failure]:
    """Rows with what is wrong with their pictures, and with what the gate found."""
    for number, row in enumerate(rows, start=1):
        checked = _with_images(row, number, store, config.check_images)
        yield _gated(checked, number, gate, store, found) if gate else checked


def _with_images(row: Sample | Failure, number: int, store: ImageStore, check: str) -> Sample | Failure:
    """Refuse a sample whose images cannot be used; add the sizes that decoding shows."""
    if isinstance(row, Failure):
        return row
    sizes = []
    for name in row.images:
        try:
            if check == "decode":
                sizes.append(store.load(name).original_size)
            else:
                store.path(name)
        except ImageFailure as failed:
            if check == "none" and failed.reason == "missing":
                continue
            return Failure(number, row.id, f"image_{failed.reason}", str(failed))
    return replace(row, sizes=tuple(sizes)) if sizes else row


def _gated(row: Sample | Failure, number: int, gate: Gate, store: ImageStore, found: Found) -> Sample | Failure:
    """Count a sample that meets a benchmark, and refuse it when the gate says so."""
    met = [] if isinstance(row, Failure) else gate.check(row, store)
    if isinstance(row, Failure) or not met:
        return row
    found.append((row.id, met))
    if gate.config.action == "keep":
        return row
    return Failure(number, row.id, f"contaminated_{met[0].sign}", "meets a benchmark")


def _write(
    rows: Iterator[Sample | Failure], out_dir: Path, total: int, changes: Changes
) -> tuple[int, Counter[str], Counter[str]]:
    """Write samples and failures in file order, one row in memory at a time; `changes` is emptied row by row.

    Returns:
        how many samples, how many failures by reason, how many samples by what was changed in them.
    """
    kept, refused, changed = 0, Counter[str](), Counter[str]()
    with (
        Progress(out_dir, "seed", total, "rows") as progress,
        replacing(out_dir / "seed.jsonl") as samples,
        replacing(out_dir / "failed.jsonl") as failures,
    ):
        for number, row in enumerate(rows, start=1):
            noted = changes.pop(number, ())
            if isinstance(row, Failure):
                refused[row.reason] += 1
                failures.write(_line(asdict(row)))
            else:
                kept += 1
                changed.update(noted)
                samples.write(_line(to_dict(row)))
            progress.advance(failed=refused.total())
    return kept, refused, changed


def _line(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _named(refused: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in refused.most_common()) or "the file is empty"


STAGE = Stage(config=SeedConfig, needs=(), run=run, version=f"5.{tiny_world.VERSION}")
