import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.run_fakes import execute, nodes

from mmevol_core.errors import UserError
from mmevol_core.stage import StageResult
from mmevol_eval.benchmark import BenchmarkSettings
from mmevol_experiment import manifest
from mmevol_experiment.graph import Node
from mmevol_experiment.plan import external_files, plan

SCRIPT = Path(__file__).parents[1] / "support" / "run_fakes.py"


def lines(log):
    path = log.with_suffix(".txt")
    return sorted(path.read_text().split()) if path.exists() else []


@pytest.fixture
def begin():
    begun = []

    def start(*arguments, **options):
        begun.append(_begin(*arguments, **options))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()  # its workers end with it
        process.wait()


def _begin(outputs, log, steps=4, step_s=0.2):
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    command = [sys.executable, str(SCRIPT), str(outputs), str(log), str(steps), str(step_s)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)


def test_results_flow_from_stage_to_stage(tmp_path):
    jobs, _ = execute(tmp_path / "out", nodes(tmp_path / "log"))
    assert jobs["c"].done.metrics["total"] == 6  # 3 + 1 + 2
    assert jobs["c"].done.inputs["left"]["fingerprint"] == jobs["a"].fingerprint


def test_a_second_run_does_nothing(tmp_path):
    log = tmp_path / "log"
    execute(tmp_path / "out", nodes(log))
    _, said = execute(tmp_path / "out", nodes(log))
    assert len(lines(log)) == 3
    assert "already done: a, b, c" in said
    assert "started" not in said


def test_a_changed_configuration_runs_the_stage_and_what_depends_on_it(tmp_path):
    log = tmp_path / "log"
    before, _ = execute(tmp_path / "out", nodes(log))
    graph = nodes(log)
    changed = (Node("a", "work", graph[0].module, {**graph[0].config, "value": 10}), *graph[1:])
    after, _ = execute(tmp_path / "out", changed)
    assert before["b"].folder == after["b"].folder
    assert before["a"].folder != after["a"].folder
    assert after["c"].done.metrics["total"] == 15  # 3 + 10 + 2
    assert lines(log) == ["10:0", "1:0", "2:0", "3:0", "3:0"]


def test_equal_stage_runs_share_a_folder_and_run_once(tmp_path):
    log = tmp_path / "log"
    one = Node("x", "work", "support.fake_stages", {"log": str(log), "step_s": 0.2})
    same = Node("y", "work", "support.fake_stages", {"log": str(log), "step_s": 0.2})
    jobs, _ = execute(tmp_path / "out", (one, same))
    assert jobs["x"].folder == jobs["y"].folder
    assert lines(log) == ["0:0"]


def test_a_crash_leaves_no_manifest_and_names_the_log(tmp_path):
    with pytest.raises(
        UserError, match=r"stage c failed unexpectedly: ValueError: boom \(traceback: .*log.txt\)"
    ) as error:
        execute(tmp_path / "out", nodes(tmp_path / "log", fail="crash"))
    job = plan(nodes(tmp_path / "log", fail="crash"), tmp_path / "out")["c"]
    assert error.value.status == 1
    assert not (job.folder / "manifest.json").exists()
    assert "ValueError: boom" in (job.folder / "log.txt").read_text()


def test_a_persons_mistake_travels_as_its_message_and_status(tmp_path):
    with pytest.raises(UserError, match="stage c: the input is bad; fix it") as error:
        execute(tmp_path / "out", nodes(tmp_path / "log", fail="user"))
    assert error.value.status == 3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"valeu": 1, "log": "x"}, r"unknown config key 'first.valeu'; did you mean 'first.value'\?"),
        ({"value": "many", "log": "x"}, "config key first.value: .*integer"),
        ({"value": 1}, "config key first.log is missing"),
    ],
)
def test_a_configuration_that_does_not_fit_stops_before_anything_runs(tmp_path, config, message):
    bad = Node("last", "work", "support.fake_stages", config, where="first")
    with pytest.raises(UserError, match=message):
        execute(tmp_path / "out", (*nodes(tmp_path / "log"), bad))
    assert lines(tmp_path / "log") == []


def test_a_missing_input_stops_before_anything_runs(tmp_path):
    needing = Node("d", "work", "support.fake_stage_needing", {"log": str(tmp_path / "log")})
    with pytest.raises(UserError, match="stage d needs the input 'left'"):
        execute(tmp_path / "out", (*nodes(tmp_path / "log"), needing))
    assert lines(tmp_path / "log") == []


def test_a_deleted_output_is_made_again(tmp_path):
    log = tmp_path / "log"
    jobs, _ = execute(tmp_path / "out", nodes(log))
    (jobs["c"].folder / "out.txt").unlink()
    execute(tmp_path / "out", nodes(log))
    assert jobs["c"].done is not None


def test_kill_9_of_the_parent_ends_the_children_and_the_same_command_continues(tmp_path, begin):
    log = tmp_path / "log"
    parent = begin(tmp_path / "out", log)
    wait_for(lambda: len(lines(log)) >= 2)
    parent.kill()
    parent.wait()
    jobs, _ = execute(tmp_path / "out", nodes(log, 4, 0.2))
    # every step of a (1) and b (2) once, whatever was in flight when the parent died at most once more
    assert set(lines(log)) == {*(f"{value}:{step}" for value in (1, 2) for step in range(4)), "3:0"}
    assert len(lines(log)) <= 9 + 2
    assert jobs["c"].done.metrics["total"] == 6


def test_kill_9_of_a_child_is_said_in_one_line_and_the_same_command_continues(tmp_path, begin):
    log = tmp_path / "log"
    parent = begin(tmp_path / "out", log)
    wait_for(lambda: len(lines(log)) >= 2)
    psutil.Process(parent.pid).children()[0].kill()
    _, errors = parent.communicate()
    assert b"was ended by SIGKILL" in errors
    jobs, _ = execute(tmp_path / "out", nodes(log, 4, 0.2))
    assert jobs["c"].done.metrics["total"] == 6


def test_ctrl_c_ends_the_children_and_leaves_no_process(tmp_path, begin):
    log = tmp_path / "log"
    parent = begin(tmp_path / "out", log, steps=100)
    wait_for(lambda: len(lines(log)) >= 2)
    children = psutil.Process(parent.pid).children()
    parent.send_signal(signal.SIGINT)
    _, errors = parent.communicate(timeout=180)
    assert b"KeyboardInterrupt" in errors  # the command line turns it into exit status 130
    assert children and not any(child.is_running() and child.status() != "zombie" for child in children)


def test_each_stage_has_the_time_that_it_says_it_needs_to_save(tmp_path):
    """Both are told when `bad` fails: one needs half a second of its two, the other more than them."""
    graph = [
        Node(f"saves{s}", "work", "support.slow_stage", {"log": str(tmp_path / f"{s}"), "step_s": s}) for s in (0.5, 9)
    ]
    slow, late = (job.folder for job in plan(graph, tmp_path / "out").values())
    bad = Node("bad", "work", "support.fake_stages", {"log": str(tmp_path / "bad"), "step_s": 4.0, "fail": "user"})
    began = time.monotonic()
    with pytest.raises(UserError, match="the input is bad"):
        execute(tmp_path / "out", [*graph, bad], at_once=3)
    assert (slow / "saved").exists() and not (late / "saved").exists()
    assert time.monotonic() - began < 30
    from mmevol_experiment.stages import STAGES, load
    from mmevol_train.config import SAVING_S

    assert {name for name in STAGES if load(name).grace_s > SAVING_S} == {"pretrain", "finetune"}


@pytest.mark.parametrize(("needs_s", "saves"), [(0.5, True), (300, False)])
def test_a_stage_whose_runner_is_killed_has_the_time_that_it_says_it_needs_to_save(tmp_path, needs_s, saves):
    graph = [Node("slow", "work", "support.slow_stage", {"log": str(tmp_path / "slow"), "step_s": needs_s})]
    folder = plan(graph, tmp_path / "out")["slow"].folder
    source = "import json, sys; from pathlib import Path; from support.run_fakes import execute; "
    source += "from mmevol_experiment.graph import Node; execute(Path(sys.argv[1]), [Node(*json.loads(sys.argv[2]))])"
    node = [graph[0].key, graph[0].stage, graph[0].module, dict(graph[0].config)]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    runner = subprocess.Popen([sys.executable, "-c", source, str(tmp_path / "out"), json.dumps(node)], env=environment)
    wait_for(lambda: (tmp_path / "slow.txt").exists())
    (worker,) = psutil.Process(runner.pid).children()
    began = time.monotonic()
    runner.kill()
    runner.wait()
    worker.wait(timeout=60)
    assert (folder / "saved").exists() == saves
    assert saves or 2.0 <= time.monotonic() - began < 8  # its grace_s


def test_two_processes_at_once_compute_everything_once(tmp_path, begin):
    log = tmp_path / "log"
    both = [begin(tmp_path / "out", log), begin(tmp_path / "out", log)]
    for process in both:
        _, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors
    assert lines(log) == sorted([*(f"{value}:{step}" for value in (1, 2) for step in range(4)), "3:0"])


def test_other_weights_of_a_stand_in_are_another_fingerprint():
    parts = external_files({"vision_tower": "standin:clip_tower", "language_model": "standin:qwen2"})
    assert set(parts) == {"standin:clip_tower", "standin:qwen2"}
    assert len(set(parts.values())) == 2


def test_an_edited_file_is_another_input_also_without_a_folder_and_behind_replay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.jsonl").write_text("{}\n")
    named = {"evaluate": {"contaminated": "list.jsonl", "judge": "replay:list.jsonl"}, "name": "list"}
    before = external_files(named)
    assert set(before) == {"list.jsonl", "replay:list.jsonl"}
    (tmp_path / "list.jsonl").write_text("{}\n{}\n")
    assert external_files(named) != before


def test_an_edited_file_in_a_folder_is_another_input(tmp_path, monkeypatch):
    """Benchmarks are folders of TSVs and folders, models folders of weights; pictures lie beside the former."""
    monkeypatch.chdir(tmp_path)
    vqa = tmp_path / "benchmarks" / "VQAv2"
    (vqa / "images").mkdir(parents=True)
    (tmp_path / "benchmarks" / "POPE.tsv").write_text("index\n")
    (vqa / "questions.json").write_text("{}")
    (tmp_path / "benchmarks" / "POPE.jpg").write_bytes(b"x")
    (vqa / "images" / "1.jpg").write_bytes(b"x")
    whole = {"benchmarks": {"source": "official", "path": "benchmarks"}}
    single = {"settings": {"VQAv2": BenchmarkSettings(path=vqa).model_dump(mode="json")}}
    seen = [external_files(whole), external_files(single)]
    assert [row[0] for row in seen[0]["benchmarks"]] == [
        *("POPE.jpg", "POPE.tsv", "VQAv2/images/1.jpg", "VQAv2/questions.json")
    ]
    (vqa / "images" / "1.jpg").write_bytes(b"xx")
    assert external_files(whole) != seen[0] and external_files(single) != seen[1]
    seen = [external_files(whole), external_files(single)]
    (vqa / "questions.json").write_text("{ }")
    assert external_files(whole) != seen[0] and external_files(single) != seen[1]
    seen = [external_files(whole), external_files(single)]
    (vqa / "data" / "test").mkdir(parents=True)
    (vqa / "data" / "test" / "mini.json").write_text("[]")
    assert external_files(whole) != seen[0] and external_files(single) != seen[1]
    seen = [external_files(whole), external_files(single)]
    (tmp_path / "benchmarks" / "POPE.tsv").write_text("index\n1\n")
    assert external_files(whole)["benchmarks"][1] != seen[0]["benchmarks"][1]
    assert external_files({"name": "benchmarks"}) == {}


def test_an_edited_parquet_file_at_any_depth_is_another_seed(tmp_path):
    deep = tmp_path / "seeds" / "coco" / "train" / "0"
    deep.mkdir(parents=True)
    seed = {"source": "parquet", "path": str(tmp_path / "seeds"), "image_root": None}
    before = external_files(seed)
    (deep / "part.parquet").write_bytes(b"x")
    added = external_files(seed)
    (deep / "part.parquet").write_bytes(b"xx")
    assert len({str(state) for state in (before, added, external_files(seed))}) == 3
    assert external_files({**seed, "source": "samples"}) == before


def test_whatever_the_contamination_gate_reads_is_another_input_when_it_changes(tmp_path, monkeypatch):
    """Added pictures, a TSV two folders deep, a folder behind a link: an old verdict must not stand."""
    monkeypatch.chdir(tmp_path)
    deep, elsewhere = tmp_path / "bm" / "kit" / "data" / "images", tmp_path / "elsewhere"
    deep.mkdir(parents=True)
    elsewhere.mkdir()
    (tmp_path / "bm" / "linked").symlink_to(elsewhere)
    named = {"contamination": {"benchmarks": "bm", "action": "drop"}}
    seen = [external_files(named)]
    for path, text in (
        (tmp_path / "bm" / "new.png", "x"), (deep / "MME.tsv", "index\n"), (deep / "MME.tsv", "index\n1\n"),
        (elsewhere / "POPE.jpg", "x"), (tmp_path / "bm" / "archive.zip", "x"),
    ):  # fmt: skip
        path.write_text(text)
        seen.append(external_files(named))
        assert seen[-1] != seen[-2], path
    assert external_files(named) == seen[-1]


def test_a_folder_of_the_users_own_stays_where_it_is(tmp_path):
    pictures, stage = tmp_path / "pictures", tmp_path / "stage"
    pictures.mkdir()
    stage.mkdir()
    (stage / "seed.jsonl").write_text("{}\n")
    result = StageResult({"seed": stage / "seed.jsonl", "images": pictures}, {})
    identity = {"stage": "seed", "fingerprint": "f", "version": "1", "config": {}, "inputs": {}}
    manifest.write(stage, result, seconds=1.0, identity=identity)
    found = manifest.read(stage, "f")
    assert found.files == {"seed": "seed.jsonl", "images": str(pictures)}
    pictures.rmdir()
    assert manifest.read(stage, "f") is None
