"""Ask a chat model many things: politely, within a budget, and never the same thing twice."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from types import TracebackType
from typing import Self

from mmevol_core.asker import Asker, ChatStats
from mmevol_core.endpoint import Endpoint
from mmevol_core.errors import UserError
from mmevol_core.failures import OF_ONE_ROW
from mmevol_core.flow import run
from mmevol_core.journal import Attempt, Journal
from mmevol_core.limits import Breaker, Budget, Rate, Window
from mmevol_core.messages import ChatFailure, Completion, Message, Reply, Request, system, user
from mmevol_core.transport import Outcome, Transport

__all__ = [
    "Asker",
    "Chat",
    "ChatFailure",
    "ChatStats",
    "Endpoint",
    "Message",
    "Reply",
    "connect",
    "run",
    "system",
    "user",
]

MOST_ABOVE = 50.0  # a server that counts more than so many times the expected tokens of a prompt is mistaken
SHORT = 200  # tokens; what a server adds to a prompt shorter than this says nothing about longer ones
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 30.0  # exponential back-off between attempts of one request


class Chat(Asker):
    """A client of one endpoint. Use it as `async with Chat(endpoint, journal, api_key) as chat`."""

    def __init__(self, endpoint: Endpoint, journal: Journal, api_key: str | None = None) -> None:
        super().__init__(endpoint, journal, api_key)
        self._stop: UserError | None = None
        self._seen = 1.0  # how many times the expected tokens of a prompt the server counted, at most

    async def __aenter__(self) -> Self:
        end = self.endpoint
        self._transport = Transport(end, self._key)
        self.window = Window(end.concurrency)
        self._requests, self._tokens = Rate(end.rpm), Rate(end.tpm)
        self._budget = Budget(end.max_usd, self._journal.purse(end.model))
        self._breaker = Breaker(end.patience_s, f"{end.base_url} ({end.model})")
        self._stopped = asyncio.Event()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    @property
    def rows_in_flight(self) -> int:
        """How many rows to work on at once: some wait for their next attempt while others use the slots."""
        return self.endpoint.concurrency + self.endpoint.concurrency // 4 + 1

    async def _until_answered(self, request: Request) -> None:
        tries = waits = 0
        while True:
            outcome = await self._attempt(request)
            if outcome.error is None:
                return
            if not outcome.retryable:
                raise ChatFailure(outcome.error, outcome.detail)
            tries, waits = tries + outcome.counts, waits + 1
            if tries >= self.endpoint.max_attempts:
                raise ChatFailure(outcome.error, f"{tries} attempts, the last: {outcome.detail}")
            pause = min(FIRST_PAUSE_S * 2 ** min(waits, 7), LONGEST_PAUSE_S) * random.uniform(0.5, 1)
            await self._sleep(outcome.pause_s or pause)

    async def _attempt(self, request: Request) -> Outcome:
        end = self.endpoint
        plain = request.prompt_tokens(end.tokens_per_image)
        asked = plain * self._seen
        tokens = asked + end.max_tokens
        await self._sleep(max(self._requests.reserve(1), self._tokens.reserve(tokens)))
        worst = end.usd(asked, end.max_tokens)
        await self._hold(worst)
        spent, used = 0.0, 0.0
        try:
            async with self.window:
                self._check()
                outcome = await self._transport.post(request.body)
                done = outcome.completion
                if done is not None and done.counted:
                    above = done.prompt_tokens / max(plain, SHORT)
                    self._seen = max(self._seen, above if above <= MOST_ABOVE else 1.0)
                    spent, used = end.usd(done.prompt_tokens, done.completion_tokens), _sum(done)
                elif done is not None or outcome.billed:
                    spent, used = worst, tokens  # as much as it can have been: nobody says how much it was
                # The slot is kept until the commit: a killed process loses no more answers than there are slots.
                await self._record(request.key, outcome, spent)
        finally:
            self._budget.settle(worst, spent)
            self._tokens.reserve(used - tokens)
        self._learn(outcome)
        return outcome

    async def _hold(self, worst: float) -> None:
        try:
            await self._budget.hold(worst)
        except UserError as error:
            self._halt(error)
            raise

    async def _record(self, key: bytes, outcome: Outcome, usd: float) -> None:
        done = outcome.completion
        attempt = Attempt(
            key=key,
            status=outcome.status,
            error=outcome.error,
            latency_s=outcome.latency_s,
            raw=outcome.raw,
            prompt_tokens=done.prompt_tokens if done else 0,
            completion_tokens=done.completion_tokens if done else 0,
            usd=usd,
            model=self.endpoint.model,
        )
        try:
            await self._journal.put(attempt)
        except UserError as error:
            self._halt(error)
            raise

    def _learn(self, outcome: Outcome) -> None:
        """Tell the limits what came of an attempt; stop everything when nothing else can succeed."""
        self.window.report(outcome.overloaded)
        if outcome.error is None:
            self._breaker.answered()
            return
        self.stats.errors[outcome.error] += 1
        if outcome.fatal is not None:
            if outcome.status not in OF_ONE_ROW or self._breaker.denied():
                raise self._halt(outcome.fatal)
            return
        if not outcome.retryable:
            self._breaker.answered()  # a refusal is an answer of a living server
            return
        dead = self._breaker.failed(outcome.error, outcome.detail, outcome.pause_s, outcome.unreachable)
        if dead is not None:
            raise self._halt(dead)

    def _halt(self, error: UserError) -> UserError:
        """The first reason to stop is the one that everybody gets."""
        self._stop = self._stop or error
        self._stopped.set()
        return self._stop

    def _check(self) -> None:
        if self._stop is not None:
            raise self._stop

    async def _sleep(self, seconds: float) -> None:
        """Wait outside the window, and wake up at once when the run stops."""
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), seconds)
        self._check()


def connect(endpoint: Endpoint, journal: Journal, api_key: str | None = None) -> Asker:
    """The client that the configuration asks for: single requests, or batches when `endpoint.batch` is set."""
    if endpoint.batch is None:
        return Chat(endpoint, journal, api_key)
    from mmevol_core.batch import BatchChat

    return BatchChat(endpoint, journal, api_key)


def _sum(done: Completion) -> float:
    return float(done.prompt_tokens + done.completion_tokens)
