"""Before the whole is paid for: what it will take, and what a few records became."""

import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmevol_core.errors import UserError
from mmevol_core.sample import QA, Box, Sample, write_samples
from mmevol_dataengine.evolve import STAGE, EvolveConfig
from mmevol_dataengine.forecast import forecast, forecast_file, forecast_seeds
from mmevol_dataengine.preview import preview
from mmevol_dataengine.recipes.mmevol import REWRITE_TOKENS, SCORE_TOKENS
from mmevol_dataengine.seed import SeedConfig
from mmevol_dataengine.teacher import TeacherConfig

SCRIPTED = TeacherConfig(kind="scripted", sees_image=False, mistakes=0.3, concurrency=8)


def record(number, items=2):
    seeds = tuple(
        QA(id=f"{number}-{place}", question=question, answer=answer, skills=("existence",))
        for place, (question, answer) in enumerate(
            [("what is the color of the shape?", "red"), ("is there a circle?", "yes")][:items]
        )
    )
    box = Box(label="red circle", xyxy=(number / 2000, 0.25, 0.5, 0.5))  # no two prompts are alike
    return Sample(id=f"s{number}", images=("a.png",), caption="A red circle.", boxes=(box,), rounds=(seeds,))


@pytest.fixture
def inputs(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    write_samples(tmp_path / "seed.jsonl", (record(number) for number in range(30)))
    return {"seed": tmp_path / "seed.jsonl", "images": tmp_path}


def test_the_estimate_of_a_run_is_close_to_what_it_takes(tmp_path, inputs):
    config = EvolveConfig(teacher=SCRIPTED)
    said = forecast_file(config, inputs["seed"]).teacher
    usage = STAGE.run(config, inputs, tmp_path / "out").metrics["usage"]
    assert said.requests == 180  # 30 records, 3 rounds, rewriting and scoring
    assert 0.8 < said.requests / usage["attempts"] < 1.3
    assert 0.8 < said.prompt_tokens / usage["prompt_tokens"] < 1.5
    assert 0.8 < said.completion_tokens / usage["completion_tokens"] < 2.5  # at most, and real models say more


def test_the_estimate_counts_pictures_judges_blind_tests_and_prices():
    paid = {"base_url": "http://localhost/v1", "model": "m", "usd_per_m_prompt": 1.0, "usd_per_m_completion": 4.0}
    teacher, judge = TeacherConfig(**paid), TeacherConfig(**paid, max_usd=0.5)
    blind = EvolveConfig(teacher=teacher.model_copy(update={"sees_image": False}))
    plain = forecast(blind, [record(0)], 1000)
    seeing = forecast(EvolveConfig(teacher=teacher), [record(0)], 1000)
    pictures = (seeing.teacher.prompt_tokens - plain.teacher.prompt_tokens) / 6000  # tokens a request
    assert 600 < pictures < 900  # 765 for the picture, and some words
    apart = forecast(EvolveConfig(teacher=teacher, judge=judge), [record(0)], 1000)
    assert apart.judge is not None
    assert apart.teacher.requests == apart.judge.requests == 3000
    assert apart.usd == pytest.approx(seeing.usd)
    tested = forecast(EvolveConfig(teacher=teacher, recipe={"blind_test": True}), [record(0)], 1000)
    assert tested.teacher.requests == 6000 + 1000 * 3 * 2  # each item of each round once more
    _, teachers, judges = apart.lines()  # the judge's limit does not stop the teacher
    assert teachers.startswith("evolve: the teacher at most") and "nothing stops it (set teacher.max_usd)" in teachers
    assert (
        judges.startswith("evolve: the judge at most") and "evolve.judge.max_usd stops it at 0.5 USD, after" in judges
    )
    assert "nothing stops it (set teacher.max_usd)" in "\n".join(seeing.lines())
    unpriced = TeacherConfig(base_url="http://localhost/v1", model="own")
    *_, free = forecast(EvolveConfig(teacher=judge, judge=unpriced), [record(0)], 1000).lines()
    assert "no price is set (evolve.judge.usd_per_m_prompt)" in free


def test_the_estimate_of_a_long_file_is_taken_from_records_all_over_it(tmp_path):
    write_samples(tmp_path / "seed.jsonl", (record(number, items=1 + number // 500) for number in range(1000)))
    config = EvolveConfig(teacher=SCRIPTED)
    halves = [forecast(config, [record(0, items)], 500).teacher.prompt_tokens for items in (1, 2)]
    whole = forecast_file(config, tmp_path / "seed.jsonl")
    assert whole.records == 1000
    assert whole.teacher.completion_tokens == pytest.approx(500 * 6 * (1 + 2) * (REWRITE_TOKENS + SCORE_TOKENS) / 2)
    assert whole.teacher.prompt_tokens == pytest.approx(sum(halves), rel=0.1)  # directions differ in length
    assert forecast_file(config.model_copy(update={"limit": 7}), tmp_path / "seed.jsonl").records == 7
    with pytest.raises(UserError, match="stage seed"):
        forecast_file(config, Path("nowhere.jsonl"))


def test_the_estimate_of_a_seed_file_needs_no_stage_and_writes_nothing(tmp_path):
    samples = [record(number, items=1 + number // 500) for number in range(1000)]
    write_samples(tmp_path / "seed.jsonl", samples)
    config = EvolveConfig(teacher=SCRIPTED)
    seed = SeedConfig(source="samples", path=tmp_path / "seed.jsonl", image_root=tmp_path)
    said, known = forecast_seeds(config, seed), forecast_file(config, tmp_path / "seed.jsonl")
    assert (said.records, said.teacher.requests) == (known.records, known.teacher.requests) == (1000, 6000)
    assert said.teacher.prompt_tokens == pytest.approx(known.teacher.prompt_tokens, rel=0.02)
    assert forecast_seeds(config.model_copy(update={"limit": 7}), seed).records == 7
    assert forecast_seeds(config, seed.model_copy(update={"limit": 9})).records == 9
    Image.new("RGB", (4, 4)).save(buffer := io.BytesIO(), "png")
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "Red"}]
    rows = [{"image": {"bytes": buffer.getvalue(), "path": None}, "conversations": turns}, {"conversations": turns[:1]}]
    (tmp_path / "set").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set" / "rows.parquet")
    assert forecast_seeds(config, SeedConfig(source="parquet", path=tmp_path / "set")).records == 1
    assert {file.name for file in tmp_path.rglob("*")} == {"seed.jsonl", "set", "rows.parquet"}


def test_the_command_estimates_from_the_seed_file_before_any_stage_has_run(tmp_path, inputs):
    files = [
        "data=curated",
        f"data.path={inputs['seed']}",
        f"data.image_root={tmp_path}",
        f"paths.outputs={tmp_path}/o",
    ]
    command = [sys.executable, "-m", "mmevol_experiment", "evolve", "estimate", "experiment=qwen2_evol", *files]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert f"of {inputs['seed']}, their pictures not looked at" in said
    assert "30 records" in said and "180 requests" in said
    files[1] = "data.path=absent.jsonl"
    command = [*command[:-4], *files]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert "known once absent.jsonl is there" in said


def test_a_preview_shows_every_item_with_its_verdict_and_the_money(tmp_path, inputs):
    result = STAGE.run(EvolveConfig(teacher=SCRIPTED, limit=5), inputs, tmp_path / "out")
    lines = list(preview(result.files))
    verdicts = [line.split(maxsplit=1)[1] for line in lines if line.startswith("    verdict")]
    total = result.metrics
    assert sum(verdict.startswith("kept") for verdict in verdicts) == total["kept"]
    assert sum(verdict.startswith("eliminated") for verdict in verdicts) == sum(total["eliminated"].values()) > 0
    assert sum(line.startswith("record ") for line in lines) == 5
    assert sum(line.startswith("  round ") for line in lines) == 15
    assert lines[-2].startswith(f"items: {total['given']} given")
    assert lines[-1].endswith("0.0000 USD")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_commands_say_what_it_costs_and_what_came_of_it(tmp_path):
    def mmevol(*words):
        chosen = ["experiment=quickstart", "debug=ci", f"paths.outputs={tmp_path}"]
        command = [sys.executable, "-m", "mmevol_experiment", "evolve", *words, *chosen]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "known once stage seed has made the tiny world" in mmevol("estimate")
    text = mmevol("preview", "--records", "2")
    assert text.count("\nrecord ") == 2
    assert "verdict  " in text
    assert "spent: " in text
    assert "requests" in mmevol("estimate")
