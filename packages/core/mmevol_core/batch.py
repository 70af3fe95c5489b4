"""The same questions through an OpenAI-style Batch API: half the price, answers within a day.

Questions are gathered into input files, submitted, polled and fetched; expired and failed lines are submitted again.
What is under way is written beside the journal before it is submitted, so that any later process goes on where this
one ended, without submitting, or paying, twice.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import orjson

from mmevol_core.asker import Asker
from mmevol_core.endpoint import BatchSettings, Endpoint
from mmevol_core.errors import UserError
from mmevol_core.files import read_json, write_json
from mmevol_core.journal import Attempt, Journal
from mmevol_core.limits import Budget
from mmevol_core.messages import NO_STRUCTURE, ChatFailure, Request, read_completion, refuses_structure

if TYPE_CHECKING:
    from openai import AsyncOpenAI

PATH: Literal["/v1/chat/completions"] = "/v1/chat/completions"
ENDED = {"completed", "expired", "cancelled"}  # an expired or cancelled batch has the lines that were done before
RETRYABLE = {"batch_expired", "batch_cancelled", "batch_missing"}
RETRIES = 5  # of one call to the server, by the SDK with growing pauses
LINES_AT_ONCE = 500  # answers that share a commit


@dataclass
class Job:
    """One batch. `tag` finds it on the server when this process died between submitting it and noting its id."""

    tag: str
    keys: list[str]
    file: str
    id: str | None = None
    submitted: float = 0.0


class Draft:
    """An input file that is being filled."""

    def __init__(self, path: Path) -> None:
        self.path, self.keys, self.touched = path, list[str](), time.monotonic()
        self._file = path.open("wb")

    def add(self, request: Request) -> None:
        """Append one request."""
        head = b'{"custom_id":"%s","method":"POST","url":"%s","body":' % (request.key.hex().encode(), PATH.encode())
        self._file.write(head + request.body + b"}\n")
        self.keys.append(request.key.hex())
        self.touched = time.monotonic()

    def full(self, settings: BatchSettings) -> bool:
        """Whether it must be submitted now."""
        return len(self.keys) >= settings.max_requests or self._file.tell() >= settings.max_mb << 20

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class BatchChat(Asker):
    """Answers by batches. `ask` returns when the batch that holds the question has been fetched.

    All rows whose answers are awaited are in memory (`endpoint.batch.max_requests` of them), so this suits prompts
    without pictures best.
    """

    def __init__(self, endpoint: Endpoint, journal: Journal, api_key: str | None = None) -> None:
        super().__init__(endpoint, journal, api_key)
        self._settings = endpoint.batch or BatchSettings()
        self._state = journal.path.with_name(journal.path.name + ".batches.json")
        self._waiting: dict[str, asyncio.Future[str | None]] = {}  # key to the class of its failure, None: answered
        self._jobs: list[Job] = []
        self._drafts: list[Draft] = []

    async def __aenter__(self) -> Self:
        import openai

        base = self.endpoint.base_url
        self._client: AsyncOpenAI = openai.AsyncOpenAI(base_url=base, api_key=self._key or "none", max_retries=RETRIES)
        self._budget = Budget(self.endpoint.max_usd, self._journal.counts.usd)
        if self._state.exists():
            self._jobs = [Job(**job) for job in read_json(self._state)]
            await self._guarded(self._adopt())
        for job in self._jobs:
            self._waiting.update((key, asyncio.get_running_loop().create_future()) for key in job.keys)
        self._serving = asyncio.create_task(self._guarded(self._serve()))
        self._serving.add_done_callback(self._pass_on)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serving.cancel()
        with suppress(asyncio.CancelledError, UserError):
            await self._serving
        for draft in self._drafts:
            draft.close()
            draft.path.unlink(missing_ok=True)
        await self._client.close()

    @property
    def rows_in_flight(self) -> int:
        """As many rows as one batch holds."""
        return self._settings.max_requests

    async def _until_answered(self, request: Request) -> None:
        key, worst = request.key.hex(), self._usd(request.prompt_tokens, self.endpoint.max_tokens)
        last = ""
        for _ in range(self.endpoint.max_attempts):
            await self._budget.hold(worst)
            try:
                if self._serving.done():
                    self._serving.result()
                if key not in self._waiting:
                    self._waiting[key] = asyncio.get_running_loop().create_future()
                    self._draft().add(request)
                error = await asyncio.shield(self._waiting[key])
            finally:
                self._budget.settle(worst, 0.0)
            if error is None:
                return
            last = error
            if not (error in RETRYABLE or error in {"http_429", "not_json"} or error.startswith("http_5")):
                raise ChatFailure(error)
        raise ChatFailure(last, f"the last of {self.endpoint.max_attempts} attempts")

    def _usd(self, prompt_tokens: float, completion_tokens: float) -> float:
        return self.endpoint.usd(prompt_tokens, completion_tokens) * self._settings.price

    def _draft(self) -> Draft:
        if not self._drafts or self._drafts[-1].full(self._settings):
            path = self._journal.path.with_name(f"{self._journal.path.name}.{uuid.uuid4().hex}.batch.jsonl")
            self._drafts.append(Draft(path))
        return self._drafts[-1]

    def _pass_on(self, task: asyncio.Task[None]) -> None:
        """Whatever ended the service ends everybody's waiting."""
        error = None if task.cancelled() else task.exception()
        for future in self._waiting.values():
            if not future.done():
                if error is None:
                    future.cancel()
                else:
                    future.set_exception(error)
                    future.exception()  # some wait for nobody

    async def _guarded(self, work: Any) -> None:
        """Turn the SDK's errors into one line."""
        import openai

        try:
            await work
        except openai.APIStatusError as error:
            key = self.endpoint.api_key_name or "api_key_name (no key was sent)"
            hint = f"; check {key}" if error.status_code in {401, 403} else "; check base_url and model"
            raise UserError(f"{self.endpoint.base_url}: batch request answered {error.status_code}{hint}") from error
        except openai.APIConnectionError as error:
            raise UserError(
                f"no connection to {self.endpoint.base_url}: {error}; batches under way are noted, "
                "run the same command again to go on"
            ) from error

    async def _adopt(self) -> None:
        """Find the ids of jobs whose submission was not noted; drop those that never reached the server."""
        lost = {job.tag: job for job in self._jobs if job.id is None}
        if lost:
            async for batch in self._client.batches.list(limit=100):
                job = lost.pop((batch.metadata or {}).get("tag", ""), None)
                if job is not None:
                    job.id = batch.id
                if not lost:
                    break
        self._jobs = [job for job in self._jobs if job.id is not None]
        self._note()

    def _note(self) -> None:
        write_json(self._state, [vars(job) for job in self._jobs])

    async def _serve(self) -> None:
        """Submit what is due, look at what is under way, for ever."""
        looked = 0.0
        while True:
            while self._drafts and self._due(self._drafts[0]):
                await self._submit(self._drafts.pop(0))
            if time.monotonic() - looked >= self._settings.poll_s:
                looked = time.monotonic()
                for job in list(self._jobs):
                    await self._look(job)
            await asyncio.sleep(min(self._settings.gather_s, self._settings.poll_s) / 2)

    def _due(self, draft: Draft) -> bool:
        return draft.full(self._settings) or time.monotonic() - draft.touched >= self._settings.gather_s

    async def _submit(self, draft: Draft) -> None:
        draft.close()
        job = Job(uuid.uuid4().hex, draft.keys, draft.path.name)
        uploaded = await self._client.files.create(file=draft.path, purpose="batch")
        self._jobs.append(job)
        self._note()  # before it costs anything
        batch = await self._client.batches.create(
            input_file_id=uploaded.id, endpoint=PATH, completion_window="24h", metadata={"tag": job.tag}
        )
        job.id, job.submitted = batch.id, time.time()
        self._note()
        self.stats.requests += len(job.keys)
        draft.path.unlink()

    async def _look(self, job: Job) -> None:
        batch = await self._client.batches.retrieve(job.id or "")
        if batch.status == "failed":
            said = batch.errors.data[0].message if batch.errors and batch.errors.data else "no reason given"
            self._jobs.remove(job)
            self._note()
            raise UserError(f"the server refused batch {batch.id}: {said}; lower batch.max_requests or batch.max_mb")
        if batch.status not in ENDED:
            return
        missing = set(job.keys)
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id is not None:
                await self._fetch_file(file_id, job, missing)
        rest = "batch_missing" if batch.status == "completed" else f"batch_{batch.status}"
        for key in missing:
            self._tell(key, rest)
        self._jobs.remove(job)  # only now: all its answers are committed
        self._note()

    async def _fetch_file(self, file_id: str, job: Job, missing: set[str]) -> None:
        content = await self._client.files.content(file_id)
        for lines in _chunks(content.content.splitlines(), LINES_AT_ONCE):
            read = [self._attempt(orjson.loads(line), job) for line in lines]
            known = [attempt for attempt in read if attempt.key.hex() in missing]
            await asyncio.gather(*(self._journal.put(attempt) for attempt in known))
            for attempt in known:
                missing.discard(attempt.key.hex())
                self._count(attempt)
                self._tell(attempt.key.hex(), attempt.error)

    def _attempt(self, line: dict[str, Any], job: Job) -> Attempt:
        response, failed = line.get("response") or {}, line.get("error") or {}
        raw, status = orjson.dumps(response.get("body")), int(response.get("status_code") or 0)
        done = read_completion(raw) if status == 200 else None
        error = None if done else failed.get("code") or ("refused" if status == 400 else f"http_{status}")
        error = "not_json" if error == "http_200" else error
        if error and self.endpoint.structured and refuses_structure(status, raw):
            error = NO_STRUCTURE
        tokens = (done.prompt_tokens, done.completion_tokens) if done else (0, 0)
        key = bytes.fromhex(line["custom_id"])
        latency, usd = time.time() - job.submitted, self._usd(*tokens)
        return Attempt(key=key, status=status, error=error, latency_s=latency, raw=raw, prompt_tokens=tokens[0],
                       completion_tokens=tokens[1], usd=usd)  # fmt: skip

    def _count(self, attempt: Attempt) -> None:
        stats = self.stats
        stats.prompt_tokens += attempt.prompt_tokens
        stats.completion_tokens += attempt.completion_tokens
        stats.usd += attempt.usd
        self._budget.settle(0.0, attempt.usd)
        if attempt.error is None:
            stats.answered += 1
        else:
            stats.errors[attempt.error] += 1

    def _tell(self, key: str, error: str | None) -> None:
        future = self._waiting.pop(key, None)
        if future is not None and not future.done():
            future.set_result(error)


def _chunks(lines: list[bytes], size: int) -> Iterator[list[bytes]]:
    for start in range(0, len(lines), size):
        yield lines[start : start + size]
