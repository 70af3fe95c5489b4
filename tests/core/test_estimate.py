"""Estimates against hand calculations."""

import pytest

from mmevol_core.endpoint import BatchSettings, Endpoint
from mmevol_core.estimate import estimate

PRICES = {"usd_per_m_prompt": 2.5, "usd_per_m_completion": 10.0}


def of(**settings):
    end = Endpoint(base_url="http://x/v1", model="m", **{"concurrency": 100, **PRICES, **settings})
    return estimate(end, requests=36_000, prompt_tokens=4_000, completion_tokens=500, latency_s=10)


def test_money_and_time_are_those_of_a_hand_calculation():
    # prompt 144 M tokens x 2.5 = 360; completion 18 M x 10 = 180; 36,000 x 10 s / 100 = 3,600 s
    assert (of().usd, of().hours) == (pytest.approx(540), pytest.approx(1))
    assert str(of()) == "36,000 requests, 144.00 M + 18.00 M tokens, 540.00 USD, 1.00 h"


@pytest.mark.parametrize(
    ("settings", "hours"),
    [
        ({"rpm": 300}, 2),  # 36,000 / 300 = 120 minutes
        ({"tpm": 900_000}, 3),  # 162 M / 0.9 M = 180 minutes
        ({"rpm": 1e9}, 1),  # the slowest limit counts
    ],
)
def test_the_slowest_limit_decides_the_hours(settings, hours):
    assert of(**settings).hours == pytest.approx(hours)


def test_a_batch_costs_half_and_takes_up_to_a_day():
    assert (of(batch=BatchSettings()).usd, of(batch=BatchSettings()).hours) == (pytest.approx(270), 24)
