"""Intervals that cover, pairs that stay paired, headlines equal to the benchmarks' own."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmevol_core.errors import UserError
from mmevol_eval.bootstrap import (
    _resampled,
    _strata,
    _weights,
    average,
    estimate,
    headline_for,
    headline_of,
    minimum_detectable,
)
from mmevol_eval.statistics import compare, leave_one_out, p_value


def rows(scores, clusters, benchmark="GQA", blind=None):
    made = [
        {"benchmark": benchmark, "headline": "accuracy", "index": str(i), "cluster": str(c), "category": "", "score": s}
        for i, (s, c) in enumerate(zip(scores, clusters, strict=True))
    ]
    for row, value in zip(made, blind if blind is not None else [], strict=blind is not None):
        row["blind_score"] = value
    return made


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=40), st.integers(1, 10))
@settings(max_examples=50, deadline=None)
def test_the_interval_of_a_mean_lies_in_range_and_the_value_is_the_mean(scores, groups):
    found = estimate(rows(scores, [i % groups for i in range(len(scores))]), resamples=200)
    assert found.value == pytest.approx(100 * np.mean(scores))
    assert 0 <= found.interval[0] <= found.interval[1] <= 100


def test_items_without_a_score_are_left_out_of_the_mean():
    assert headline_of(rows([1.0, None, 0.0], "abc")) == 50.0


def test_copies_inside_a_cluster_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 2, 100).astype(float)
    single = estimate(rows(scores, range(100)))
    copied = estimate(rows(np.repeat(scores, 10), np.repeat(range(100), 10)))
    naive = estimate(rows(np.repeat(scores, 10), range(1000)))
    width = [one.interval[1] - one.interval[0] for one in (single, copied, naive)]
    assert width[1] == pytest.approx(width[0], rel=0.15)
    assert width[2] < width[0] / 2.5  # sqrt(10) narrower: what ignoring the clusters would claim


def test_a_run_does_not_differ_from_itself():
    own = {"GQA": rows([1.0, 0.0, 1.0, 1.0], "aabb", blind=[0.0] * 4)}
    for row in compare(own, own):
        assert (row.delta, row.p) == (0.0, 1.0)
        assert row.ci95 == pytest.approx((-100, 100))  # but two images show nothing of all others


def test_pairing_finds_a_difference_that_two_separate_intervals_hide():
    rng = np.random.default_rng(1)
    b = rng.integers(0, 2, 300).astype(float)
    a = np.where(rng.random(300) < 0.06, 1.0, b)  # a repairs some of b's mistakes and makes none
    runs = ({"GQA": rows(a, range(300))}, {"GQA": rows(b, range(300))})
    difference = compare(*runs, names=("evolved", "seed"))[0]
    assert difference.ci95[0] > 0
    assert difference.p < 0.05
    separate = [estimate(run["GQA"]).interval for run in runs]
    assert separate[0][0] < separate[1][1]


def test_the_average_is_the_mean_of_the_benchmarks_and_less_uncertain():
    a = {n: rows([1.0, 0.0] * 50, range(100), n) for n in ("GQA", "VQAv2")}
    b = {n: rows([0.0, 0.0] * 50, range(100), n) for n in ("GQA", "VQAv2")}
    gqa, vqa, mean = compare(a, b)
    assert mean.benchmark == "average"
    assert mean.delta == pytest.approx((gqa.delta + vqa.delta) / 2)
    assert mean.ci95[1] - mean.ci95[0] < gqa.ci95[1] - gqa.ci95[0]


def test_real_minus_blind_is_compared_when_both_runs_have_it():
    a = {"GQA": rows([1.0] * 8, range(8), blind=[0.0] * 8)}
    b = {"GQA": rows([1.0] * 8, range(8), blind=[1.0] * 8)}
    found = {(row.benchmark, row.measure): row.delta for row in compare(a, b)}
    assert found["GQA", "score"] == 0
    assert found["GQA", "real_minus_blind"] == 100


def test_leaving_one_out_gives_the_average_of_the_others_with_its_own_interval():
    rng = np.random.default_rng(2)
    b = {n: rows(rng.integers(0, 2, 200).astype(float), range(200), n, blind=[0.0] * 200) for n in ("x", "y", "z")}
    a = {**b, "x": rows([1.0] * 200, range(200), "x", blind=[0.0] * 200)}  # a is better on x alone
    found = {(row.benchmark, row.measure): row for row in leave_one_out(a, b, names=("evolved", "seed"))}
    gain = {row.benchmark: row for row in compare(a, b) if row.measure == "score"}["x"].delta
    assert len(found) == 6  # three benchmarks, two measures
    assert found["x", "score"].delta == 0.0
    assert found["x", "score"].ci95 == pytest.approx((-0.97, 0.97), abs=0.1)  # 1.96 sqrt(2) / 202 / sqrt(2) of each
    assert found["y", "score"].delta == pytest.approx(gain / 2)  # x and z remain
    low, high = found["y", "score"].ci95
    assert 0 < low < gain / 2 < high
    assert found["y", "real_minus_blind"].ci95 == found["y", "score"].ci95  # nothing is right with exchanged pictures
    assert found["z", "score"].n == 400


def test_two_benchmarks_are_too_few_to_leave_one_out():
    own = {name: rows([1.0, 0.0], "ab", name) for name in ("x", "y")}
    assert leave_one_out(own, own) == []


def test_runs_on_other_questions_are_refused():
    with pytest.raises(UserError, match="not the same"):
        compare({"GQA": rows([1.0], "a")}, {"GQA": rows([1.0], "b")})


def test_p_is_two_sided_and_never_zero():
    assert p_value(3.0, np.array([2.0, -2.0] * 500)) == pytest.approx(1 / 1001)
    assert p_value(-2.0, np.array([2.0, -2.0, 0.0])) == pytest.approx(3 / 4)


def test_the_smallest_detectable_difference_of_three_points_standard_error():
    # (1.960 + 0.842) x 3 = 8.4 points: a twin of 300 items cannot show less
    assert minimum_detectable(3.0) == pytest.approx(8.405, abs=0.01)


def test_two_thousand_resamples_of_three_hundred_items_are_fast():
    values = rows(np.tile([0.0, 1.0], 150), np.repeat(range(150), 2))
    begin = time.perf_counter()
    estimate(values)
    assert time.perf_counter() - begin < 1.0


def test_simulated_intervals_cover_the_truth_about_nineteen_times_in_twenty():
    rng = np.random.default_rng(7)
    truth, inside, runs = 0.6, 0, 300
    for number in range(runs):  # 120 images, two questions each, answers to one image correlated
        image = rng.random(120) < truth
        again = np.where(rng.random(120) < 0.5, image, rng.random(120) < truth)
        scores = np.stack([image, again], axis=1).ravel().astype(float)
        low, high = estimate(rows(scores, np.repeat(range(120), 2)), resamples=400, seed=number).interval
        inside += low <= 100 * truth <= high
    assert 0.91 <= inside / runs <= 0.985


def by_category(scores, categories):
    """Rows of MMSInst, a cluster each: the headline is the mean over its sources."""
    made = rows(scores, range(len(scores)), "MMSInst")
    return [row | {"headline": "mean", "category": name} for row, name in zip(made, categories, strict=True)]


def test_no_resample_loses_a_category():
    # fifteen sources of two items: a resample without one of the right ones would average it as 0
    names = [chr(97 + number // 2) for number in range(30)]
    rows_of = by_category([1.0] * 20 + [1.0, 0.0] * 5, names)
    resamples = estimate(rows_of).draws
    assert resamples.min() == pytest.approx(100 * 10 / 15) and resamples.max() == pytest.approx(100)


def test_a_cluster_of_several_categories_is_resampled_among_its_like():
    # five clusters of a and b, right in both; five of c alone that differ: c moves by itself
    mixed = by_category([1.0] * 40 + [1.0, 0.0] * 5, "ab" * 20 + "c" * 10)
    for number, row in enumerate(mixed[:40]):
        row["cluster"] = str(number // 2)
    assert estimate(mixed).draws.min() == pytest.approx(200 / 3, abs=1)


def test_intervals_of_a_mean_of_small_categories_cover_the_truth():
    rng = np.random.default_rng(3)
    inside, runs = 0, 300
    for number in range(runs):  # 14 categories of four clusters, each category with a difficulty of its own
        truths = np.linspace(0.3, 0.9, 14)
        scores = (rng.random((4, 14)) < truths).astype(float).ravel()
        low, high = estimate(
            by_category(scores, [chr(97 + k) for k in range(14)] * 4), resamples=400, seed=number
        ).interval
        inside += low <= 60 <= high
    assert 0.91 <= inside / runs <= 0.985


def test_what_a_perfect_score_leaves_open_follows_from_its_size():
    # Agresti and Coull: p = 102 / 104 of 104 clusters, standard error 1.347 points; Student's t of 99 degrees of
    # freedom: 1.984 of them to both sides of 98.08, and sqrt(99 / 97) of them as standard deviation
    found = estimate(rows([1.0] * 100, range(100)))
    assert found.interval == pytest.approx((95.41, 100.0), abs=0.01)
    assert found.error == pytest.approx(1.347 * np.sqrt(99 / 97), abs=0.01)
    assert minimum_detectable(found.error) == pytest.approx(3.81, abs=0.03)
    wrong = estimate(rows([0.0] * 100, range(100)))
    assert wrong.interval == pytest.approx((0.0, 4.59), abs=0.01)
    pair = average([found, estimate(rows([1.0] * 100, range(100), "VQAv2"))])
    assert pair.error == pytest.approx(found.error / np.sqrt(2), rel=0.05)
    assert pair.interval[0] > found.interval[0] and pair.interval[1] == 100


def test_a_lone_cluster_of_a_category_is_no_certainty():
    # 4 of 5 categories with one cluster, right but one: p = (3 + 2) / 8 of 8 clusters, standard error 17.12 points for
    # four fifths of the headline, and Student's t of 3 degrees of freedom has sqrt(3) of them (less of two thousand
    # quantiles that stay within the scale's length)
    alone = by_category([1.0, 1.0, 1.0, 0.0] + [1.0, 0.0] * 10, "abcd" + "e" * 20)
    resamples = _resampled(alone, "score", headline_for(alone), *clusters_and_weights(alone))
    added = np.sqrt(estimate(alone).error ** 2 - np.var(resamples[1:], ddof=1))
    assert added == pytest.approx(17.12 * 4 / 5 * np.sqrt(3), rel=0.15)


def clusters_and_weights(own):
    clusters, sizes = _strata(own, "category")
    return clusters, _weights(sizes, 2000, "0:MMSInst")


def test_alike_within_every_category_is_no_certainty():
    # ten categories of two clusters, each all right or all wrong: every resample is 50
    found = estimate(by_category(([1.0] * 2 + [0.0] * 2) * 5, [chr(97 + number // 2) for number in range(20)]))
    assert found.interval[0] < 35 and found.interval[1] > 65


@pytest.mark.parametrize("n", [5, 10, 20, 50])
@pytest.mark.parametrize("truth", [0.5, 0.8, 0.95])
def test_few_items_cover_the_truth_nineteen_times_in_twenty(n, truth):
    """Exactly: every possible number of right answers with its probability."""
    covered = 0.0
    for right in range(n + 1):
        low, high = estimate(rows([1.0] * right + [0.0] * (n - right), range(n)), resamples=1000).interval
        covered += (low <= 100 * truth <= high) * math.comb(n, right) * truth**right * (1 - truth) ** (n - right)
    assert covered > 0.93


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 8, 12])
def test_few_items_that_differ_by_chance_are_seldom_called_different(n):
    """Exactly: runs that differ in every item, each way with probability one half."""
    by_p = by_interval = 0.0
    for won in range(n + 1):
        a = [1.0] * won + [0.0] * (n - won)
        found = compare({"GQA": rows(a, range(n))}, {"GQA": rows([1 - one for one in a], range(n))}, resamples=1000)[0]
        by_p += (found.p < 0.05) * math.comb(n, won) / 2**n
        by_interval += (not found.ci95[0] <= 0 <= found.ci95[1]) * math.comb(n, won) / 2**n
    assert by_p <= 0.05 and by_interval <= 0.08


def test_one_item_shows_no_difference():
    found = compare({"GQA": rows([1.0], "a")}, {"GQA": rows([0.0], "a")})[0]
    assert (found.delta, found.p, found.mde) == (100.0, 1.0, None)
    assert found.ci95 == pytest.approx((-100, 100))


def test_p_is_that_of_the_sign_test_where_items_are_right_or_wrong():
    # nine items won, one lost, two hundred alike: 2 (1 + 10) / 2^10 = 0.0215
    a, b = [1.0] * 9 + [0.0] + [1.0] * 200, [0.0] * 9 + [1.0] * 201
    found = compare({"GQA": rows(a, range(210))}, {"GQA": rows(b, range(210))}, resamples=20000)[0]
    assert found.p == pytest.approx(0.0215, abs=0.003)


def test_runs_that_state_different_headlines_are_refused():
    a = {"GQA": rows([1.0], "a")}
    b = {"GQA": [a["GQA"][0] | {"headline": "open"}]}
    with pytest.raises(UserError, match="the runs state accuracy and open"):
        compare(a, b)


def test_no_difference_is_detectable_beyond_the_scale():
    assert minimum_detectable(40.0) is None
