"""The same questions through an OpenAI-style Batch API: half the price, answers within a day.

Questions are gathered into input files, submitted, polled and fetched; expired and failed lines are submitted again.
What is under way is written beside the journal before it is submitted, so that any later process goes on where this
one ended, without submitting, or paying, twice.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mmevol_core.asker import Asker
from mmevol_core.batch_files import PATH, Draft, Job, close_book, find_tagged, open_book, read_line
from mmevol_core.endpoint import BatchSettings, Endpoint
from mmevol_core.errors import UserError
from mmevol_core.failures import fatal, retryable
from mmevol_core.journal import Attempt, Journal
from mmevol_core.limits import Budget
from mmevol_core.messages import ChatFailure, Request

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

ENDED = {"completed", "expired", "cancelled"}  # an expired or cancelled batch has the lines that were done before
RETRIES = 5  # of one call to the server, with growing pauses
LINES_AT_ONCE = 500  # answers that share a commit


class BatchChat(Asker):
    """Answers by batches. `ask` returns when the batch that holds the question has been fetched.

    All rows whose answers are awaited are in memory (`endpoint.batch.max_requests` of them), so this suits prompts
    without pictures best.
    """

    def __init__(self, endpoint: Endpoint, journal: Journal, api_key: str | None = None) -> None:
        super().__init__(endpoint, journal, api_key)
        self._settings = endpoint.batch or BatchSettings()
        self._jobs: list[Job] = []
        self._adopted: set[str] = set()  # tags of jobs that an earlier process submitted
        self._drafts: list[Draft] = []
        self._keys: set[str] = set()  # of the book's waiting ones that this client answers

    async def __aenter__(self) -> Self:
        import openai

        base = self.endpoint.base_url
        self._client: AsyncOpenAI = openai.AsyncOpenAI(base_url=base, api_key=self._key or "none", max_retries=RETRIES)
        self._budget = Budget(self.endpoint.max_usd, self._journal.purse(self.endpoint.model))
        self._book = open_book(self._journal.path)
        try:
            self._jobs = self._book.take(base, self.endpoint.model)
            await self._guarded(self._adopt())
        except UserError:
            self._leave()
            await self._client.close()
            raise
        for job in self._jobs:
            for key in job.keys:
                self._wait_for(key)
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
        self._leave()
        await self._client.close()

    def _leave(self) -> None:
        for job in self._jobs:
            if job.tag in self._adopted:
                self._budget.settle(job.usd, 0.0)  # whoever adopts it next sets it aside again
        self._book.taken.difference_update(job.tag for job in self._jobs)
        for key in self._keys:
            self._book.waiting.pop(key, None)
        close_book(self._book)

    def _wait_for(self, key: str) -> None:
        self._keys.add(key)
        self._book.waiting[key] = asyncio.get_running_loop().create_future()

    @property
    def rows_in_flight(self) -> int:
        """As many rows as one batch holds."""
        return self._settings.max_requests

    async def _until_answered(self, request: Request) -> None:
        worst = self._usd(request.prompt_tokens(self.endpoint.tokens_per_image), self.endpoint.max_tokens)
        last = ""
        for _ in range(self.endpoint.max_attempts):
            error = await self._attempted(request, worst)
            if error is None:
                return
            last = error
            if not retryable(error):
                raise ChatFailure(error)
        raise ChatFailure(last, f"the last of {self.endpoint.max_attempts} attempts")

    async def _attempted(self, request: Request, worst: float) -> str | None:
        """Put a question into a batch, unless it is in one already, and wait for what comes of it."""
        key, waiting, held = request.key.hex(), self._book.waiting, 0.0
        if key not in waiting:
            await self._budget.hold(worst)
            held = worst
        try:
            if self._serving.done():
                self._serving.result()
            if key not in waiting:
                self._wait_for(key)
                self._draft().add(request, worst)
            return await asyncio.shield(waiting[key])
        finally:
            self._budget.settle(held, 0.0)

    def _usd(self, prompt_tokens: float, completion_tokens: float) -> float:
        return self.endpoint.usd(prompt_tokens, completion_tokens) * self._settings.price

    def _draft(self) -> Draft:
        if not self._drafts or self._drafts[-1].full(self._settings):
            self._drafts.append(Draft(self._journal.path))
        return self._drafts[-1]

    def _pass_on(self, task: asyncio.Task[None]) -> None:
        """Whatever ended the service ends everybody's waiting."""
        error = None if task.cancelled() else task.exception()
        for future in (self._book.waiting[key] for key in self._keys):
            if future.done():
                continue
            if error is None:
                future.cancel()
            else:
                future.set_exception(error)
                future.exception()  # some wait for nobody

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Turn the SDK's errors into one line."""
        import openai

        kept = "batches under way are noted, run the same command again to go on"
        try:
            await work
        except openai.APIStatusError as error:
            said = error.response
            stop = fatal(self.endpoint, str(said.request.url), said.status_code, said.content)
            if stop is not None:
                raise stop from error
            hint = kept if said.status_code == 429 or said.status_code >= 500 else "check base_url and model"
            raise UserError(f"{self.endpoint.base_url}: batch request answered {said.status_code}; {hint}") from error
        except openai.APIConnectionError as error:
            raise UserError(f"no connection to {self.endpoint.base_url}: {error}; {kept}") from error

    async def _adopt(self) -> None:
        """Find the ids of jobs whose submission was not noted; drop those that never reached the server."""
        lost = {job.tag: job for job in self._jobs if job.id is None}
        for tag, batch in (await find_tagged(self._client, set(lost))).items():
            job = lost.pop(tag)
            job.id, job.submitted = batch.id, float(batch.created_at)
        for job in lost.values():
            self._jobs.remove(job)
            self._book.drop(job)
        for job in self._jobs:
            self._adopted.add(job.tag)
            self._budget.set_aside(job.usd)
        self._book.note()

    async def _serve(self) -> None:
        """Submit what is due, look at what is under way, for ever."""
        looked = 0.0
        while True:
            while self._drafts and self._due(self._drafts[0]):
                await self._submit(self._drafts[0])
            if time.monotonic() - looked >= self._settings.poll_s:
                looked = time.monotonic()
                for job in list(self._jobs):
                    await self._look(job)
            await asyncio.sleep(min(self._settings.gather_s, self._settings.poll_s) / 2)

    def _due(self, draft: Draft) -> bool:
        return draft.full(self._settings) or time.monotonic() - draft.touched >= self._settings.gather_s

    async def _submit(self, draft: Draft) -> None:
        draft.close()
        end = self.endpoint
        job = Job(uuid.uuid4().hex, draft.keys, draft.path.name, url=end.base_url, model=end.model, usd=draft.usd)
        self._drafts.remove(draft)
        self._jobs.append(job)
        uploaded = await self._client.files.create(file=draft.path, purpose="batch")
        self._book.jobs.append(job)
        self._book.taken.add(job.tag)
        self._book.note()  # before it costs anything
        batch = await self._created(job, uploaded.id)
        job.id, job.submitted = batch.id, time.time()
        self._book.note()
        draft.path.unlink()

    async def _created(self, job: Job, file_id: str) -> Batch:
        """Create the batch once. A call that failed may have reached the server, so look before calling again."""
        import openai

        once = self._client.with_options(max_retries=0).batches
        for attempt in range(RETRIES + 1):
            try:
                return await once.create(
                    input_file_id=file_id, endpoint=PATH, completion_window="24h", metadata={"tag": job.tag}
                )
            except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError):
                if attempt == RETRIES:
                    raise
                await asyncio.sleep(min(0.5 * 2**attempt, 8.0))
                if found := await find_tagged(self._client, {job.tag}):
                    return found[job.tag]
        raise AssertionError("unreachable")

    async def _look(self, job: Job) -> None:
        batch = await self._retrieved(job)
        if batch.status == "failed":
            said = batch.errors.data[0].message if batch.errors and batch.errors.data else "no reason given"
            self._end(job)
            raise UserError(f"the server refused batch {batch.id}: {said}; lower batch.max_requests or batch.max_mb")
        if batch.status not in ENDED:
            return
        missing = set(job.keys)
        for done, error in self._journal.fetched(job.tag).items():  # by a process that was killed before the end
            missing.discard(done.hex())
            self._tell(done.hex(), error)
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id is not None:
                await self._fetch_file(file_id, job, missing)
        rest = "batch_missing" if batch.status == "completed" else f"batch_{batch.status}"
        for key in missing:
            self._tell(key, rest)
        self._end(job)  # only now: all its answers are committed

    async def _retrieved(self, job: Job) -> Batch:
        import openai

        try:
            return await self._client.batches.retrieve(job.id or "")
        except openai.NotFoundError as error:
            raise UserError(
                f"{self.endpoint.base_url} knows no batch {job.id}, which was submitted from here; check base_url and "
                f"the key, or delete {self._book.path} to ask, and pay, again"
            ) from error

    def _end(self, job: Job) -> None:
        self._jobs.remove(job)
        self._book.drop(job)
        self._journal.forget(job.tag)
        if job.tag in self._adopted:
            self._adopted.remove(job.tag)
            self._budget.settle(job.usd, 0.0)

    async def _fetch_file(self, file_id: str, job: Job, missing: set[str]) -> None:
        content = await self._client.files.content(file_id)
        lines = content.content.splitlines()
        for start in range(0, len(lines), LINES_AT_ONCE):
            read = (read_line(line, job, self.endpoint) for line in lines[start : start + LINES_AT_ONCE])
            known = {attempt.key.hex(): attempt for attempt in read if attempt and attempt.key.hex() in missing}
            await asyncio.gather(*(self._journal.put(attempt) for attempt in known.values()))
            for key, attempt in known.items():
                missing.discard(key)
                self._count(attempt)
                self._tell(key, attempt.error)

    def _count(self, attempt: Attempt) -> None:
        self._budget.settle(0.0, attempt.usd)
        if attempt.error is not None:
            self.stats.errors[attempt.error] += 1

    def _tell(self, key: str, error: str | None) -> None:
        self._keys.discard(key)
        future = self._book.waiting.pop(key, None)
        if future is not None and not future.done():
            future.set_result(error)
