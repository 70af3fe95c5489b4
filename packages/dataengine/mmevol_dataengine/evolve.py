"""Stage `evolve`: seed records in, evolved records out, with a ledger of every item on the way.

Kill it at any moment and call it again: paid answers are in the journal, finished records in the outcome log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BeforeValidator, Field, SerializeAsAny

from mmevol_core.chat import run as run_rows
from mmevol_core.config import Config, fit
from mmevol_core.errors import UserError
from mmevol_core.files import read_json, replacing, write_json
from mmevol_core.journal import Journal
from mmevol_core.progress import Progress
from mmevol_core.sample import Sample, from_dict, to_dict
from mmevol_core.stage import Stage, StageResult
from mmevol_dataengine.analysis import Analysis
from mmevol_dataengine.ledger import REJECTED, Ledger, Outcome
from mmevol_dataengine.outcomes import OutcomeLog
from mmevol_dataengine.parsing import VERSION as PARSER_VERSION
from mmevol_dataengine.recipes import find
from mmevol_dataengine.recipes.recipe import RecipeConfig
from mmevol_dataengine.teacher import TeacherConfig, Voice, open_journal, speak

VERSION = f"9.{PARSER_VERSION}"
MARKER = "finished.json"


def _typed(value: Any) -> Any:
    """The configuration of the recipe that a mapping names, `mmevol` when it names none."""
    if isinstance(value, Mapping):
        return fit(find(str(value.get("name", "mmevol"))).config, value, "recipe")
    return value


class EvolveConfig(Config):
    """What to do with the records, and who does it."""

    recipe: Annotated[SerializeAsAny[RecipeConfig], BeforeValidator(_typed)] = Field({}, validate_default=True)
    teacher: TeacherConfig
    judge: TeacherConfig | None = None  # None: the teacher marks its own work, as in the paper
    limit: int | None = Field(default=None, ge=1)  # preview: only the first records
    max_failed: float = Field(default=0.05, ge=0, le=1, exclude=True)  # larger share without an answer stops it


def run(config: EvolveConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """Evolve every record of `inputs["seed"]`.

    Raises:
        UserError: for a bad key, a dead endpoint or a spent budget (the same command goes on from there), or when
            too many rounds failed.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    total = sum(1 for _ in _lines(inputs["seed"], config.limit))
    with OutcomeLog(out_dir / "outcomes.jsonl") as log, open_journal(out_dir, config.teacher, config.judge) as journal:
        if len(log) < total:
            _evolve_rest(config, inputs, out_dir, log, journal, total)
        return _finished(out_dir, log, total) or _finish(config, log, journal, out_dir, total)


def _lines(path: Path, limit: int | None) -> Iterator[bytes]:
    """The records as text."""
    try:
        with path.open("rb") as file:
            yield from islice((line for line in file if line.strip()), limit)
    except FileNotFoundError as error:
        raise UserError(f"file not found: {path}; run the stage seed first") from error


def _undone(path: Path, limit: int | None, log: OutcomeLog) -> Iterator[tuple[int, Sample]]:
    """Place and content of the records that the log lacks; the others are not even parsed."""
    for number, line in enumerate(_lines(path, limit)):
        if number not in log:
            where = f"{path} record {number + 1}"
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise UserError(f"{where} is not JSON: {error}") from error
            yield number, from_dict(row, where)


def _evolve_rest(
    config: EvolveConfig, inputs: Mapping[str, Path], out_dir: Path, log: OutcomeLog, journal: Journal, total: int
) -> None:
    """Do the records that the log lacks, as many at a time as the endpoint takes."""
    rest, evolve = _undone(inputs["seed"], config.limit, log), find(config.recipe.name).evolve
    with Progress(out_dir, "evolve", total, "records") as progress:

        async def work(author: Voice, critic: Voice) -> None:
            async def one(row: tuple[int, Sample]) -> Outcome:
                return await evolve(config.recipe, row[1], author, critic)

            ledger = Ledger()
            async for (number, _), outcome in run_rows(rest, one, author.chat.rows_in_flight):
                log.add(number, outcome)
                ledger.add(outcome)
                usd = round(journal.counts.usd, 4)
                progress.update(len(log), usd=usd, **ledger.brief(), **author.chat.stats.brief())

        speak(config.teacher, config.judge, journal, inputs["images"], out_dir, work)


def _finished(out_dir: Path, log: OutcomeLog, total: int) -> StageResult | None:
    """The result of an earlier call when nothing has changed since: the marker is written last."""
    path = out_dir / MARKER
    found = read_json(path) if path.exists() else {}
    files = {role: out_dir / name for role, name in found.get("files", {}).items()}
    if found.get("state") != _state(log, total) or not all(file.exists() for file in files.values()):
        return None
    return StageResult(files, found["metrics"])


def _state(log: OutcomeLog, total: int) -> list[Any]:
    """What the outputs depend on, beside the program: the outcomes, by their number and size."""
    return [VERSION, total, len(log), log.size]


def _finish(config: EvolveConfig, log: OutcomeLog, journal: Journal, out_dir: Path, total: int) -> StageResult:
    """Write the roles in the order of the input, and close the books."""
    ledger, analysis = Ledger(), Analysis()
    files = {role: out_dir / f"{role}.jsonl" for role in ("evolved", "eliminated")}
    with replacing(files["evolved"]) as evolved, replacing(files["eliminated"]) as eliminated:
        for outcome in log:
            ledger.add(outcome)
            analysis.add(outcome.sample)
            evolved.write(_line(to_dict(outcome.sample)))
            eliminated.writelines(_line(row) for row in _rejected(outcome))
    books = ledger.as_dict(total)
    if ledger.failed_rounds > config.max_failed * ledger.asked_rounds:
        log.path.unlink()  # the journal keeps every answer; the next call asks for the failed ones only
        raise UserError(
            f"evolve: {ledger.failed_rounds} of {ledger.asked_rounds} rounds got no usable answer"
            f" ({books['total']['failed_records']}); look at the endpoint and run again, or raise evolve.max_failed",
            status=3,
        )
    files |= {"ledger": out_dir / "ledger.json", "analysis": out_dir / "analysis.json"}
    write_json(files["analysis"], analysis.as_dict())
    usage = asdict(journal.counts)
    write_json(
        files["ledger"], {**books, "usage": usage, "notes": journal.notes, "prompt_version": config.recipe.prompts}
    )
    metrics = {"records": total, **books["total"], "usage": usage}
    names = {role: file.name for role, file in files.items()}
    write_json(out_dir / MARKER, {"state": _state(log, total), "files": names, "metrics": metrics})
    return StageResult(files, metrics)


def _rejected(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """One row an item that did not survive: whose, when, why, and the item itself."""
    for turn in outcome.turns:
        for rejected in turn.rejected:
            row = REJECTED.dump_python(rejected, mode="json", exclude_defaults=True)
            yield {"sample": outcome.sample.id, "round": turn.round, "direction": turn.direction, **row}


def _line(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


STAGE = Stage(config=EvolveConfig, needs=("seed", "images"), run=run, version=VERSION)
