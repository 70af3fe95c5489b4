"""Intervals where resamples know too little: lone, uniform, few clusters, their averages, headlines of a part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmevol_eval.benchmarks.mme import COGNITION
from mmevol_eval.bootstrap import average, estimate
from mmevol_eval.statistics import compare


def rows(scores, clusters, benchmark="GQA"):
    return [
        {"benchmark": benchmark, "headline": "accuracy", "index": str(i), "cluster": str(c), "category": "", "score": s}
        for i, (s, c) in enumerate(zip(scores, clusters, strict=True))
    ]


def by_category(scores, categories):
    """Rows of MMSInst, a cluster each: the headline is the mean over its sources."""
    made = rows(scores, range(len(scores)), "MMSInst")
    return [row | {"headline": "mean", "category": name} for row, name in zip(made, categories, strict=True)]


@pytest.mark.parametrize(("large", "lone", "right"), [(30, 5, 0.5), (100, 3, 0.5), (30, 5, 1.0), (0, 12, 0.7)])
def test_categories_of_one_cluster_weigh_as_much_as_the_large_one(large, lone, right):
    """`right` is the chance of the large category's items; those of the lone ones have even chances."""
    rng = np.random.default_rng(5)
    names = ["large"] * large + [f"lone{number}" for number in range(lone)]
    chances = np.array([right] * large + [0.5] * lone)
    truth, inside = 100 * ((right if large else 0) + 0.5 * lone) / (lone + (large > 0)), 0
    for number in range(60):
        found = estimate(by_category((rng.random(large + lone) < chances) * 1.0, names), resamples=200, seed=number)
        inside += found.interval[0] <= truth <= found.interval[1]
        assert found.interval[0] >= 0 and found.interval[1] <= 100
    assert inside / 60 > 0.9


def test_lone_clusters_leave_the_interval_on_the_scale():
    eight = by_category([1.0] * 24 + [0.0] * 6 + [1.0] * 7, ["large"] * 30 + list("abcdefg"))
    found = estimate(eight)
    assert found.value == pytest.approx(97.5)
    assert found.interval[0] < 80 and found.interval[1] == 100


def test_the_interval_of_an_average_holds_the_average():
    # nine benchmarks of 19 items, all right, and one of 500: made-up clusters move each of the nine to 91.3
    found = average(
        [estimate(rows([1.0] * 19, range(19), f"x{number}")) for number in range(9)]
        + [estimate(rows([1.0] * 475 + [0.0] * 25, range(500), "large"))]
    )
    assert found.value == pytest.approx(99.5)
    assert 90 < found.interval[0] < 99.5 and found.interval[1] == 100


def test_an_average_of_differences_is_not_drawn_to_zero():
    a = {f"x{number}": rows([1.0] * 19, range(19), f"x{number}") for number in range(8)}
    b = {name: rows([0.0] * 9 + [1.0] * 10, range(19), name) for name in a}
    a["large"], b["large"] = (rows([1.0] * n + [0.0] * (500 - n), range(500), "large") for n in (250, 240))
    found = compare(a, b)[-1]
    low, high = found.ci95
    assert (high + low) / 2 == pytest.approx(found.delta, abs=1)  # before: [30.0, 47.0] around 42.3


def test_averages_of_small_benchmarks_cover_the_truth():
    rng = np.random.default_rng(11)
    inside = 0
    for number in range(100):
        small = [
            estimate(rows((rng.random(15) < 0.8) * 1.0, range(15), f"x{n}"), "score", 200, number) for n in range(6)
        ]
        large = estimate(rows((rng.random(200) < 0.6) * 1.0, range(200), "large"), "score", 200, number)
        low, high = average([*small, large]).interval
        inside += low <= 100 * (6 * 0.8 + 0.6) / 7 <= high
    assert inside / 100 >= 0.9


@pytest.mark.parametrize(("number", "size", "differ"), [(3, 10, 0.3), (3, 10, 0.6), (13, 8, 0.2)])
def test_averages_of_small_differences_by_chance_seldom_leave_out_zero(number, size, differ):
    rng = np.random.default_rng(13)
    outside = 0
    for seed in range(60):
        a, b = {}, {}
        for name in map(str, range(number)):
            other, right = rng.random(size) < differ, rng.random(size) < 0.5
            a[name], b[name] = (rows(one * 1.0, range(size), name) for one in (right, right ^ other))
        low, high = compare(a, b, resamples=200, seed=seed)[-1].ci95
        outside += not low <= 0 <= high
    assert outside / 60 <= 0.1


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from("abc")), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_every_interval_holds_its_value_on_the_scale(drawn):
    scores, names = zip(*drawn, strict=True)
    parts = [by_category(scores, names), rows(scores, range(len(scores)))]
    found = [estimate(part, resamples=100) for part in parts]
    for one in (*found, average(found)):
        assert 0 <= one.interval[0] <= one.value <= one.interval[1] <= 100 + 1e-9


def test_the_average_of_one_benchmark_is_that_benchmark():
    own = estimate(rows([1.0] * 5, range(5)))
    assert average([own]).interval == own.interval


def test_items_that_the_headline_leaves_out_say_nothing_about_it():
    def exam(right, split, start):
        made = rows(right, range(start, start + len(right)), "MMMU_DEV_VAL")
        return [row | {"headline": "validation|Overall", "split": split} for row in made]

    counted = exam([1.0] * 18, "validation", 0)
    assert estimate(counted + exam([1.0, 0.0] * 6, "dev", 18)).interval == estimate(counted).interval
    assert estimate(counted).interval[0] < 80


def pairs(category, right):
    """Two questions about each of a category's pictures."""
    made = rows(np.repeat(right, 2), np.repeat([f"{category}{n}" for n in range(len(right))], 2), "MME")
    return [row | {"category": category, "group": row["cluster"]} for row in made]


def test_perception_says_nothing_about_cognition():
    cognition = [row for name in COGNITION for row in pairs(name, [1.0] * 4)]
    perception = [row for name in ("OCR", "color", "count", "existence") for row in pairs(name, [1.0, 0.0] * 3)]
    both, alone = (
        estimate([row | {"headline": "cognition_percent"} for row in part])
        for part in (cognition + perception, cognition)
    )
    assert both.value == 100
    assert both.interval == alone.interval and alone.interval[0] < 80


def test_made_up_items_count_as_much_as_the_others_of_a_fixed_maximum():
    # ten of OCRBench's thousand, all right: Agresti and Coull's [64.6, 100] of ten are at most one percent of it
    ten = [row | {"headline": "Final Score Norm"} for row in rows([1.0] * 10, range(10), "OCRBench")]
    share = estimate(rows([1.0] * 10, range(10)), seed=0).interval
    found = estimate(ten)
    assert found.value == pytest.approx(1.0)
    assert found.interval == pytest.approx([edge / 100 for edge in share], abs=0.001)
    wrong = estimate([row | {"score": 0.0} for row in ten])
    assert wrong.interval == pytest.approx((0.0, (100 - share[0]) / 100), abs=0.001)


def test_two_of_fourteen_categories_can_make_no_more_than_two_fourteenths():
    found = estimate([row | {"headline": "total"} for name in ("OCR", "color") for row in pairs(name, [1.0] * 5)])
    assert [found.value, found.interval[1]] == pytest.approx([200 / 14] * 2)
    assert 5 < found.interval[0] < 12


def test_a_model_may_be_better_than_the_reference_answers():
    # LLaVABench: 9 of 10 against 6 of 10 is 150; the best would be 167
    made = [
        row | {"headline": "Relative Score (main)", "rating": 9.0, "reference": 6.0}
        for row in rows([0.9] * 15, range(15), "LLaVABench")
    ]
    low, high = estimate(made).interval
    assert 100 < low < 150 < high <= 1000 / 6


def test_resamples_that_all_give_the_same_are_no_certainty():
    # POPE, "no" to everything: F1 is 0 whichever pictures are drawn
    made = rows([1.0, 0.0] * 30, range(60), "POPE")
    for row in made:
        row |= {
            "headline": "Overall",
            "category": "random",
            "method": "rule",
            "answer": "No" if row["score"] else "Yes",
        }
    found = estimate(made)
    assert found.value == 0 and found.interval[1] > 1
