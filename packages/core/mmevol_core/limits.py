"""What keeps a client polite and safe: how many requests fly, how fast, for how much money, and when to give up."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import TracebackType

from mmevol_core.errors import UserError

START = 64  # requests in flight at the very beginning, unless half of the maximum is more
JUDGED = 16  # results that are judged together, or as many as are in flight
TOLERATED = 0.25  # share of overload signs (429, 5xx, timeouts) that is taken for noise
SHRINK, GROW = 0.7, 1.1  # multiplicative decrease and increase of the window
BURST_S = 1.0  # a rate limit may be caught up by this many seconds
LIMITED_S = 60.0  # rate limits are counted by the minute: so much longer may a server say nothing but 429
DENIALS = 8  # in a row, though the endpoint had answered before
REFUSALS = 3  # refused connections before the first answer that mean "nothing listens there"


class Window:
    """Slots for requests in flight. Starts at half of `most`, grows with every answer, shrinks under overload.

    Single faults do not shrink it: a window of results must show more than `TOLERATED` signs of overload, so that a
    server with a few random failures keeps its throughput.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(most, max(START, most // 2)))
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._starting = True
        self._seen = self._bad = 0

    async def __aenter__(self) -> None:
        if self.in_flight < int(self.limit) and not self._waiting:
            self.in_flight += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn  # whoever wakes it has already counted it as in flight
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self.in_flight -= 1
        while self._waiting and self.in_flight < int(self.limit):
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)

    def report(self, overloaded: bool) -> None:
        """Learn from one result."""
        self._seen += 1
        self._bad += overloaded
        if self._starting and not overloaded:
            self.limit = min(self.most, self.limit + 1)
        if self._seen < max(JUDGED, self.limit):
            return
        if self._bad > TOLERATED * self._seen:
            self.limit, self._starting = max(1.0, self.limit * SHRINK), False
        elif not self._starting:
            self.limit = min(self.most, self.limit * GROW + 1)
        self._seen = self._bad = 0


class Rate:
    """At most so much per minute, spread evenly; None for no limit."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._free_at = 0.0

    def reserve(self, amount: float) -> float:
        """Take `amount` (negative gives back) and return the seconds to wait before using it."""
        if not self._seconds_each:
            return 0.0
        now = time.monotonic()
        self._free_at = max(self._free_at, now - BURST_S)
        wait = self._free_at - now
        self._free_at += amount * self._seconds_each
        return max(0.0, wait)


class Purse:
    """Money of one model in one journal: spent in its life, and held for requests in flight, whoever sends them."""

    def __init__(self, spent_usd: float) -> None:
        self.spent, self.held = spent_usd, 0.0
        self.waiting: list[asyncio.Future[None]] = []  # for money to be freed


class Budget:
    """The hard limit that one client sets to a purse."""

    def __init__(self, most_usd: float | None, purse: Purse) -> None:
        self.most, self.purse = most_usd, purse

    async def hold(self, usd: float) -> None:
        """Set aside what a request may cost at most; near the limit, wait for requests in flight to cost less.

        Raises:
            UserError: when the request does not fit any more.
        """
        purse = self.purse
        while self.most is not None and purse.spent + purse.held + usd > self.most:
            if not purse.held:
                raise UserError(
                    f"budget reached: {purse.spent:.4f} of max_usd={self.most:g} spent and the next request may cost "
                    f"{usd:.4f}; raise max_usd and run the same command again, nothing paid for is lost"
                )
            freed = asyncio.get_running_loop().create_future()
            purse.waiting.append(freed)
            await freed
        self.set_aside(usd)

    def set_aside(self, usd: float) -> None:
        """Count what is under way, whatever the limit: an earlier process may have sent it."""
        self.purse.held += usd

    def settle(self, held: float, spent: float) -> None:
        """Replace what was held by what was really spent."""
        purse = self.purse
        purse.held = purse.held - held if purse.held - held > 1e-12 else 0.0
        purse.spent += spent
        waiting, purse.waiting = purse.waiting, []
        for freed in waiting:
            if not freed.done():
                freed.set_result(None)


class Breaker:
    """Decides that an endpoint is dead: nothing answered for `patience_s`, or nothing ever listened."""

    def __init__(self, patience_s: float, where: str) -> None:
        self._patience_s, self._where = patience_s, where
        self._give_up_at = time.monotonic() + patience_s
        self._failures = self._refused = self._denied = 0
        self._alive = False

    def answered(self) -> None:
        """The endpoint works."""
        self._alive, self._failures, self._denied = True, 0, 0
        self._give_up_at = time.monotonic() + self._patience_s

    def denied(self) -> bool:
        """Count a 403 or 404; whether the endpoint says it of everything, not of one question among answered ones."""
        self._denied += 1
        return not self._alive or self._denied >= DENIALS

    def failed(self, error: str, detail: str, wait_s: float, unreachable: bool) -> UserError | None:
        """Count a failure; `wait_s` is a pause that the server asked for. Returns the reason to stop, if any."""
        now = time.monotonic()
        if not self._failures:
            limited = LIMITED_S if error == "http_429" else 0.0
            self._give_up_at = max(self._give_up_at, now + limited + self._patience_s)
        self._failures += 1
        self._refused += unreachable
        self._give_up_at = max(self._give_up_at, now + wait_s + self._patience_s) if wait_s else self._give_up_at
        kept = "what was answered is kept: run the same command again to go on"
        if not self._alive and self._refused >= REFUSALS:
            return UserError(
                f"nothing answers at {self._where} ({detail}); start the server or correct base_url; {kept}"
            )
        if self._failures >= REFUSALS and now > self._give_up_at:
            return UserError(
                f"{self._where} has answered nothing for {self._patience_s:g} s: the last {self._failures} attempts "
                f"failed, the last with {error} ({detail}); {kept}"
            )
        return None
