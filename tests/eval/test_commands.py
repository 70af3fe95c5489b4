"""The evaluation commands when somebody types the wrong thing: one line, status 2, nothing overwritten."""

from __future__ import annotations

import json
import sys

import pytest
from support import tiny_llava

from mmevol_core.files import write_jsonl
from mmevol_eval.benchmarks import find
from mmevol_eval.data import BenchmarksConfig, prepare
from mmevol_experiment.__main__ import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`MMStar.tsv`, a `good.jsonl` that answers it, and files that are wrong in one way each."""
    root = tmp_path_factory.mktemp("commands")
    held_out = tiny_llava.held_out(root / "held_out")
    twins = prepare(BenchmarksConfig(source="twins", names=("MMStar",), items=12), {"held_out": held_out}, root)
    data = twins.files["benchmarks"] / "MMStar.tsv"
    items = list(find("MMStar").load(data))
    rows = [{"index": item.index, "prediction": "Hard to tell."} for item in items]
    write_jsonl(root / "good.jsonl", rows)
    write_jsonl(root / "twice.jsonl", [*rows, rows[0]])
    write_jsonl(root / "few.jsonl", rows[1:])
    write_jsonl(root / "number.jsonl", [{"index": "0", "prediction": 1}])
    (root / "broken.jsonl").write_text('{"index": 0, "prediction": "A"}\nnot json\n')
    (root / "bytes.jsonl").write_bytes(b"\xff\xfe\n")
    for name in ("dead.yaml", "judge_of_ours"):
        (root / name).write_text(json.dumps({"base_url": "http://127.0.0.1:9/v1", "model": "m", "max_attempts": 1}))
    (root / "MMStar.tsv").symlink_to(data)
    return root


def refused(words, monkeypatch, capsys):
    """The one line that a command ends with."""
    monkeypatch.setattr(sys, "argv", ["mmevol", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1, said
    return said


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"BENCHMARK": "MMStr"}, "did you mean 'MMStar'"),
        ({"--data": "nowhere.tsv"}, "`mmevol fetch MMStar"),
        ({"--data": "good.jsonl"}, "has no column 'index'"),
        ({"--predictions": "nowhere.jsonl"}, "file not found"),
        ({"--predictions": "twice.jsonl"}, "occurs twice"),
        ({"--predictions": "few.jsonl"}, "lacks 1 of 1"),
        ({"--predictions": "number.jsonl"}, "prediction must be text"),
        ({"--predictions": "broken.jsonl"}, "line 2 is not JSON"),
        ({"--predictions": "bytes.jsonl"}, "line 1 is not JSON"),
        ({"--out": "."}, "is a folder"),
        ({"--out": "good.jsonl"}, "would overwrite"),
        ({"--protocol": "mmevl"}, "did you mean 'mmevol'"),
        ({"--backend": "vlmevl"}, "did you mean 'vlmeval'"),
        ({"--backend": "vlmeval", "--protocol": "mmevol"}, "leave out --protocol"),
        ({"--judge": "dead.yaml"}, "127.0.0.1:9"),
        ({"--judge": "nowhere.yaml"}, "valid: none, scripted"),
        ({"--judge": "replay:nowhere.jsonl"}, "file not found"),
        ({"--cache": "verdicts.sqlite"}, "--judge is none: leave it out"),
        ({"--cache": "verdicts.sqlite", "--judge": "judge_of_ours"}, "127.0.0.1:9"),  # an endpoint, whatever its name
        ({"--cache": "verdicts.sqlite", "--backend": "vlmeval"}, "leave out --cache"),
        ({"--environment": "elsewhere"}, "leave it out, or use --backend vlmeval"),
        ({"--backend": "vlmeval", "--environment": "elsewhere"}, "elsewhere/bin/python does not exist"),
    ],
)
def test_score_refuses_what_it_cannot_take(folder, changed, message, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = (folder / "good.jsonl").read_bytes()
    given = {"--data": "MMStar.tsv", "--predictions": "good.jsonl", "--out": "never.json", **changed}
    words = ["score", given.pop("BENCHMARK", "MMStar"), *(word for pair in given.items() for word in pair)]
    assert message in refused(words, monkeypatch, capsys)
    assert (folder / "good.jsonl").read_bytes() == before and not (folder / "never.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["official", ".", "--benchmarks", ".", "--out", "o", "--environment", "."], "no data at ."),
        (["official", ".", "--benchmarks", ".", "--out", "o", "--suite", "spine"], "did you mean 'spine5'"),
        (["official", ".", "--benchmarks", ".", "--out", "o", "--suite", "spine5"], "no data at ."),
        (["results", "nowhere", "--out", "r.html"], "holds no scores.json"),
        (["fetch", "MMStr", "--to", "x"], "did you mean 'MMStar'"),
        (["verify", "MMStar", "--data", "nowhere"], "`mmevol fetch MMStar"),
        (["verify", "MMStar", "--data", "MMStar.tsv"], "is not MMStar as published: MD5"),
        (["submission", "POPE", "--data", ".", "--predictions", "good.jsonl", "--out", "u.json"], "Valid: VQAv2"),
        (["submission", "VQAv2", "--data", "x", "--predictions", "good.jsonl", "--out", "u.json"], "no data at x"),
        (["submission", "VQAv2", "--data", ".", "--predictions", "good.jsonl", "--out", "good.jsonl"], "overwrite"),
    ],
)
def test_the_other_commands_refuse_what_they_cannot_take(folder, words, message, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert message in refused(words, monkeypatch, capsys)
