"""Any part of any benchmark has a headline that is its own, an interval around it and a clean score on its scale."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from support import official_data, tiny_llava

from mmevol_eval.benchmark import Graded, Item
from mmevol_eval.benchmarks import find, names
from mmevol_eval.bootstrap import estimate, headline_of
from mmevol_eval.clean import clean_score
from mmevol_eval.data import BenchmarksConfig, locate, prepare
from mmevol_eval.evaluate import _agree, _rows, check_headline, evaluate
from mmevol_eval.headlines import HEADLINES
from mmevol_eval.judge import judge_from
from mmevol_eval.predictions import Answer
from mmevol_eval.settings import EvaluateConfig
from mmevol_eval.tasks import Task, first

ELSEWHERE = ("VQAv2", "MMSInst")  # not of VLMEvalKit


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    root = tmp_path_factory.mktemp("previews")
    held_out = tiny_llava.held_out(root / "held_out")
    found = {}
    for case in official_data.write_all(held_out, root / "official", 48):
        if case.judge == "none" or find(case.benchmark).needs_judge:
            found[case.benchmark] = (case.data, case.judge)
    found["SEEDBench_IMG"] = found["ScienceQA"]  # the same columns
    config = BenchmarksConfig(source="twins", names=ELSEWHERE, items=48)
    folder = prepare(config, {"held_out": held_out}, root / "twins").files["benchmarks"]
    return found | {name: (locate(folder, find(name)), "none") for name in ELSEWHERE}


def task_of(name, data):
    rules = find(name)
    return Task(rules, "without_nlp" if name == "MMSInst" else rules.rules[0], list(rules.load(data)), "")


def graded_rows(task, replies, judge=None):
    graded = task.rules.grade_all(task.items, replies, task.profile, judge)
    answers = {("real", task.rules.name, index): Answer(text, None) for index, text in replies.items()}
    scores = task.rules.scores(graded, task.scoring)
    return scores, _rows(task, graded, scores, None, answers)


def replies_of(task, share=0.6):
    rng = random.Random(1)
    return {item.index: official_data.reply("{right}", item) if rng.random() < share else "no" for item in task.items}


@pytest.mark.parametrize("limit", [1, 7, 30, 1000])
@pytest.mark.parametrize("name", names())
def test_a_preview_of_any_length_has_the_benchmarks_own_headline(cases, tmp_path, name, limit):
    data, judge = cases[name]
    task = task_of(name, data)
    task = replace(task, items=first(task.items, limit))
    check_headline(task)
    scores, rows = graded_rows(task, replies_of(task), judge_from(judge, tmp_path / "judge.sqlite"))
    _agree(task, scores, rows, headline_of(rows))


def test_a_headline_that_is_not_the_benchmarks_own_stops_before_anything_is_asked(cases, tmp_path, monkeypatch):
    data, judge = cases["LLaVABench"]
    monkeypatch.delitem(HEADLINES, ("LLaVABench", "Relative Score (main)"))
    settings = {"LLaVABench": {"path": data, "judge": judge}}
    config = EvaluateConfig(names=("LLaVABench",), settings=settings)
    with pytest.raises(AssertionError, match="LLaVABench: its own Relative Score"):
        evaluate(config, {"benchmarks": data.parent, "checkpoint": tmp_path / "none"}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_preview_takes_every_category_in_turn(cases):
    items = task_of("MME", cases["MME"][0]).items
    assert {item.category for item in first(items, 28)} == {item.category for item in items}
    assert first(items, 28) == first(items, 28)


def mme(category, image, number):
    return Item(
        index=f"{category}{image}{number}",
        question="?",
        answer="Yes" if number else "No",
        category=category,
        cluster=f"{category}/{image}",
        extra={"image_path": image},
    )


def test_what_left_no_question_of_a_category_costs_no_points():
    items = [mme(category, str(image), n) for category in ("celebrity", "color") for image in (1, 2, 3) for n in (0, 1)]
    task = Task(find("MME"), "vlmevalkit", items, "")
    scores, rows = graded_rows(task, {item.index: "Yes" for item in items})
    assert scores["total"] == 100  # 50 in each of two categories
    celebrity = {item.index for item in items if item.category == "celebrity"}
    clean = clean_score(task, rows, celebrity, 100, 0)
    # 13 categories count, color has 50 of 200: 2800 x 0.25 / 13
    assert clean["score"] == pytest.approx(2800 * 0.25 / 13)
    assert clean["ci95"][0] < clean["score"] < clean["ci95"][1]  # three images
    assert clean_score(task, rows, set(), 100, 0)["score"] == pytest.approx(scores["total"])


def test_left_out_items_of_ocrbench_are_no_misses():
    category = "Doc-oriented VQA"
    items = [Item(index=str(n), question="?", answer="['a']", category=category) for n in range(40)]
    task = Task(find("OCRBench"), "vlmevalkit", items, "")
    scores, rows = graded_rows(task, {item.index: "a" if int(item.index) % 2 else "b" for item in items})
    assert scores["Final Score Norm"] == 2.0
    assert clean_score(task, rows, {str(n) for n in range(20)}, 100, 0)["score"] == pytest.approx(2.0)


def test_ratings_make_the_headline_of_llavabench_when_the_reference_is_not_perfect():
    items = [Item(index=str(n), question="?", category="conv") for n in range(4)]
    task = Task(find("LLaVABench"), "vlmevalkit", items, "")
    detail = {"reference": 8.0, "model": 7.0}
    graded = [Graded(item, 0.7, "8 7", "judge", detail) for item in items[:3]]
    graded.append(Graded(items[3], 0.0, "", "none", {"reference": -1.0, "model": -1.0}))
    scores = task.rules.scores(graded, task.scoring)
    answers = {(run, "LLaVABench", item.index): Answer("x", None) for item in items for run in ("real", "blind")}
    rows = _rows(task, graded, scores, graded, answers)
    assert scores["Relative Score (main)"] == 87.0  # (3 x 7 - 1) / (3 x 8 - 1) = 20 / 23
    assert headline_of(rows) == pytest.approx(100 * 20 / 23)
    alike = estimate(rows, "real_minus_blind", 50)
    assert alike.value == 0 and alike.interval[0] < -50 and alike.interval[1] > 50  # four items


def test_the_headline_of_a_file_without_validation_is_named_for_what_is_there():
    items = [Item(index=str(n), question="?", answer="A", options={"A": "x", "B": "y"}, split="dev") for n in range(2)]
    task = Task(find("MMMU_DEV_VAL"), "vlmevalkit", items, "")
    scores, rows = graded_rows(task, {"0": "A", "1": "B"})
    assert "validation|Overall" not in scores
    assert {row["headline"] for row in rows} == {"Overall"} and headline_of(rows) == scores["Overall"] == 50
    check_headline(task)
