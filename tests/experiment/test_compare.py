"""Experiments side by side: one chart for those that were measured alike, and a word where they were not."""

from __future__ import annotations

import pytest

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, write_json
from mmevol_experiment.compare import compare_experiments


def report(outputs, name, protocol, n, control=None, benchmarks=("POPE", "MIA-Bench")):
    def arm(hash_):
        entries = {one: {"protocol": {"judge": "scripted" if "MIA" in one else "none"}} for one in benchmarks}
        return {"benchmarks": {**entries, "average": {"protocol_hash": hash_}}}

    row = {"a": "evolved", "b": "seed_matched", "benchmark": "average", "measure": "score", "delta": 5.0}
    row |= {"ci95": [1.0, 9.0], "p": 0.01, "n": n, "mde": 5.0}
    arms = {"evolved": arm(protocol), "seed_matched": arm(control or protocol)}
    write_json(outputs / name / "report.json", {"arms": arms, "differences": [row, {**row, "benchmark": "POPE"}]})


def test_experiments_that_were_measured_alike_share_a_chart(tmp_path):
    report(tmp_path, "one", "aaaa", 300)
    report(tmp_path, "two", "aaaa", 300)
    page, warnings = compare_experiments(tmp_path, [])
    text = page.read_text(encoding="utf-8")
    assert not warnings and text.count("<svg") == 1
    assert "one, two: 300 items of 2 benchmarks (POPE, MIA-Bench); judge: scripted." in text


def test_different_protocols_are_set_apart_and_warned_of(tmp_path):
    report(tmp_path, "small", "aaaa", 124, benchmarks=("POPE",))
    report(tmp_path, "large", "bbbb", 3907)
    page, warnings = compare_experiments(tmp_path, ["small", "large"])
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 2 and "Protocol aaaa" in text and "Protocol bbbb" in text
    assert len(warnings) == 1 and warnings[0].startswith("2 protocols") and warnings[0] in text
    found = read_json(tmp_path / "compare.json")
    assert found["warnings"] == warnings
    told = [(row["experiment"], row["protocol_hash"], row["n"], row["benchmarks"]) for row in found["differences"]]
    assert told == [("small", "aaaa", 124, ["POPE"]), ("large", "bbbb", 3907, ["POPE", "MIA-Bench"])]


def test_arms_of_one_experiment_that_were_not_measured_alike_are_named(tmp_path):
    report(tmp_path, "mixed", "aaaa", 300, control="bbbb")
    _, warnings = compare_experiments(tmp_path, [])
    assert warnings == ["mixed: evolved and seed_matched were not measured alike (protocols aaaa / bbbb)"]


def test_an_experiment_that_has_not_finished_is_named_with_those_that_have(tmp_path):
    report(tmp_path, "one", "aaaa", 300)
    with pytest.raises(UserError, match="one"):
        compare_experiments(tmp_path, ["other"])
