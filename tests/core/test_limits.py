"""Limits on their own: what shrinks the window, what does not, and when to give up."""

import asyncio

import pytest

from mmevol_core import limits
from mmevol_core.errors import UserError
from mmevol_core.limits import Breaker, Budget, Purse, Rate, Window
from mmevol_core.transport import retry_after


def test_the_window_grows_to_its_maximum_with_answers():
    window = Window(200)
    assert window.limit == 100
    for _ in range(100):
        window.report(overloaded=False)
    assert window.limit == 200


def test_a_few_faults_do_not_shrink_the_window():
    window = Window(100)
    for number in range(1000):
        window.report(overloaded=number % 10 == 0)
    assert window.limit == 100


def test_overload_shrinks_the_window_and_recovery_opens_it_again():
    window = Window(64)
    for _ in range(1000):
        window.report(overloaded=True)
    assert window.limit == 1
    for _ in range(2000):
        window.report(overloaded=False)
    assert window.limit == 64


def test_no_more_than_the_limit_are_inside_and_a_cancelled_one_leaves_no_hole():
    async def work() -> int:
        window, peak = Window(4), 0

        async def one() -> None:
            nonlocal peak
            async with window:
                peak = max(peak, window.in_flight)
                await asyncio.sleep(0.001)

        tasks = [asyncio.create_task(one()) for _ in range(100)]
        await asyncio.sleep(0.002)
        for task in tasks[::3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert window.in_flight == 0
        return peak

    assert asyncio.run(work()) == 4


def test_a_rate_spreads_requests_evenly_after_a_burst_of_one_second(monkeypatch):
    now = 100.0
    monkeypatch.setattr(limits.time, "monotonic", lambda: now)
    rate = Rate(120)  # 2 a second: 2 may be caught up, the rest come every 0.5 s
    assert [rate.reserve(1) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    rate.reserve(-2)
    assert rate.reserve(1) == 0.5
    assert Rate(None).reserve(1e9) == 0


def test_a_budget_waits_for_requests_in_flight_before_it_says_no():
    async def work() -> None:
        budget = Budget(1.0, Purse(0.5))
        await budget.hold(0.4)
        second = asyncio.create_task(budget.hold(0.4))
        await asyncio.sleep(0)
        assert not second.done()
        budget.settle(0.4, 0.05)  # 0.55 spent: 0.4 fits now
        await second
        budget.settle(0.4, 0.4)
        with pytest.raises(UserError, match="max_usd=1"):
            await budget.hold(0.1)

    asyncio.run(work())


def test_the_breaker_needs_silence_for_its_whole_patience(monkeypatch):
    now = 0.0
    monkeypatch.setattr(limits.time, "monotonic", lambda: now)
    breaker = Breaker(30, "http://x")
    breaker.answered()
    assert [breaker.failed("http_500", "", 0, False) for _ in range(200)] == [None] * 200  # all at once
    now = 29.0
    breaker.answered()
    now = 58.0
    assert breaker.failed("timeout", "", 0, False) is None
    now = 70.0
    assert breaker.failed("timeout", "", 600, False) is None  # the server asked for ten minutes
    now = 600.0
    assert breaker.failed("timeout", "", 0, False) is None
    now = 701.0
    assert "answered nothing for 30 s" in str(breaker.failed("timeout", "", 0, False))


def test_a_server_that_only_limits_gets_a_minute_more_for_its_window_to_pass(monkeypatch):
    now = 0.0
    monkeypatch.setattr(limits.time, "monotonic", lambda: now)
    breaker = Breaker(30, "http://x")
    for later in (0, 20, 40, 60, 89):
        now = float(later)
        assert breaker.failed("http_429", "", 0, False) is None
    now = 91.0
    assert "answered nothing" in str(breaker.failed("http_429", "", 0, False))


@pytest.mark.parametrize(
    ("milliseconds", "value", "seconds"),
    [
        ("500", "1", 0.5),
        ("soon", "1", 1),
        (None, "inf", 600),
        (None, "Mon, 01 Jan 2001 00:00:00 -0000", 0),
        (None, "Mon, 01 Jan 2130 00:00:00 GMT", 600),
        (None, "2", 2),
        (None, None, 0),
        (None, "-3", 0),
        (None, "nan", 0),
        (None, "soon", 0),
        (None, "99999", 600),
        (None, "Mon, 01 Jan 2001 00:00:00 GMT", 0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(milliseconds, value, seconds):
    assert retry_after(milliseconds, value) == seconds
