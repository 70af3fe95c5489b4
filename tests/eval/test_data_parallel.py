"""Two processes share the questions: the same predictions as one, none asked twice, and a killed one is survived."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import orjson
import psutil
import pytest
from support import tiny_llava

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, read_jsonl
from mmevol_eval.benchmark import Message
from mmevol_eval.data import BenchmarksConfig, prepare
from mmevol_eval.evaluate import evaluate
from mmevol_eval.models import Reply
from mmevol_eval.predictions import Ask, answer_all, answer_share, merge
from mmevol_eval.settings import EvaluateConfig

CONFIG = {"names": ("MME",), "max_new_tokens": 3, "probes": False, "resamples": 50, "batch_size": 4}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("parallel")
    held_out = tiny_llava.held_out(root / "held_out")
    made = prepare(BenchmarksConfig(source="twins", names=("MME",), items=60), {"held_out": held_out}, root / "twins")
    return {"checkpoint": tiny_llava.save(root), "benchmarks": made.files["benchmarks"]}


class Echo:
    """Answers with the question."""

    fingerprint, decoding = "echo", {"max_new_tokens": 1}

    def answer(self, prompts):
        for prompt in prompts:
            yield Reply(prompt.key, str(prompt.message.parts[0]))

    def close(self): ...


def asks(count):
    return [Ask("real", "B", str(number), Message((f"question {number}",))) for number in range(count)]


def lines(path):
    return list(read_jsonl(path)) if path.exists() else []


def test_the_shares_are_disjoint_and_merge_to_what_one_process_gives(tmp_path):
    alone = answer_all(asks(23), Echo(), tmp_path / "one.jsonl", tmp_path)
    log = tmp_path / "many.jsonl"
    for rank in range(3):
        answer_share(asks(23), Echo(), log, rank, 3, tmp_path / str(rank))
    shares = [{row["index"] for row in lines(log.with_name(f"many.rank-{rank}.jsonl"))} for rank in range(3)]
    assert [len(share) for share in shares] == [8, 8, 7] and len(set.union(*shares)) == 23
    merge(log)
    assert answer_all(asks(23), Echo(), log, tmp_path) == alone
    assert sorted(map(str, lines(log))) == sorted(map(str, lines(tmp_path / "one.jsonl")))


def test_what_a_dead_process_left_counts_and_its_cut_line_does_not(tmp_path):
    log = tmp_path / "log.jsonl"
    answer_share(asks(10), Echo(), log, 0, 2, tmp_path)
    part = log.with_name("log.rank-0.jsonl")
    part.write_bytes(part.read_bytes()[:-9])
    merge(log)
    assert len(lines(log)) == 4 and not part.exists()
    assert len(answer_all(asks(10), Echo(), log, tmp_path)) == 10
    assert len(lines(log)) == 10


def test_a_cut_line_of_the_log_itself_is_not_glued_to_what_is_merged(tmp_path):
    log = tmp_path / "log.jsonl"
    answer_all(asks(4), Echo(), log, tmp_path)
    answer_share(asks(10), Echo(), log, 0, 1, tmp_path)
    log.write_bytes(log.read_bytes()[:-9])
    merge(log)
    assert len(lines(log)) == 3 + 6
    assert len(answer_all(asks(10), Echo(), log, tmp_path)) == 10


def test_a_log_has_one_writer(tmp_path):
    log = tmp_path / "log.jsonl"
    program = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'ab'); fcntl.flock(f, 2); print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(log)], stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        with pytest.raises(UserError, match="another process is writing"):
            answer_all(asks(2), Echo(), log, tmp_path)
        other.kill()


def values(path):
    """The log without its order."""
    return sorted(orjson.dumps(row) for row in read_jsonl(path))


@pytest.mark.slow
def test_two_processes_predict_and_score_what_one_does(inputs, tmp_path):
    evaluate(EvaluateConfig(**CONFIG), inputs, tmp_path / "one")
    evaluate(EvaluateConfig(**CONFIG, processes=2), inputs, tmp_path / "two")
    assert values(tmp_path / "one/predictions.jsonl") == values(tmp_path / "two/predictions.jsonl")
    assert read_json(tmp_path / "one/scores.json") == read_json(tmp_path / "two/scores.json")


@pytest.mark.slow
def test_an_error_of_a_process_is_the_stages_error(inputs, tmp_path):
    broken = {**inputs, "checkpoint": tmp_path}
    with pytest.raises(UserError, match=r"config\.json is missing"):
        evaluate(EvaluateConfig(**CONFIG, processes=2), broken, tmp_path / "out")


PROGRAM = """
import sys
from pathlib import Path
from mmevol_core.errors import UserError
from mmevol_eval.evaluate import evaluate
from mmevol_eval.settings import EvaluateConfig
checkpoint, benchmarks, out = map(Path, sys.argv[1:])
config = EvaluateConfig(names=("MME",), max_new_tokens=64, probes=False, resamples=50, batch_size=1, processes=2)
try:
    evaluate(config, {"checkpoint": checkpoint, "benchmarks": benchmarks}, out)
except UserError as error:
    sys.exit(str(error))
"""


@contextmanager
def two_answering(inputs, out):
    """A stage process with two workers, each of which has answered something; and those below it."""
    paths = [str(inputs[role]) for role in ("checkpoint", "benchmarks")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, *paths, str(out)]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 500
        while time.monotonic() < deadline and min(len(_whole(part)) for part in _parts(out)) < 5:
            time.sleep(0.01)
        yield process, psutil.Process(process.pid).children(recursive=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_workers_end_when_the_stage_process_is_killed_by_force(inputs, tmp_path):
    with two_answering(inputs, tmp_path) as (process, below):
        assert len([one for one in below if _is_worker(one)]) == 2
        process.kill()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not all(map(_is_over, below)):
            time.sleep(0.05)
        assert all(map(_is_over, below))
    assert not (tmp_path / "scores.json").exists()
    assert min(len(_whole(part)) for part in _parts(tmp_path)) >= 5


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_one_of_two_is_killed_and_the_next_run_goes_on(inputs, tmp_path):
    out = tmp_path / "out"
    with two_answering(inputs, out) as (process, below):
        workers = [one for one in below if _is_worker(one)]
        assert len(workers) == 2
        workers[1].send_signal(signal.SIGKILL)
        assert "ended early; what was answered is kept" in process.communicate(timeout=400)[1]
    parts = _parts(out)
    kept = sum(len(_whole(part)) for part in parts)
    assert kept >= 10 and not (out / "scores.json").exists()
    config = EvaluateConfig(**CONFIG | {"max_new_tokens": 64})
    evaluate(config.model_copy(update={"processes": 2}), inputs, out)
    evaluate(config, inputs, tmp_path / "one")
    assert values(out / "predictions.jsonl") == values(tmp_path / "one/predictions.jsonl")  # none twice
    assert read_json(out / "scores.json") == read_json(tmp_path / "one/scores.json")


def _parts(out):
    return [out / f"predictions.rank-{rank}.jsonl" for rank in (0, 1)]


def _whole(path):
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _is_worker(process):
    words = process.cmdline()
    return "mmevol_eval.parallel" in words and "torch.distributed.run" not in words


def _is_over(process):
    """Ended; nobody may be left to collect it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
