"""The stage on a random tiny model: accounting, blind run, kill and resume, a score that is a function of the log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from support import tiny_llava

from mmevol_core.config import every_key, fit
from mmevol_core.errors import UserError
from mmevol_core.files import read_json, read_jsonl, write_jsonl
from mmevol_eval.benchmark import Item, Message
from mmevol_eval.benchmarks import find
from mmevol_eval.bootstrap import estimate
from mmevol_eval.clean import Contaminated, clean_score
from mmevol_eval.data import TWINS, BenchmarksConfig, prepare
from mmevol_eval.evaluate import STAGE, evaluate, yes_share
from mmevol_eval.rows import detectable
from mmevol_eval.settings import EvaluateConfig
from mmevol_eval.statistics import compare, read_items
from mmevol_eval.tasks import Task, derange, first, with_images

NAMES = ("MME", "POPE", "MMStar", "GQA", "VQAv2")
CONFIG = {"names": NAMES, "max_new_tokens": 3, "probe_items": 8, "resamples": 50}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    held_out = tiny_llava.held_out(root / "held_out")
    made = prepare(BenchmarksConfig(source="twins", names=NAMES, items=30), {"held_out": held_out}, root / "twins")
    return {"checkpoint": tiny_llava.save(root), "benchmarks": made.files["benchmarks"], "held_out": held_out}


@pytest.fixture(scope="module")
def done(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    evaluate(EvaluateConfig(**CONFIG), inputs, out)
    return out


def test_every_item_is_in_the_log_twice_and_in_the_items_once(done):
    scores = read_json(done / "scores.json")
    items = list(read_jsonl(done / "items.jsonl"))
    log = list(read_jsonl(done / "predictions.jsonl"))
    for name in NAMES:
        n = scores["benchmarks"][name]["n"]
        assert n == sum(row["benchmark"] == name for row in items)
        for run in ("real", "blind"):
            assert n == sum((row["benchmark"], row["run"]) == (name, run) for row in log)


def test_scores_carry_protocol_interval_and_gates(done):
    scores = read_json(done / "scores.json")
    for entry in scores["benchmarks"].values():
        low, high = entry["ci95"]
        assert low <= entry["score"] <= high
        assert len(entry["protocol_hash"]) == 16
        assert entry["failed"] == 0
    assert {"seed_type", "letter_binding", "cell_binding_2", "cell_binding_4", "yes_share"} == scores["gates"].keys()
    assert scores["average"]["n"] == sum(entry["n"] for entry in scores["benchmarks"].values())


def test_scores_are_a_function_of_the_log(inputs, done, tmp_path):
    (tmp_path / "predictions.jsonl").write_bytes((done / "predictions.jsonl").read_bytes())
    evaluate(EvaluateConfig(**CONFIG), inputs, tmp_path)
    for name in ("scores.json", "items.jsonl", "predictions.jsonl"):
        assert (tmp_path / name).read_bytes() == (done / name).read_bytes()


def test_right_answers_in_the_log_become_full_scores(inputs, done, tmp_path):
    """The grading path end to end: replace each real reply by the reference, leave the blind ones."""
    import orjson

    right = {(row["benchmark"], row["index"]): row["answer"] for row in read_jsonl(done / "items.jsonl")}
    with (tmp_path / "predictions.jsonl").open("wb") as file:
        for row in read_jsonl(done / "predictions.jsonl"):
            if row["run"] == "real" and row["benchmark"] in ("MME", "POPE", "MMStar", "GQA"):
                row["prediction"] = right[row["benchmark"], row["index"]]
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    evaluate(EvaluateConfig(**CONFIG), inputs, tmp_path)
    scores = read_json(tmp_path / "scores.json")["benchmarks"]
    assert {name: scores[name]["percent"] for name in NAMES[:4]} == dict.fromkeys(NAMES[:4], 100.0)
    assert scores["MME"]["score"] == 2800
    assert scores["MME"]["yes_share"] == 0.5
    assert scores["MME"]["real_minus_blind"] == 2800 - scores["MME"]["blind"]
    rows = compare(read_items(tmp_path / "items.jsonl"), read_items(done / "items.jsonl"), names=("right", "random"))
    best = next(row for row in rows if row.benchmark == "average" and row.measure == "score")
    assert best.ci95[0] > 0 and best.p < 0.05


def test_a_line_cut_by_a_kill_is_asked_again(inputs, done, tmp_path):
    whole = (done / "predictions.jsonl").read_bytes()
    (tmp_path / "predictions.jsonl").write_bytes(whole[:-25])
    evaluate(EvaluateConfig(**CONFIG), inputs, tmp_path)
    assert sorted(read_jsonl(tmp_path / "predictions.jsonl"), key=str) == sorted(
        read_jsonl(done / "predictions.jsonl"), key=str
    )
    assert (tmp_path / "scores.json").read_bytes() == (done / "scores.json").read_bytes()


def test_answers_of_another_decoding_are_not_reused(inputs, done, tmp_path):
    (tmp_path / "predictions.jsonl").write_bytes((done / "predictions.jsonl").read_bytes())
    before = len((tmp_path / "predictions.jsonl").read_bytes().splitlines())
    evaluate(EvaluateConfig(**{**CONFIG, "max_new_tokens": 2}), inputs, tmp_path)
    assert len((tmp_path / "predictions.jsonl").read_bytes().splitlines()) == 2 * before


def test_a_broken_line_inside_the_log_is_named(inputs, tmp_path):
    (tmp_path / "predictions.jsonl").write_text('{"run": "real"}\n')
    with pytest.raises(UserError, match=r"predictions\.jsonl line 1"):
        evaluate(EvaluateConfig(**CONFIG), inputs, tmp_path)


PROGRAM = """
import sys
from pathlib import Path
from mmevol_eval.evaluate import evaluate
from mmevol_eval.settings import EvaluateConfig
checkpoint, benchmarks, held_out, out = map(Path, sys.argv[1:])
config = EvaluateConfig(names=("MME", "GQA"), max_new_tokens=3, probe_items=8, resamples=50, batch_size=2)
evaluate(config, {"checkpoint": checkpoint, "benchmarks": benchmarks, "held_out": held_out}, out)
"""


def test_killed_in_the_middle_it_goes_on_where_it_was(inputs, tmp_path):
    paths = [str(inputs[role]) for role in ("checkpoint", "benchmarks", "held_out")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = tmp_path / "killed/predictions.jsonl"
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *paths, str(log.parent)], env=env) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and (not log.is_file() or log.read_bytes().count(b"\n") < 10):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (log.parent / "scores.json").exists()
    kept = log.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    assert kept.count(b"\n") >= 10
    config = EvaluateConfig(names=("MME", "GQA"), max_new_tokens=3, probe_items=8, resamples=50, batch_size=2)
    evaluate(config, inputs, log.parent)
    evaluate(config, inputs, tmp_path / "whole")
    assert log.read_bytes().startswith(kept)
    assert (log.parent / "scores.json").read_bytes() == (tmp_path / "whole/scores.json").read_bytes()


def test_blind_runs_show_another_picture_and_keep_pairs_together():
    images = [(bytes([n // 2]),) for n in range(20)]
    donors = derange(images, "seed")
    assert all(own != donor for own, donor in zip(images, donors, strict=True))
    assert all(donors[n] == donors[n + 1] for n in range(0, 20, 2))
    assert sorted(donors) == sorted(images)
    assert donors == derange(images, "seed") != derange(images, "other")


def test_a_blind_run_needs_two_pictures_and_leaves_texts_alone():
    with pytest.raises(UserError, match=r"evaluate\.blind=false"):
        derange([(b"a",), (b"a",)], "seed")
    assert derange([(), (b"a",), (b"b",)], "seed")[0] == ()


def test_exchanged_pictures_keep_their_places_in_the_message():
    message = Message((b"1", "left and", b"2", "right"), "system")
    assert with_images(message, (b"x",)) == Message((b"x", "left and", b"x", "right"), "system")


def test_the_share_of_yes_counts_yes_no_questions_only():
    rows = [{"answer": a, "prediction": p} for a, p in (("Yes", "yes."), ("No", "Yes"), ("no", "no"), ("red", "yes"))]
    assert yes_share(rows) == pytest.approx(2 / 3)
    assert yes_share(rows[3:]) is None


CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize("name", ["default", "tiny", "endpoint"])
def test_the_configurations_fit_the_schema(name):
    values = yaml.safe_load((CONF / f"evaluate/{name}.yaml").read_text())
    assert fit(STAGE.config, {**values, "names": NAMES}, "evaluate").names == NAMES


def test_all_thirteen_columns_of_the_table_are_scored(inputs, tmp_path):
    """One random model through every twin: the checks of accounting and of the headlines hold for all of them."""
    values = yaml.safe_load((CONF / "evaluate/tiny.yaml").read_text())
    names = tuple(TWINS)
    config = EvaluateConfig(**{**values, "names": names, "max_new_tokens": 3, "resamples": 50, "probes": False})
    twins = BenchmarksConfig(source="twins", names=names, items=14)
    made = prepare(twins, {"held_out": inputs["held_out"]}, tmp_path / "twins")
    evaluate(config, {**inputs, **made.files}, tmp_path / "out")
    scores = read_json(tmp_path / "out/scores.json")
    assert len(scores["benchmarks"]) == 13
    assert scores["benchmarks"]["MIA-Bench"]["protocol"]["judge"] == "scripted"
    assert scores["benchmarks"]["MMStar"]["protocol"]["judge"] == "none"
    assert scores["benchmarks"]["MMSInst"]["protocol"]["rules"] == "without_nlp"


def test_settings_of_one_benchmark_hold_for_it_alone(inputs, done, tmp_path):
    own = {"path": inputs["benchmarks"] / "MME.tsv", "max_new_tokens": 2, "rules": "mmevol", "limit": 9}
    config = EvaluateConfig(**{**CONFIG, "names": ("MME", "POPE"), "settings": {"MME": own}, "probes": False})
    evaluate(config, inputs, tmp_path)
    before, after = (read_json(folder / "scores.json")["benchmarks"] for folder in (done, tmp_path))
    assert after["POPE"] == before["POPE"]
    protocol = after["MME"]["protocol"]
    assert (protocol["rules"], protocol["decoding"]["max_new_tokens"], after["MME"]["n"]) == ("mmevol", 2, 10)
    assert protocol["data"].startswith(before["MME"]["protocol"]["data"]) and "10 of" in protocol["data"]


def test_a_preview_keeps_clusters_whole():
    items = [Item(index=str(number), question="?", cluster=f"c{number // 2 % 3}") for number in range(12)]
    assert [item.index for item in first(items, 3)] == ["0", "1", "6", "7"]
    assert len(first(items, 5)) == 8 and len(first(items, 99)) == 12


def test_an_unknown_benchmark_stops_before_anything_is_asked(inputs, tmp_path):
    with pytest.raises(UserError, match="unknown benchmark 'MNE'"):
        evaluate(EvaluateConfig(**{**CONFIG, "names": ("MNE",)}), inputs, tmp_path)
    assert not (tmp_path / "predictions.jsonl").exists()


def test_the_score_without_contaminated_items_stands_beside_the_full_one(inputs, done, tmp_path):
    rows = [row for row in read_jsonl(done / "items.jsonl") if row["benchmark"] in ("MME", "MMStar")]
    met = [next(row for row in rows if row["benchmark"] == name) for name in ("MME", "MMStar")]
    write_jsonl(tmp_path / "met.jsonl", [{"benchmark": row["benchmark"], "index": row["index"]} for row in met])
    (tmp_path / "predictions.jsonl").write_bytes((done / "predictions.jsonl").read_bytes())
    evaluate(EvaluateConfig(**CONFIG, contaminated=tmp_path / "met.jsonl"), inputs, tmp_path)
    scores = read_json(tmp_path / "scores.json")["benchmarks"]
    before = read_json(done / "scores.json")["benchmarks"]
    for one in met:
        name = one["benchmark"]
        left = [row for row in rows if row["benchmark"] == name and row["cluster"] == one["cluster"]]
        clean = scores[name]["clean"]
        assert clean["left_out"] == len(left) and clean["n"] == scores[name]["n"] - len(left)
        assert {key: scores[name][key] for key in before[name]} == before[name]
        assert clean["ci95"][0] <= clean["score"] <= clean["ci95"][1]
    own = [row["score"] for row in rows if row["benchmark"] == "MMStar" and row["cluster"] != met[1]["cluster"]]
    assert scores["MMStar"]["clean"]["percent"] == pytest.approx(100 * sum(own) / len(own))  # a plain mean
    assert "clean" not in scores["POPE"]


def test_listed_indexes_are_read_as_numbers_and_those_of_no_item_are_counted():
    items = [Item(index=str(n), question="?", answer="A", options={"A": "x", "B": "y"}) for n in range(20)]
    task = Task(find("MMStar"), "vlmevalkit", items, "")
    rows = [
        {"benchmark": "MMStar", "headline": "Overall", "index": item.index, "cluster": item.index, "score": 1.0}
        for item in items
    ]
    listed = Contaminated({"MMStar": {"003", "999", "05", "5"}}).of("MMStar", items)
    assert listed == {"3", "999", "5"}
    clean = clean_score(task, rows, listed, 100, 0)
    assert (clean["n"], clean["left_out"], clean["unmatched"]) == (18, 2, 1)
    apart = [replace(items[0], index="7"), replace(items[0], index="07")]  # the data tell 7 from 07
    assert Contaminated({"MMStar": {"007", "07"}}).of("MMStar", apart) == {"007", "07"}


def test_a_list_of_contaminated_items_that_is_none_is_refused(inputs, tmp_path):
    write_jsonl(tmp_path / "met.jsonl", [{"benchmark": "MNE", "index": "1"}])
    with pytest.raises(UserError, match="unknown benchmark 'MNE'"):
        evaluate(EvaluateConfig(**CONFIG, contaminated=tmp_path / "met.jsonl"), inputs, tmp_path)


def test_the_smallest_detectable_difference_is_that_of_two_independent_runs():
    """400 items in clusters of one, half right: standard error 2.5; (1.960 + 0.842) x sqrt(2) x 2.5 = 9.9 points."""
    rows = [{"benchmark": "MMStar", "cluster": str(number), "score": number % 2} for number in range(400)]
    assert detectable(estimate(rows)) == pytest.approx(9.9, rel=0.06)


def test_what_changes_no_answer_is_no_part_of_the_fingerprint_and_reaches_every_process():
    config = EvaluateConfig(names=("POPE",), batch_size=2, threads=2, processes=2)
    assert config.model_dump() == EvaluateConfig(names=("POPE",)).model_dump()
    # items that stay without an answer are wrong: who allows fewer must not get the scores of who allowed more
    assert EvaluateConfig(names=("POPE",), max_failed=0.5).model_dump() != config.model_dump()
    assert fit(EvaluateConfig, every_key(config), "evaluate") == config
