"""Many rows through one asynchronous worker, with as much memory as the rows in flight need."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Generic, TypeVar

Row = TypeVar("Row")
Result = TypeVar("Result")


async def run(
    rows: Iterable[Row], worker: Callable[[Row], Awaitable[Result]], concurrency: int
) -> AsyncIterator[tuple[Row, Result]]:
    """Yield (row, result) as they finish, with at most `concurrency` rows in flight and none read ahead.

    The first exception of a worker stops the feeding; rows in flight finish and are yielded, then it is raised.
    """
    source, finished = iter(rows), _Finished[Row, Result](concurrency)
    tasks = [asyncio.create_task(_pull(source, worker, finished)) for _ in range(concurrency)]
    for task in tasks:
        task.add_done_callback(finished.ended)
    try:
        running = len(tasks)
        while running:
            pair = await finished.queue.get()
            if pair is None:
                running -= 1
                continue
            finished.leave()
            yield pair
        if finished.failures:
            raise finished.failures[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Finished(Generic[Row, Result]):
    """Results that wait for the reader, at most `most`; None says that a task has ended."""

    def __init__(self, most: int) -> None:
        self.queue: asyncio.Queue[tuple[Row, Result] | None] = asyncio.Queue()
        self.failures: list[BaseException] = []
        self._room, self._before = most, deque[asyncio.Future[None]]()

    async def enter(self) -> None:
        """Wait for room. asyncio's Semaphore looks at every waiter each time: slow when all answers are at hand."""
        if self._room:
            self._room -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._before.append(turn)
        await turn  # whoever wakes it leaves it the room; a cancelled one ends the whole run

    def leave(self) -> None:
        """One result has been read."""
        while self._before:
            turn = self._before.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._room += 1

    def ended(self, task: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self.failures.append(error)
        self.queue.put_nowait(None)


async def _pull(
    source: Iterator[Row], worker: Callable[[Row], Awaitable[Result]], finished: _Finished[Row, Result]
) -> None:
    for row in source:
        result = await worker(row)
        await finished.enter()
        finished.queue.put_nowait((row, result))
        if finished.failures:
            return
