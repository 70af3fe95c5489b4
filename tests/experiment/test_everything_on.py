"""`make experiment` at its smallest with every part of the data engine switched on: they work together, and it says so.

Teacher, judges and curator are scripted: the run shows that the parts are connected, not what a model would write.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec

import pytest

from mmevol_core.files import read_json, read_jsonl
from mmevol_core.sample import read_samples

QUICK = ["experiment=quickstart", "debug=ci", "suite=spine5"]
TALK = [{"from": "human", "value": "Say hello."}, {"from": "gpt", "value": "Hello."}]
ON = [
    "arms=[seed,evolved]",
    "curation=mmevol",  # joined, judged, completed, sorted by topic
    "+teacher@curation.judge=scripted",
    "curation.judge.scripted_seed=2",
    "+teacher@evolve.judge=scripted",  # a second model that sees no image
    "evolve.judge.scripted_seed=1",
    "evolve.judge.model=second",
    "recipe=mmevol_released",
    "recipe.rounds=2",
    "recipe.personas=personas.txt",
    "recipe.basic=[interaction]",
    "recipe.blind_test=true",
    "recipe.min_score=1",
    "data.contamination={benchmarks:outputs/first/benchmarks/benchmarks,action:keep}",
    "mixtures.evolved.sample=image",
    "+blend@mixtures.evolved.blend=table5",
    "mixtures.evolved.blend.missing=skip",
    "mixtures.evolved.blend.sources.sharegpt.path=text.json",
]
if find_spec("rapidocr"):
    ON.append("curation.annotate.ocr=rapidocr")


def command(*overrides):
    return [sys.executable, "-m", "mmevol_experiment", "run", *QUICK, *overrides]


def run(folder, *overrides):
    done = subprocess.run(command(*overrides), cwd=folder, capture_output=True, text=True, timeout=1700, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def killed_while_it_curates(folder):
    """Begin to curate with one request at a time, and kill it with some answers in the log; how many there were."""
    process = subprocess.Popen(
        command("name=whole", "stages=[curation]", *ON),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 600
    while not (answers := len(matches(folder))):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return answers


def matches(folder):
    """What the judge of the curation was asked so far."""
    logs = folder.glob("outputs/stages/curation/*/judge/teacher.jsonl")
    return [line for log in logs for line in log.read_text().splitlines() if line.endswith("}")]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_quickstart_runs_with_every_part_of_the_data_engine_on(tmp_path):
    (tmp_path / "personas.txt").write_text("a curious child\nan engineer\n")
    (tmp_path / "text.json").write_text(json.dumps([{"id": "t", "conversations": TALK}]))
    run(tmp_path, "name=first", "stages=[benchmarks]")
    assert 0 < killed_while_it_curates(tmp_path) < 64  # in the middle of it
    said = run(tmp_path, "name=whole", *ON)
    assert "curation: done" in said
    out = tmp_path / "outputs" / "whole"

    books = read_json(out / "curation" / "curation.json")["records"]
    assert books["in"] == 64 == books["kept"] + sum(books["eliminated"].values()) + sum(books["failed"].values())
    assert books["eliminated"]["irrelevant"] > 0
    asked = [json.loads(line)["prompt"] for line in matches(tmp_path)]
    assert len(set(asked)) == 64
    assert len(asked) <= 64 + 16  # asked again is at most what was in flight (teacher.concurrency)

    total = read_json(out / "evolve" / "ledger.json")["total"]
    assert total["records"] == 2 * books["kept"]
    assert total["given"] == total["kept"] + sum(total["eliminated"].values()) + sum(total["failed"].values())
    tasks = Counter(row["task"] for row in read_jsonl(out / "evolve" / "judge" / "teacher.jsonl"))
    assert tasks["score"] > 0 and tasks["plain"] > 0  # the second model scores, and is asked blind
    assert {row["task"] for row in read_jsonl(out / "evolve" / "teacher" / "teacher.jsonl")} == {"evolve"}
    directions = {item.direction for sample in read_samples(out / "evolve" / "evolved.jsonl") for item in sample.latest}
    assert directions >= {"fine_grained_perception", "cognitive_reasoning", "interaction"}

    gate = read_json(out / "seed" / "manifest.json")["metrics"]["contamination"]
    assert gate["action"] == "keep" and sum(gate["met"].values()) > 0
    mixed = read_json(out / "mixture.evolved" / "manifest.json")["metrics"]
    assert (mixed["rows_out"], mixed["blend"]["rows_out"]) == (books["kept"], 1)  # an image each, and the text

    report = read_json(out / "report.json")
    assert report["curation"]["records"] == books
    assert any(label.startswith("scripted curation") for label in report["labels"])
    assert any("clean" in entry for entry in report["arms"]["evolved"]["benchmarks"].values())
    page = (out / "report.html").read_text()
    assert "<h2>Curation</h2>" in page and "irrelevant" in page
    assert "already done" in run(tmp_path, "name=whole", *ON)
