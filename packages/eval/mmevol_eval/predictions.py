"""The log of answers: one line an answer, appended as they come, so that a killed evaluation loses at most a batch.

A line counts only for the very prompt it answers: its key covers the model, the decoding, the texts and the pictures.
A last line cut short by a kill is dropped and asked again; so is a question that got no answer. Processes that share
the work append to logs of their own, which are merged into the one.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO

import orjson

from mmevol_core.errors import UserError
from mmevol_core.files import digest
from mmevol_core.progress import Progress
from mmevol_eval.benchmark import Image, Message, image_bytes
from mmevol_eval.models import Model, Prompt, decoding_of

messages = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of one run: `real`, `blind` or a probe's name."""

    run: str
    benchmark: str
    index: str
    message: Message
    max_new_tokens: int | None = None  # longest answer; None: the model's own setting


@dataclass(frozen=True, slots=True)
class Answer:
    """A logged answer; `failure` says why the text is empty when there is none. `truncated` as in `Reply`."""

    text: str
    failure: str | None
    truncated: bool | None = None


def without_reply(answers: Mapping[str, Answer]) -> frozenset[str]:
    """The indices of answers that there are none of."""
    return frozenset(index for index, answer in answers.items() if answer.failure is not None)


Place = tuple[str, str, str]  # run, benchmark, index
Answers = Mapping[Place, Answer]


def answer_all(asks: Sequence[Ask], model: Model, log: Path, out_dir: Path) -> Answers:
    """Answer what the log does not hold yet; return an answer for every ask.

    Raises:
        UserError: the log is broken before its last line, or another process is appending to it.
    """
    merge(log)
    keys = [prompt_key(ask, model) for ask in asks]
    found = _answered(logged(asks, keys, log))
    if found:  # an endpoint may serve other weights under the same name by now
        messages.warning("%d of %d answers are those given before, reused from %s", len(found), len(asks), log)
    with Progress(out_dir, "answer", len(asks), "items") as progress:
        progress.update(len(found), resumed=len(found))
        for place, answer in _ask(asks, keys, found, model, log):
            found[place] = answer
            progress.advance()
    check_complete(asks, found)
    return found


def answer_share(asks: Sequence[Ask], model: Model, log: Path, rank: int, world: int, out_dir: Path) -> None:
    """Answer every `world`-th of the open questions, from the `rank`-th on, into a log of this process's own.

    The logs must have been merged before any process looks for what is open.
    """
    keys = [prompt_key(ask, model) for ask in asks]
    found = _answered(logged(asks, keys, log))
    open_ = [number for number, ask in enumerate(asks) if place_of(ask) not in found][rank::world]
    with Progress(out_dir, f"answer (one of {world} processes)", len(open_), "items") as progress:
        mine = ([asks[number] for number in open_], [keys[number] for number in open_])
        for _ in _ask(*mine, {}, model, log.with_name(f"{log.stem}.rank-{rank}{log.suffix}")):
            progress.advance()


def merge(log: Path) -> None:
    """Append what processes left in logs of their own to the one; being killed here repeats lines at worst."""
    for part in sorted(log.parent.glob(f"{log.stem}.rank-*{log.suffix}")):
        with _appending(part) as _, _appending(log) as file:  # nobody may be writing to either
            _cut(part)
            _cut(log)
            file.write(part.read_bytes())
        part.unlink()


def logged(asks: Sequence[Ask], keys: Sequence[str], log: Path) -> dict[Place, Answer]:
    """The answers, and failures, that the log holds for these questions."""
    stored = read_log(log)
    pairs = ((place_of(ask), stored.get((key, *place_of(ask)))) for ask, key in zip(asks, keys, strict=True))
    return {place: answer for place, answer in pairs if answer is not None}


def check_complete(asks: Sequence[Ask], found: Answers) -> None:
    """Every question has an answer or a failure, and nothing else has."""
    asked = {place_of(ask) for ask in asks}
    if found.keys() != asked:
        raise AssertionError(f"{len(asked)} questions were asked and {len(found)} answers came back")


def _answered(found: Answers) -> dict[Place, Answer]:
    """Without the failures, which are asked again."""
    return {place: answer for place, answer in found.items() if answer.failure is None}


def _ask(
    asks: Sequence[Ask], keys: Sequence[str], found: Mapping[Place, Answer], model: Model, log: Path
) -> Iterator[tuple[Place, Answer]]:
    """Ask what was not found, and log every answer before it is yielded."""
    open_ = [number for number, ask in enumerate(asks) if place_of(ask) not in found]
    prompts = [Prompt(str(number), asks[number].message, asks[number].max_new_tokens) for number in open_]
    with _appending(log) as file:
        _cut(log)
        for reply in model.answer(prompts):
            ask, key = asks[int(reply.key)], keys[int(reply.key)]
            row = {"run": ask.run, "benchmark": ask.benchmark, "index": ask.index, "prediction": reply.text}
            made = {"failure": reply.failure, "truncated": reply.truncated}
            file.write(orjson.dumps({**row, **made, "key": key}, option=orjson.OPT_APPEND_NEWLINE))
            file.flush()
            yield place_of(ask), Answer(reply.text, reply.failure, reply.truncated)


def prompt_key(ask: Ask, model: Model) -> str:
    """Digest of everything that decides an answer."""
    parts = [part if isinstance(part, str) else {"image": _image_digest(part)} for part in ask.message.parts]
    return digest([model.fingerprint, decoding_of(model, ask.max_new_tokens), ask.message.system, parts])


def read_log(log: Path) -> dict[tuple[str, str, str, str], Answer]:
    """Answers by (key, run, benchmark, index), the latest of each; a last line that was cut does not count.

    Raises:
        UserError: another line is no answer.
    """
    if not log.is_file():
        return {}
    data = log.read_bytes()
    answers: dict[tuple[str, str, str, str], Answer] = {}
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            row = orjson.loads(line)
            place = (row["key"], row["run"], row["benchmark"], row["index"])
            answers[place] = Answer(row["prediction"], row["failure"], row.get("truncated"))
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(f"{log} line {number} is not an answer; remove the file to ask again") from error
    return answers


def place_of(ask: Ask) -> Place:
    """Where an answer belongs."""
    return ask.run, ask.benchmark, ask.index


def _image_digest(image: Image) -> str:
    try:
        return blake2b(image_bytes(image), digest_size=16).hexdigest()
    except OSError:
        return "unreadable"  # the model fails on it by name


def _cut(log: Path) -> None:
    """Take a last line that a kill cut short off the file."""
    data = log.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        os.truncate(log, whole)


@contextmanager
def _appending(log: Path) -> Iterator[IO[bytes]]:
    """The log, open for this process alone; on the disk when it is closed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process is writing to {log}; wait until it has ended") from error
        yield file
        file.flush()
        os.fsync(file.fileno())
