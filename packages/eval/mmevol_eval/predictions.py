"""The log of answers: one line an answer, appended as they come, so that a killed evaluation loses at most a batch.

A line counts only for the very prompt it answers: its key covers the model, the decoding, the texts and the pictures.
A last line cut short by a kill is dropped and asked again.
"""

from __future__ import annotations

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
from mmevol_eval.benchmark import Message
from mmevol_eval.models import Model, Prompt

CHUNK = 4096  # prompts prepared at once


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of one run: `real`, `blind` or a probe's name."""

    run: str
    benchmark: str
    index: str
    message: Message


@dataclass(frozen=True, slots=True)
class Answer:
    """A logged answer; `failure` says why the text is empty when there is none."""

    text: str
    failure: str | None


Answers = Mapping[tuple[str, str, str], Answer]  # (run, benchmark, index) -> answer


def answer_all(asks: Sequence[Ask], model: Model, log: Path, out_dir: Path) -> Answers:
    """Answer what the log does not hold yet; return an answer for every ask.

    Raises:
        UserError: the log is broken before its last line.
    """
    keys = [prompt_key(ask.message, model) for ask in asks]
    stored = read_log(log)
    found = {
        _place(ask): stored[key, *_place(ask)]
        for ask, key in zip(asks, keys, strict=True)
        if (key, *_place(ask)) in stored
    }
    open_asks = {str(number): (ask, keys[number]) for number, ask in enumerate(asks) if _place(ask) not in found}
    with Progress(out_dir, "answer", len(asks), "items") as progress, _appending(log) as file:
        progress.update(len(found), resumed=len(found))
        numbers = list(open_asks)
        for start in range(0, len(numbers), CHUNK):
            prompts = [Prompt(number, open_asks[number][0].message) for number in numbers[start : start + CHUNK]]
            for reply in model.answer(prompts):
                ask, key = open_asks[reply.key]
                found[_place(ask)] = Answer(reply.text, reply.failure)
                row = {"run": ask.run, "benchmark": ask.benchmark, "index": ask.index, "prediction": reply.text}
                file.write(
                    orjson.dumps({**row, "failure": reply.failure, "key": key}, option=orjson.OPT_APPEND_NEWLINE)
                )
                file.flush()
                progress.advance()
    if len(found) != len({_place(ask) for ask in asks}):
        raise AssertionError(f"{len(asks)} questions were asked and {len(found)} answers came back")
    return found


def prompt_key(message: Message, model: Model) -> str:
    """Digest of everything that decides an answer."""
    parts = [part if isinstance(part, str) else {"image": _image_digest(part)} for part in message.parts]
    return digest([model.fingerprint, dict(model.decoding), message.system, parts])


def read_log(log: Path) -> dict[tuple[str, str, str, str], Answer]:
    """Answers by (key, run, benchmark, index); the last line may be cut, and is then cut off the file."""
    if not log.is_file():
        return {}
    data = log.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        os.truncate(log, whole)
    answers: dict[tuple[str, str, str, str], Answer] = {}
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            row = orjson.loads(line)
            place = (row["key"], row["run"], row["benchmark"], row["index"])
            answers[place] = Answer(row["prediction"], row["failure"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(f"{log} line {number} is not an answer; remove the file to ask again") from error
    return answers


def _place(ask: Ask) -> tuple[str, str, str]:
    return ask.run, ask.benchmark, ask.index


def _image_digest(image: bytes | Path) -> str:
    return blake2b(image if isinstance(image, bytes) else image.read_bytes(), digest_size=16).hexdigest()


@contextmanager
def _appending(log: Path) -> Iterator[IO[bytes]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
