"""Stage `curation`: seed records joined, checked, completed and sorted by topic before they are evolved.

Records: in = kept + merged + eliminated (by reason) + failed (by reason). Items: in - same - lifted + written =
out + lost with their records. Kill it and call it again: paid answers are in the journal, looked-at pictures in a log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson
from pydantic import Field

from mmevol_core.chat import run as run_rows
from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.files import digest, replacing, write_json
from mmevol_core.images import ImageStore
from mmevol_core.journal import Journal
from mmevol_core.progress import Progress
from mmevol_core.sample import Sample, read_samples, to_dict, write_samples
from mmevol_core.stage import Stage, StageResult
from mmevol_dataengine.annotate import Annotator
from mmevol_dataengine.curator import Curated, CuratorConfig, curate
from mmevol_dataengine.detect import AnnotateConfig
from mmevol_dataengine.distribution import distribution
from mmevol_dataengine.merging import Merging, merged
from mmevol_dataengine.parsing import VERSION as PARSER_VERSION
from mmevol_dataengine.prompts.curation_text import PROMPT_VERSION
from mmevol_dataengine.teacher import TeacherConfig, Voice, open_journal, speak
from mmevol_dataengine.topics import TopicsConfig, text_of, topics_of


class CurationConfig(Config):
    """What is done to seed records, and by whom."""

    merge: bool = True  # records with the same images become one
    annotate: AnnotateConfig = AnnotateConfig()  # tools that look at pictures
    curator: CuratorConfig = CuratorConfig()  # what the teacher is asked for
    teacher: TeacherConfig | None = None  # None: nobody is asked
    judge: TeacherConfig | None = None  # decides on relevance; None: the teacher
    topics: TopicsConfig | None = TopicsConfig()  # None: topics stay as they are
    domains: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # domain -> sources, for the distribution
    limit: int | None = Field(default=None, ge=1)  # preview: only the first joined records
    max_failed: float = Field(default=0.05, ge=0, le=1, exclude=True)  # larger share without an answer stops it


@dataclass
class _Books:
    """What became of records and items."""

    merging: Merging = field(default_factory=Merging)
    status: dict[str, Counter[str]] = field(default_factory=lambda: {"eliminated": Counter(), "failed": Counter()})
    work: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    items_out: int = 0
    items_lost: int = 0

    def add(self, done: Curated) -> None:
        self.work.update(done.counts)
        if done.status == "kept":
            self.kept += 1
            self.items_out += len(done.sample.latest)
        else:
            self.status[done.status][done.reason] += 1
            self.items_lost += len(done.sample.latest)

    def as_dict(self) -> dict[str, Any]:
        """JSON form; the sums are asserted."""
        eliminated, failed, merging = self.status["eliminated"], self.status["failed"], self.merging
        lifted, written = self.work["items_lifted"], self.work["items_written"]
        assert merging.records == self.kept + merging.absorbed + eliminated.total() + failed.total(), "records add up"
        assert merging.items - merging.same_items - lifted + written == self.items_out + self.items_lost, "items add up"
        judged = self.work["matched"] + eliminated["irrelevant"]
        return {
            "records": {
                "in": merging.records, "kept": self.kept, "merged": merging.absorbed,
                "eliminated": dict(eliminated), "failed": dict(failed),
            },
            "items": {
                "in": merging.items, "same": merging.same_items, "lifted": lifted, "written": written,
                "out": self.items_out, "lost": self.items_lost,
            },
            "relevance": {"judged": judged, "kept_share": self.work["matched"] / judged if judged else None},
            "captions_dropped": merging.captions_dropped,
            "same_boxes": merging.same_boxes,
            "same_texts": merging.same_texts,
            "same_question_other_answer": merging.other_answers,
            "work": dict(sorted(self.work.items())),
            "prompt_version": PROMPT_VERSION,
        }  # fmt: skip


def run(config: CurationConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """Curate the records of `inputs["seed"]`, whose pictures are below `inputs["images"]`.

    Raises:
        UserError: for a bad key, a dead endpoint or a spent budget (the same command goes on from there), when too many
            records failed, or when none is left.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    files = {role: out_dir / f"{role}.jsonl" for role in ("seed", "eliminated")}
    files |= {role: out_dir / f"{role}.json" for role in ("curation", "distribution")}
    if inputs["seed"].resolve() in {file.resolve() for file in files.values()}:
        raise UserError(f"{inputs['seed']} would be overwritten; choose another folder than {out_dir}")
    for file in files.values():
        file.unlink(missing_ok=True)  # a refusal leaves no earlier result beside it
    books = _Books()
    _prepare(config, inputs, out_dir, books)
    with open_journal(out_dir, config.teacher, config.judge) as journal:
        with replacing(out_dir / "kept.jsonl") as kept, replacing(out_dir / "eliminated.jsonl") as lost:
            _all(config, inputs, out_dir, journal, _Ordered(books, kept, lost))
        usage = asdict(journal.counts)
    ledger, path = books.as_dict(), inputs["seed"]
    if not books.kept:
        raise UserError(
            f"{path}: no record is left ({ledger['records']}); see {out_dir / 'eliminated.jsonl'}", status=3
        )
    failed = books.status["failed"].total()
    if failed > config.max_failed * (books.merging.records - books.merging.absorbed):
        raise UserError(
            f"{path}: {failed} records failed ({ledger['records']['failed']}); look at the endpoint and run again, or"
            " allow more with curation.max_failed",
            status=3,
        )
    topics = _finish(config, out_dir)
    write_json(files["distribution"], {**distribution(read_samples(files["seed"]), config.domains), **topics})
    write_json(files["curation"], {**ledger, **topics, "usage": usage})
    return StageResult(files, {**ledger, "usage": usage})


def _prepare(config: CurationConfig, inputs: Mapping[str, Path], out_dir: Path, books: _Books) -> None:
    """Join what belongs together and let the tools look at the pictures: `prepared.jsonl`."""
    rows = islice(merged(inputs["seed"], books.merging, join=config.merge), config.limit)
    log = out_dir / f"annotations-{digest(config.annotate.model_dump(mode='json'))}.jsonl"  # other tools, another log
    with (
        Annotator(config.annotate, ImageStore(inputs["images"]), log) as annotator,
        Progress(out_dir, "look", 0, "records") as progress,
    ):
        write_samples(out_dir / "prepared.jsonl", _advancing(annotator.annotate(rows), progress))
    books.work.update({f"look_{name}": count for name, count in annotator.counts.items() if count})


def _advancing(samples: Iterator[Sample], progress: Progress) -> Iterator[Sample]:
    for sample in samples:
        progress.advance()
        yield sample


class _Ordered:
    """Writes results in the order of the input, whatever order they come in, and counts them."""

    def __init__(self, books: _Books, kept: IO[bytes], lost: IO[bytes]) -> None:
        self._books, self._kept, self._lost = books, kept, lost
        self._waiting: dict[int, Curated] = {}
        self.done = 0

    def add(self, number: int, result: Curated) -> None:
        """Take the result of record `number` (from 0)."""
        self._waiting[number] = result
        while (found := self._waiting.pop(self.done, None)) is not None:
            self.done += 1
            self._books.add(found)
            if found.status == "kept":
                self._kept.write(_line(to_dict(found.sample)))
            else:
                row = {"status": found.status, "reason": found.reason, "detail": found.detail}
                self._lost.write(_line({**row, "record": to_dict(found.sample)}))


def _all(
    config: CurationConfig, inputs: Mapping[str, Path], out_dir: Path, journal: Journal, results: _Ordered
) -> None:
    """Ask the teacher about every prepared record; without a teacher only records without questions are lost."""
    rows = enumerate(read_samples(out_dir / "prepared.jsonl"))
    if config.teacher is None:
        for number, sample in rows:
            lost = Curated(sample, "eliminated", "no_questions")
            results.add(number, Curated(sample, "kept") if sample.latest else lost)
        return
    with Progress(out_dir, "curate", 0, "records") as progress:

        async def work(author: Voice, critic: Voice) -> None:
            async def one(row: tuple[int, Sample]) -> Curated:
                return await curate(config.curator, row[1], author, critic)

            async for (number, _), done in run_rows(rows, one, author.chat.rows_in_flight):
                results.add(number, done)
                progress.update(results.done, usd=round(journal.counts.usd, 4), **author.chat.stats.brief())

        speak(config.teacher, config.judge, journal, inputs["images"], out_dir, work)


def _finish(config: CurationConfig, out_dir: Path) -> dict[str, Any]:
    """Give the kept records their topics and write `seed.jsonl`."""
    kept = out_dir / "kept.jsonl"
    if config.topics is None:
        kept.replace(out_dir / "seed.jsonl")
        return {}
    topics = topics_of([text_of(sample) for sample in read_samples(kept)], config.topics)
    write_samples(out_dir / "seed.jsonl", _labelled(kept, topics.labels))
    kept.unlink()
    return topics.as_dict()


def _labelled(path: Path, labels: Sequence[str]) -> Iterator[Sample]:
    for sample, label in zip(read_samples(path), labels, strict=True):
        yield replace(sample, topic=label)


def _line(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


STAGE = Stage(config=CurationConfig, needs=("seed", "images"), run=run, version=f"5.{PROMPT_VERSION}.{PARSER_VERSION}")
