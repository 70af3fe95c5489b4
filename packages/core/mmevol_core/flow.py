"""Many rows through one asynchronous worker, with as much memory as the rows in flight need."""

from __future__ import annotations

import asyncio
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
            finished.room.release()
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
        self.room = asyncio.Semaphore(most)
        self.failures: list[BaseException] = []

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
        await finished.room.acquire()
        finished.queue.put_nowait((row, result))
        if finished.failures:
            return
