"""Verdicts that all runs share: what makes two of them the same, several processes at once, and who paid what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from support import tiny_llava
from support.model_server import ModelServer

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, write_jsonl
from mmevol_eval.benchmark import Item
from mmevol_eval.benchmarks import find
from mmevol_eval.data import BenchmarksConfig, prepare
from mmevol_eval.grading.judging import question_about
from mmevol_eval.judge import judge_from
from mmevol_eval.verdicts import Verdicts

ITEM = Item(index="1", question="Which animal?", options={"A": "cat", "B": "dog"}, answer="B")
GREETINGS = 1  # a judge that is there says so once in every run


def ask(folder, base_url, replies, verdicts, **more):
    """What a run with a journal of its own hears about some replies, and what it says it paid for."""
    folder.mkdir(exist_ok=True)
    (folder / "judge.yaml").write_text(json.dumps({"base_url": base_url, "model": "referee", **more}))
    judge = judge_from(str(folder / "judge.yaml"), folder / "judge.sqlite", verdicts)
    try:
        return [judge.ask(question_about(ITEM, reply, "choice", 0)) for reply in replies], judge.usage
    finally:
        judge.close()


def test_what_one_run_was_told_no_other_run_asks(tmp_path):
    shared = tmp_path / "verdicts.sqlite"
    with ModelServer(lambda body: f"verdict {len(server.bodies)}") as server:
        first, paid = ask(tmp_path / "a", server.base_url, ["x", "y"], shared)
        second, found = ask(tmp_path / "b", server.base_url, ["y", "x", "z"], shared)
    assert second[:2] == first[::-1] and second[2] not in first
    assert (paid["asked"], paid["shared"]) == (2 + GREETINGS, 0)
    assert (found["asked"], found["shared"]) == (1 + GREETINGS, 2)
    assert len(server.bodies) == 3 + 2 * GREETINGS


def test_a_run_that_is_repeated_says_again_what_it_paid_and_asks_nothing(tmp_path):
    shared = tmp_path / "verdicts.sqlite"
    with ModelServer(lambda body: "B") as server:
        ask(tmp_path / "a", server.base_url, ["x"], shared)
        before = ask(tmp_path / "b", server.base_url, ["x", "y"], shared)
        asked = len(server.bodies)
        again = ask(tmp_path / "b", server.base_url, ["x", "y"], shared)
    assert again == before and len(server.bodies) == asked
    assert (before[1]["asked"], before[1]["shared"]) == (1 + GREETINGS, 1)


@pytest.mark.parametrize("other", [{"model": "another"}, {"temperature": 1.0}, {"max_tokens": 5}])
def test_another_judge_or_another_sampling_is_asked_itself(tmp_path, other):
    shared = tmp_path / "verdicts.sqlite"
    with ModelServer(lambda body: "B") as server:
        ask(tmp_path / "a", server.base_url, ["x"], shared)
        _, usage = ask(tmp_path / "b", server.base_url, ["x"], shared, **other)
    assert (usage["asked"], usage["shared"]) == (1 + GREETINGS, 0)


def test_a_verdict_belongs_to_a_model_and_a_version_of_the_prompts(tmp_path):
    key = b"0123456789abcdef"
    Verdicts(tmp_path / "v.sqlite", "m", "1").put(key, "7", "the barking one", "B")
    seen = [
        Verdicts(tmp_path / "v.sqlite", model, prompts).get(key)
        for model, prompts in (("m", "1"), ("m", "2"), ("n", "1"))
    ]
    assert seen == ["B", None, None]


def test_of_two_verdicts_on_the_same_reply_the_first_counts_for_both(tmp_path):
    one, two = (Verdicts(tmp_path / "v.sqlite", "m", "1") for _ in range(2))
    for key, first in ((b"k", "A"), (b"l", "")):
        assert one.get(key) is two.get(key) is None
        assert (one.put(key, "7", "r", first), two.put(key, "7", "r", "B"), one.get(key)) == (first,) * 3


def test_an_empty_verdict_is_kept_by_the_run_that_got_it_and_shared_with_none(tmp_path):
    shared = tmp_path / "verdicts.sqlite"
    with ModelServer(lambda body: "" if len(server.bodies) == 1 + GREETINGS else "B") as server:
        first = [ask(tmp_path / "a", server.base_url, ["x"], shared)[0] for _ in range(2)]
        second, usage = ask(tmp_path / "b", server.base_url, ["x"], shared)
    assert (first, second, usage["shared"]) == ([[""], [""]], ["B"], 0)


def test_a_file_that_is_none_is_refused_in_one_line(tmp_path):
    (tmp_path / "v.sqlite").write_text("no database " * 100)
    with pytest.raises(UserError, match="move the file away"):
        Verdicts(tmp_path / "v.sqlite", "m", "1")


STORE = """
import json, sys, time
from pathlib import Path
from mmevol_eval.verdicts import Verdicts
path, number, start = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
time.sleep(max(0.0, start - time.time()))
verdicts = Verdicts(path, "m", "1")
print(json.dumps([verdicts.put(b"%d" % key, str(key), "r", f"{number}:{key}") for key in range(200)]))
"""


def test_processes_that_open_and_write_at_the_same_moment_agree_on_every_verdict(tmp_path):
    start = time.time() + 3
    words = [sys.executable, "-c", STORE, str(tmp_path / "v.sqlite")]
    writers = [subprocess.Popen([*words, str(n), str(start)], stdout=subprocess.PIPE) for n in range(4)]
    told = [json.loads(writer.communicate(timeout=60)[0]) for writer in writers]
    assert told[0] == told[1] == told[2] == told[3]
    assert [text.split(":")[1] for text in told[0]] == [str(key) for key in range(200)]


PROGRAM = """
import sys
from pathlib import Path
from mmevol_eval.evaluate import evaluate
from mmevol_eval.models.endpoint import ModelEndpoint
from mmevol_eval.settings import EvaluateConfig, ModelConfig
from mmevol_core.files import write_json
address, judge, benchmarks, verdicts, out = sys.argv[1:]
config = EvaluateConfig(
    names=("MMStar",), blind=False, probes=False, resamples=20, judge=judge, verdicts=Path(verdicts),
    model=ModelConfig(endpoint=ModelEndpoint(base_url=address, model="arm")),
)
metrics = evaluate(config, {"benchmarks": Path(benchmarks)}, Path(out)).metrics
write_json(Path(out) / "judges.json", metrics["judges"])
"""


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    root = tmp_path_factory.mktemp("verdicts")
    held_out = tiny_llava.held_out(root / "held_out")
    config = BenchmarksConfig(source="twins", names=("MMStar",), items=24)
    return prepare(config, {"held_out": held_out}, root / "twins").files["benchmarks"]


def questions(benchmarks):
    """What a judge can tell apart: it is shown no picture of a multiple-choice item."""
    return {(item.question, *item.options.items()) for item in find("MMStar").load(benchmarks / "MMStar.tsv")}


def test_two_arms_that_are_graded_at_the_same_time_share_their_verdicts_and_each_counts_its_own(benchmarks, tmp_path):
    """Both arms mumble the same, so each needs the same verdicts: three calls about each question, none can be read."""
    shared, judge = tmp_path / "verdicts.sqlite", tmp_path / "judge.yaml"

    def answer(body):
        return "Hard to tell." if body["model"] == "arm" else "No idea."

    def start(name):
        words = [server.base_url, str(judge), str(benchmarks), str(shared), str(tmp_path / name)]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, "-c", PROGRAM, *words], env=env)

    with ModelServer(answer) as server:
        judge.write_text(json.dumps({"base_url": server.base_url, "model": "referee", "concurrency": 4}))
        arms = [start("a"), start("b")]
        assert [arm.wait(120) for arm in arms] == [0, 0]
        asked = sum(body["model"] == "referee" for body in server.bodies)
        assert start("c").wait(120) == 0  # an arm that comes later
        later = sum(body["model"] == "referee" for body in server.bodies) - asked
    usages = [next(iter(read_json(tmp_path / name / "judges.json").values())) for name in "abc"]
    scores = [(tmp_path / name / "scores.json").read_bytes() for name in "abc"]
    assert scores[0] == scores[1] == scores[2]
    needed = 3 * len(questions(benchmarks))
    assert all(usage["asked"] - GREETINGS + usage["shared"] == needed for usage in usages)
    assert usages[0]["asked"] + usages[1]["asked"] == asked
    assert (usages[2]["asked"], usages[2]["shared"], later) == (GREETINGS, needed, GREETINGS)


def mmevol(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mmevol_experiment", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_two_scores_share_what_a_judge_said_through_a_cache_file(benchmarks, tmp_path):
    data, judge = benchmarks / "MMStar.tsv", tmp_path / "judge.yaml"
    items = find("MMStar").load(data)
    write_jsonl(tmp_path / "p.jsonl", [{"index": item.index, "prediction": "Hard to tell."} for item in items])
    words = ["score", "MMStar", "--data", data, "--predictions", tmp_path / "p.jsonl", "--judge", judge]
    with ModelServer(lambda body: "No idea.") as server:
        judge.write_text(json.dumps({"base_url": server.base_url, "model": "referee"}))
        for name in ("one", "two"):
            done = mmevol(*words, "--cache", tmp_path / "verdicts.sqlite", "--out", tmp_path / f"{name}.json")
            assert (done.returncode, done.stderr) == (0, "")
    one, two = (read_json(tmp_path / f"{name}.json") for name in ("one", "two"))
    needed = 3 * len(questions(benchmarks))
    assert [one["judge_usage"][key] for key in ("asked", "shared")] == [needed + GREETINGS, 0]
    assert [two["judge_usage"][key] for key in ("asked", "shared")] == [GREETINGS, needed]
    assert one | {"judge_usage": two["judge_usage"]} == two
