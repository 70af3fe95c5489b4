"""Many rows, few in flight."""

import asyncio

import pytest

from mmevol_core.flow import run


def test_every_row_is_yielded_once_with_few_in_flight_and_none_read_ahead():
    read = inside = peak = ahead = 0

    def rows():
        nonlocal read
        for number in range(500):
            read += 1
            yield number

    async def worker(number: int) -> int:
        nonlocal inside, peak
        inside += 1
        peak = max(peak, inside)
        await asyncio.sleep(0)
        inside -= 1
        return number * 2

    async def work() -> list[tuple[int, int]]:
        nonlocal ahead
        out = []
        async for pair in run(rows(), worker, 7):
            out.append(pair)
            ahead = max(ahead, read - len(out))
            await asyncio.sleep(0)
        return out

    assert sorted(asyncio.run(work())) == [(n, 2 * n) for n in range(500)]
    assert peak == 7
    assert ahead <= 3 * 7  # in flight, waiting for the reader, and one in each hand


def test_the_first_error_stops_the_feeding_after_the_rows_in_flight_have_finished():
    begun, got = [], []

    async def worker(number: int) -> int:
        begun.append(number)
        await asyncio.sleep(0.001 if number == 20 else 0.01)
        if number == 20:
            raise ValueError("row 20")
        return number

    async def work() -> None:
        async for row, _ in run(range(10_000), worker, 8):
            got.append(row)

    with pytest.raises(ValueError, match="row 20"):
        asyncio.run(work())
    assert len(begun) < 50
    assert sorted(got) == sorted(set(begun) - {20})  # what was begun was also delivered


def test_a_reader_that_leaves_early_leaves_nothing_running():
    async def worker(number: int) -> int:
        await asyncio.sleep(0.001)
        return number

    async def work() -> int:
        results = run(range(10_000), worker, 8)
        async for _ in results:
            break
        await results.aclose()
        return len(asyncio.all_tasks())

    assert asyncio.run(work()) == 1


def test_a_broken_source_of_rows_is_an_error_and_not_an_early_end():
    def rows():
        yield 1
        raise OSError("the file is gone")

    async def worker(number: int) -> int:
        return number

    async def work() -> None:
        async for _ in run(rows(), worker, 4):
            pass

    with pytest.raises(OSError, match="gone"):
        asyncio.run(work())
