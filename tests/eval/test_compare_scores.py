"""Two models scored alone: each with an interval, and a paired test between them where both were scored alike."""

from __future__ import annotations

import json

import pytest

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, write_json, write_jsonl
from mmevol_eval.compare_scores import compare_scores
from mmevol_eval.protocol import tell
from mmevol_eval.score import score_file

RIGHT = {"one": 90, "two": 60}  # of 100 questions


@pytest.fixture
def data(tmp_path):
    lines = ["index\timage\tquestion\tA\tB\tanswer\tcategory"]
    lines += [f"{n}\t{'A' * 76}{n:04d}\tWhich?\tred\tblue\tA\tcolor" for n in range(100)]
    (tmp_path / "MMStar.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "MMStar.tsv"


@pytest.fixture
def results(data, tmp_path):
    found = {}
    for name, right in RIGHT.items():
        replies = [{"index": n, "prediction": "A" if n < right else "B"} for n in range(100)]
        write_jsonl(tmp_path / f"{name}.jsonl", replies)
        found[name] = tmp_path / f"{name}.json"
        score_file("MMStar", data, tmp_path / f"{name}.jsonl", found[name])
    return found


def test_a_score_has_its_interval_and_what_is_detectable(results):
    found = read_json(results["one"])
    assert found["headline"]["value"] == pytest.approx(found["headline"]["maximum"] * 0.9)
    scale = found["headline"]["maximum"] / 100
    # 90 of 100: standard error 3 points, so 90 +- 5.9, and 2.802 x sqrt(2) x 3 = 11.9 for another model
    assert found["ci95"] == pytest.approx([84 * scale, 95 * scale], abs=1.01 * scale)
    assert found["mde"] == pytest.approx(11.9 * scale, rel=0.05)


def test_two_results_are_compared_item_by_item(results):
    found = compare_scores(results["one"], results["two"])
    # 30 won, none lost: 30 +- 1.96 x sqrt(0.3 x 0.7 / 100) = 21.0 .. 39.0
    assert found["delta"] == pytest.approx(30)
    assert found["ci95"] == pytest.approx((21, 39), abs=1)
    assert found["p"] < 0.001 and found["n"] == 100
    assert (found["score_a"], found["score_b"]) == tuple(
        read_json(results[name])["headline"]["value"] for name in RIGHT
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one["protocol"].update(data="other"), "not scored alike: data is "),
        (lambda one: one["protocol"].update(rules="mmevol", judge="j"), "judge is .*; rules differ, too"),
        (lambda one: one["headline"].update(name="Overall2"), "headline is "),
        (lambda one: one["items"].pop(), "do not add up|not the same"),
        (lambda one: one["items"][0].pop("cluster"), "which picture they are about"),
        (lambda one: one["items"][0].update(score=0.0), "do not add up"),
        (lambda one: one.pop("items"), "is no result of mmevol score"),
    ],
)
def test_results_that_were_not_scored_alike_are_refused_in_one_line(results, change, said):
    other = read_json(results["one"])
    change(other)
    write_json(results["two"], other)
    with pytest.raises(UserError, match=said) as refused:
        compare_scores(results["one"], results["two"])
    assert "\n" not in str(refused.value)


def test_stored_verdicts_of_two_models_are_two_files_of_one_judge(results):
    for number, path in enumerate(results.values()):
        found = json.loads(path.read_text(encoding="utf-8"))
        found["protocol"]["judge"] = f"replay:{number}"
        write_json(path, found)
    assert compare_scores(*results.values())["protocol"]["judge"] == "replay"


def test_two_served_models_differ_in_their_names_and_nothing_else(data, tmp_path, results):
    for name, beams in (("one", 1), ("two", 1), ("three", 3)):
        predictions = tmp_path / f"{name}.jsonl"
        if name == "three":
            predictions.write_bytes((tmp_path / "two.jsonl").read_bytes())
        tell(predictions, "vlmevalkit", {"endpoint": f"served-{name}", "beams": beams})
        score_file("MMStar", data, predictions, tmp_path / f"{name}.json")
    assert compare_scores(results["one"], results["two"])["delta"] == pytest.approx(30)
    assert "note" not in compare_scores(results["one"], results["two"])
    (tmp_path / "two.protocol.json").unlink()
    score_file("MMStar", data, tmp_path / "two.jsonl", tmp_path / "two.json")
    assert compare_scores(results["one"], results["two"])["note"].startswith("how the predictions of ")
    with pytest.raises(UserError, match="decoding is"):
        compare_scores(results["one"], tmp_path / "three.json")
