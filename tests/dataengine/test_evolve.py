"""The stage `evolve` with real servers and real processes: accounting, resumption, order, bad teachers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import types
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from support.mock_teacher import MockTeacher

from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_core.notes import SHARED, WORDS
from mmevol_core.progress import read as read_progress
from mmevol_core.sample import QA, Box, Sample, read_samples, write_samples
from mmevol_dataengine import recipes
from mmevol_dataengine.evolve import STAGE, EvolveConfig
from mmevol_dataengine.ledger import Outcome, Turn
from mmevol_dataengine.recipes.recipe import Load, Recipe, RecipeConfig
from mmevol_dataengine.teacher import TeacherConfig

COLOURS = ("red", "green", "blue", "gray", "teal", "brown")


@pytest.fixture
def inputs(tmp_path):
    """Thirty records with one shape each, and their pictures."""
    samples = []
    (tmp_path / "images").mkdir()
    for number in range(30):
        colour = COLOURS[number % len(COLOURS)]
        name = f"{number}.png"
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / "images" / name)
        questions = (("what is the color of the shape?", colour), ("is there a circle?", "yes"))
        items = tuple(
            QA(id=f"{number}-{place}", question=q, answer=a, skills=("existence",))
            for place, (q, a) in enumerate(questions)
        )
        left = number / 100
        box = Box(label=f"{colour} circle", xyxy=(left, 0.25, left + 0.25, 0.5))
        caption = f"A {colour} circle."
        samples.append(Sample(id=f"s{number}", images=(name,), caption=caption, boxes=(box,), rounds=(items,)))
    write_samples(tmp_path / "seed.jsonl", samples)
    return {"seed": tmp_path / "seed.jsonl", "images": tmp_path / "images"}


def scripted(**changes):
    return TeacherConfig(**{"kind": "scripted", "sees_image": False, "mistakes": 0.3, "concurrency": 8, **changes})


def results(folder: Path):
    return {name: (folder / name).read_bytes() for name in ("evolved.jsonl", "eliminated.jsonl", "analysis.json")}


def test_every_record_and_item_is_accounted_for_and_mistakes_are_found(tmp_path, inputs):
    result = STAGE.run(EvolveConfig(teacher=scripted()), inputs, tmp_path / "out")
    total = result.metrics
    assert total["records"] == 90  # 30 records x 3 rounds
    assert total["records"] == total["answered"] + sum(total["failed_records"].values())
    lost = sum(total["eliminated"].values()) + sum(total["failed"].values())
    assert total["given"] == total["kept"] + lost
    assert total["generated"] == total["given"] - total["unwritten"] + sum(total["surplus"].values())
    samples = list(read_samples(result.files["evolved"]))
    assert [sample.id for sample in samples] == [f"s{number}" for number in range(30)]
    assert sum(len(generation) for sample in samples for generation in sample.rounds[1:]) == total["kept"]
    rows = [json.loads(line) for line in result.files["eliminated"].read_text().splitlines()]
    for status in ("eliminated", "failed", "surplus"):
        assert Counter(row["reason"] for row in rows if row["status"] == status) == Counter(total[status])
    assert {"not_improved", "object_unknown", "boxes_given", "copy_of_parent"} <= set(total["eliminated"])
    by_id = {item.id: item for sample in samples for generation in sample.rounds for item in generation}
    evolved = [item for item in by_id.values() if item.parent]
    assert evolved
    assert all(item.parent in by_id and item.score is not None for item in evolved)


def test_the_result_does_not_depend_on_concurrency_or_on_a_preview_before(tmp_path, inputs):
    STAGE.run(EvolveConfig(teacher=scripted(concurrency=1)), inputs, tmp_path / "one")
    STAGE.run(EvolveConfig(teacher=scripted(concurrency=16)), inputs, tmp_path / "many")
    preview = STAGE.run(EvolveConfig(teacher=scripted(), limit=4), inputs, tmp_path / "few")
    assert results(tmp_path / "one") == results(tmp_path / "many")
    whole = (tmp_path / "one" / "evolved.jsonl").read_text().splitlines()
    assert preview.files["evolved"].read_text().splitlines() == whole[:4]


CHILD = """
import sys
from pathlib import Path
from mmevol_dataengine.evolve import STAGE, EvolveConfig
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
config = EvolveConfig.model_validate_json(sys.argv[3])
STAGE.run(config, {"seed": folder / "seed.jsonl", "images": folder / "images"}, out)
"""


@pytest.fixture
def slow_teacher(tmp_path):
    """The scripted teacher with 50 ms of latency: its configuration, and the log of what it was asked."""
    port, log = tmp_path / "port", tmp_path / "asked.jsonl"
    arguments = ["--port-file", str(port), "--log", str(log), "--latency-s", "0.05", "--mistakes", "0.3"]
    command = [sys.executable, "-m", "mmevol_dataengine.scripted_teacher", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        waited(lambda: port.exists())
        url = f"http://127.0.0.1:{port.read_text()}/v1"
        yield TeacherConfig(base_url=url, model="scripted", concurrency=4, sees_image=False), log
        process.terminate()


def waited(happened):
    deadline = time.monotonic() + 60
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert happened()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_and_asks_no_answered_prompt_again(tmp_path, inputs, slow_teacher, number):
    teacher, log = slow_teacher
    config, out = EvolveConfig(teacher=teacher), tmp_path / "out"
    server = {"base_url": teacher.base_url, "model": teacher.model, "concurrency": 4, "sees_image": False}
    arguments = [sys.executable, "-c", CHILD, str(tmp_path), str(out), json.dumps({"teacher": server})]
    child = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    waited(lambda: log.exists() and log.read_text().count("\n") >= 40)
    os.kill(child.pid, number)
    assert child.wait(timeout=30) != 0
    assert not (out / "evolved.jsonl").exists()
    STAGE.run(config, inputs, out)
    STAGE.run(EvolveConfig(teacher=scripted()), inputs, tmp_path / "undisturbed")
    whole = tmp_path / "undisturbed" / "teacher" / "teacher.jsonl"
    repeated, retried = (text.read_text().count('"duplicate":true') for text in (log, whole))
    assert repeated - retried <= 4  # those in flight when it died; bad answers are asked for twice in any run
    assert results(out) == results(tmp_path / "undisturbed")


def test_a_finished_run_called_again_asks_nothing(tmp_path, inputs):
    STAGE.run(EvolveConfig(teacher=scripted()), inputs, tmp_path / "out")
    before = results(tmp_path / "out")
    log = tmp_path / "out" / "teacher" / "teacher.jsonl"
    asked = log.read_text().count("\n")
    STAGE.run(EvolveConfig(teacher=scripted()), inputs, tmp_path / "out")
    assert results(tmp_path / "out") == before
    assert log.read_text().count("\n") == asked


def test_a_finished_run_called_again_does_not_even_read_its_outcomes(tmp_path, inputs):
    config, out = EvolveConfig(teacher=scripted(), limit=6), tmp_path / "out"
    first = STAGE.run(config, inputs, out)
    written = first.files["evolved"].stat().st_mtime_ns
    second = STAGE.run(config, inputs, out)
    assert second.files == first.files
    assert second.metrics == first.metrics
    assert first.files["evolved"].stat().st_mtime_ns == written
    first.files["ledger"].unlink()
    assert STAGE.run(config, inputs, out).files["ledger"].exists()


def test_another_recipe_is_one_module_and_one_line(tmp_path, inputs, monkeypatch):
    """A recipe that keeps what it is given, as small as one can be."""

    class Echo(RecipeConfig):
        name: Literal["echo"] = "echo"
        prompts: str = "none"

    async def evolve(recipe, sample, teacher, judge):
        turn = Turn(round=1, direction="echo", given=len(sample.latest), kept=sample.latest)
        return Outcome(sample=sample.evolved(sample.latest), turns=(turn,))

    module = types.ModuleType("mmevol_dataengine.recipes.echo")
    module.RECIPE = Recipe(config=Echo, evolve=evolve, load=lambda *_: (Load(), Load()))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(recipes.MODULES, "echo", "echo")
    config = fit(EvolveConfig, {"recipe": {"name": "echo"}, "teacher": scripted().model_dump()}, "evolve")
    result = STAGE.run(config, inputs, tmp_path / "out")
    assert result.metrics["kept"] == 60
    assert json.loads(result.files["ledger"].read_text())["prompt_version"] == "none"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"name": "mmevil"}, "unknown recipe 'mmevil'; did you mean 'mmevol'?"),
        ({"rouns": 2}, "recipe.rouns"),
        ({"rules": {"box_tolerance": "wide"}}, "recipe.rules.box_tolerance"),
    ],
)
def test_a_wrong_recipe_is_named_with_its_key(recipe, message):
    with pytest.raises(UserError, match=re.escape(message)):
        fit(EvolveConfig, {"recipe": recipe, "teacher": {"kind": "scripted"}}, "evolve")


def test_a_judge_of_its_own_is_asked_for_the_scores(tmp_path, inputs):
    with MockTeacher(seed=1) as judge:
        judge_config = TeacherConfig(base_url=judge.base_url, model="judge", sees_image=True)
        result = STAGE.run(EvolveConfig(teacher=scripted(), judge=judge_config, limit=5), inputs, tmp_path / "out")
        assert judge.stats()["by_kind"].keys() == {"score"}
    log = (tmp_path / "out" / "teacher" / "teacher.jsonl").read_text()
    assert '"task":"score"' not in log
    # the mock names no ids, so that only single pairs can be matched: all others are counted as unscored
    assert result.metrics["failed"]


def test_a_teacher_whose_answers_are_all_bad_completes_with_everything_accounted_for(tmp_path, inputs):
    with MockTeacher(share_malformed=1.0, malformed_kinds="empty,refusal", malformed_sticky=True) as server:
        config = EvolveConfig(teacher=TeacherConfig(base_url=server.base_url, model="m"), max_failed=1.0)
        result = STAGE.run(config, inputs, tmp_path / "out")
    assert result.metrics["kept"] == 0
    assert sum(result.metrics["failed_records"].values()) + result.metrics["answered"] == 90
    seeds = [sample.rounds[0] for sample in read_samples(inputs["seed"])]
    assert [sample.latest for sample in read_samples(result.files["evolved"])] == seeds


def test_a_teacher_with_batches_is_asked_in_batches(tmp_path, inputs):
    batch = {"gather_s": 0.1, "poll_s": 0.1}
    with MockTeacher(seed=1, batch_delay=0.05) as server:
        teacher = TeacherConfig(base_url=server.base_url, model="m", batch=batch)
        config = EvolveConfig(teacher=teacher, limit=3, recipe={"rounds": 1})
        result = STAGE.run(config, inputs, tmp_path / "out")
        batches = urllib.request.urlopen(f"{server.base_url}/batches").read()
    assert len(json.loads(batches)["data"]) >= 1
    assert (result.metrics["records"], result.metrics["answered"]) == (3, 3)


def test_a_raised_budget_goes_on_in_the_same_folder_and_pays_for_nothing_twice(tmp_path, inputs):
    with MockTeacher(seed=1) as server:

        def config(**changes):
            prices = {"usd_per_m_prompt": 1.0, "usd_per_m_completion": 1.0}
            return EvolveConfig(
                teacher=TeacherConfig(base_url=server.base_url, model="m", **prices, **changes), limit=9
            )

        poor, rich = config(max_usd=0.02, concurrency=2), config(max_usd=100.0, deadline_s=60.0)
        assert poor.model_dump() == rich.model_dump()  # so the plan gives both the same folder
        with pytest.raises(UserError, match="budget reached"):
            STAGE.run(poor, inputs, tmp_path / "out")
        answered = server.stats()["requests"]
        assert answered > 0
        STAGE.run(rich, inputs, tmp_path / "out")
        assert server.stats()["requests"] > answered
        assert server.stats()["duplicate_answers"] == 0


def test_a_preview_is_paid_once_and_the_run_after_it_says_what_it_took_over(tmp_path, inputs):
    stages, sent = tmp_path / "stages", []
    with MockTeacher(seed=1) as server:
        teacher = TeacherConfig(base_url=server.base_url, model="m")
        for limit in (3, 9):
            result = STAGE.run(EvolveConfig(teacher=teacher, limit=limit), inputs, stages / str(limit))
            sent.append(server.stats()["requests"])
        assert server.stats()["duplicate_answers"] == 0
    books = json.loads(result.files["ledger"].read_text())
    assert books["notes"] == {WORDS[SHARED]: sent[0]}
    assert books["usage"]["attempts"] == sent[1] - sent[0]
    assert read_progress(stages / "9").info["cached"] >= sent[0]  # what a person sees while it runs


def test_a_missing_picture_fails_its_own_record_only(tmp_path, inputs):
    (inputs["images"] / "3.png").unlink()
    with MockTeacher(seed=1) as server:
        config = EvolveConfig(teacher=TeacherConfig(base_url=server.base_url, model="m"), limit=6, max_failed=0.5)
        result = STAGE.run(config, inputs, tmp_path / "out")
    assert result.metrics["failed_records"]["missing"] == 3
    assert result.metrics["records"] == 18


def test_a_dead_endpoint_stops_the_run_and_the_state_is_kept(tmp_path, inputs):
    with MockTeacher(seed=1) as server:
        config = EvolveConfig(
            teacher=TeacherConfig(base_url=server.base_url, model="m", patience_s=0.5, concurrency=4), limit=4
        )
    with pytest.raises(UserError):
        STAGE.run(config, inputs, tmp_path / "out")
    assert not (tmp_path / "out" / "evolved.jsonl").exists()


def test_too_many_failures_can_stop_the_stage_and_a_second_run_asks_for_these_only(tmp_path, inputs):
    hidden = inputs["images"] / "3.png"
    kept = hidden.read_bytes()
    hidden.unlink()
    with MockTeacher(seed=1) as server:
        teacher = TeacherConfig(base_url=server.base_url, model="m")
        config = EvolveConfig(teacher=teacher, limit=6, max_failed=0.1)
        with pytest.raises(UserError, match="3 of 18 rounds"):
            STAGE.run(config, inputs, tmp_path / "out")
        hidden.write_bytes(kept)
        STAGE.run(config, inputs, tmp_path / "out")
        assert server.stats()["duplicate_requests"] == 0
