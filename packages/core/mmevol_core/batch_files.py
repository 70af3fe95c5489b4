"""What batches leave beside the journal: input files being filled, and the note of what is under way; their lines."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from mmevol_core.endpoint import BatchSettings, Endpoint
from mmevol_core.failures import classify
from mmevol_core.files import read_json, write_json
from mmevol_core.journal import Attempt
from mmevol_core.messages import Request, read_completion

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

PATH: Literal["/v1/chat/completions"] = "/v1/chat/completions"
UNSENT = {"batch_expired", "batch_cancelled"}  # codes of lines that were never asked


@dataclass
class Job:
    """One batch. `tag` finds it on the server when this process died between submitting it and noting its id."""

    tag: str
    keys: list[str]
    file: str
    id: str | None = None
    submitted: float = 0.0
    url: str = ""  # of the server that has it
    model: str = ""  # that answers and is paid; empty in notes of before it was kept
    usd: float = 0.0  # what it may cost at most


class Draft:
    """An input file that is being filled."""

    def __init__(self, journal: Path) -> None:
        self.path = journal.with_name(f"{journal.name}.{uuid.uuid4().hex}.batch.jsonl")
        self.keys, self.usd, self.touched = list[str](), 0.0, time.monotonic()
        self._file = self.path.open("wb")

    def add(self, request: Request, worst_usd: float) -> None:
        """Append one request."""
        head = b'{"custom_id":"%s","method":"POST","url":"%s","body":' % (request.key.hex().encode(), PATH.encode())
        self._file.write(head + request.body + b"}\n")
        self.keys.append(request.key.hex())
        self.usd += worst_usd
        self.touched = time.monotonic()

    def full(self, settings: BatchSettings) -> bool:
        """Whether it must be submitted now."""
        return len(self.keys) >= settings.max_requests or self._file.tell() >= settings.max_mb << 20

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


@dataclass
class Book:
    """The batches of one journal. A teacher and a judge may share a journal, so its clients share the book."""

    path: Path
    jobs: list[Job] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)  # tags of jobs that a client of this process looks after
    waiting: dict[str, asyncio.Future[str | None]] = field(default_factory=dict)  # key to its failure, None: answered
    clients: int = 0

    def note(self) -> None:
        """Write down what is under way."""
        write_json(self.path, [asdict(job) for job in self.jobs])

    def take(self, url: str, model: str) -> list[Job]:
        """Jobs of a model on a server that nobody looks after yet; those of another stay noted for its client."""
        fits = [job for job in self.jobs if job.url in {"", url} and job.model in {"", model}]
        mine = [job for job in fits if job.tag not in self.taken]
        self.taken.update(job.tag for job in mine)
        return mine

    def drop(self, job: Job) -> None:
        """Forget a job that is over."""
        self.jobs.remove(job)
        self.taken.discard(job.tag)
        self.note()


_OPEN: dict[Path, Book] = {}  # journals are locked: one process has one book of each


def open_book(journal: Path) -> Book:
    """The book of a journal; the first to open it reads the note and removes what a killed process was filling."""
    path = journal.with_name(journal.name + ".batches.json")
    book = _OPEN.get(path)
    if book is None:
        jobs = [Job(**job) for job in read_json(path)] if path.exists() else []
        for draft in journal.parent.glob(f"{journal.name}.*.batch.jsonl"):
            draft.unlink()
        book = _OPEN[path] = Book(path, jobs)
    book.clients += 1
    return book


def close_book(book: Book) -> None:
    """The last to close it forgets it; the note stays."""
    book.clients -= 1
    if not book.clients:
        _OPEN.pop(book.path, None)


async def find_tagged(client: AsyncOpenAI, tags: set[str]) -> dict[str, Batch]:
    """Batches on the server that were submitted with these tags."""
    found: dict[str, Batch] = {}
    if tags:
        async for batch in client.batches.list(limit=100):
            tag = (batch.metadata or {}).get("tag", "")
            if tag in tags:
                found[tag] = batch
            if len(found) == len(tags):
                break
    return found


def read_line(line: bytes, job: Job, endpoint: Endpoint) -> Attempt | None:
    """What one line of an output file says; None when it is broken (its question then counts as missing)."""
    try:
        said = orjson.loads(line)
        key, response, failed = bytes.fromhex(said["custom_id"]), said.get("response") or {}, said.get("error")
        raw, status = orjson.dumps(response.get("body")), int(response.get("status_code") or 0)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    done = read_completion(raw) if status == 200 else None
    prompt, completion = (done.prompt_tokens, done.completion_tokens) if done else (0, 0)
    settings, usd = endpoint.batch or BatchSettings(), 0.0
    if done and done.counted:
        usd = endpoint.usd(prompt, completion) * settings.price
    elif status == 200:  # paid, and nobody says how much
        usd = job.usd / len(job.keys)
    return Attempt(key=key, status=status, error=None if done else _reason(status, raw, failed, endpoint), raw=raw,
                   latency_s=time.time() - job.submitted, prompt_tokens=prompt, completion_tokens=completion, usd=usd,
                   model=endpoint.model, job=job.tag)  # fmt: skip


def _reason(status: int, raw: bytes, failed: Any, endpoint: Endpoint) -> str:
    """The class of a line's failure."""
    if not status:
        code = failed.get("code") if isinstance(failed, dict) else None
        return code if code in UNSENT else "batch_missing"
    return classify(status, raw, structured=endpoint.structured)
