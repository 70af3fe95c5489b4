"""What starts the training processes, what it hands back, and what this machine cannot do."""

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from mmevol_core.config import every_key
from mmevol_core.errors import UserError
from mmevol_core.stage import StageResult
from mmevol_train.config import EngineConfig, FinetuneConfig, PretrainConfig, rows_a_step
from mmevol_train.launch import ERROR, ORDER, RESULT, command, spread
from mmevol_train.parts import BackboneConfig
from mmevol_train.ready import check_machine

PARTS = BackboneConfig(name="x", vision_tower="v", language_model="l", chat_template="qwen2", pinpoints=((64, 64),))


def config(**changes):
    return FinetuneConfig.model_validate({"backbone": PARTS, "batch_size": 1, **changes})


def launched(script, out):
    """The result of a stage whose launcher is a line of shell; $5 is not its order but $LAST is."""
    line = f'for LAST; do :; done; cd "$(dirname "$LAST")"; {script}'
    several = config(engine={"name": "ddp", "prefix": ["bash", "-c", line]})
    return spread("finetune", lambda *_: pytest.fail("trained here"), several, {"images": out}, out)


def test_one_process_trains_here(tmp_path):
    found = spread("finetune", lambda *_: StageResult({}, {"here": True}), config(), {}, tmp_path)
    assert found.metrics == {"here": True}
    assert [path.name for path in tmp_path.iterdir()] == [RESULT]


def test_the_order_holds_all_that_a_rank_needs_and_its_result_comes_back(tmp_path):
    answer = json.dumps({"files": {"checkpoint": str(tmp_path / "c")}, "metrics": {"steps": 3}})
    found = launched(f"cp {ORDER} seen.json; echo '{answer}' > {RESULT}", tmp_path)
    assert found == StageResult({"checkpoint": tmp_path / "c"}, {"steps": 3})
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["stage"] == "finetune"
    assert seen["inputs"] == {"images": str(tmp_path)}
    assert seen["config"]["engine"]["prefix"][0] == "bash"  # no part of the fingerprint, and yet the ranks have it
    assert FinetuneConfig.model_validate(seen["config"]).engine.name == "ddp"
    assert not (tmp_path / ORDER).exists()


def test_what_a_rank_refuses_is_refused_in_the_same_words(tmp_path):
    answer = json.dumps({"message": "5 of 24 rows refused", "status": 3})
    with pytest.raises(UserError, match="5 of 24 rows refused") as caught:
        launched(f"echo '{answer}' > {ERROR}; exit 3", tmp_path)
    assert caught.value.status == 3


def test_ranks_that_die_are_a_failure_and_no_result(tmp_path):
    (tmp_path / RESULT).write_text("{}")  # of an earlier call
    with pytest.raises(RuntimeError, match="engine ddp ended with status 7"):
        launched("exit 7", tmp_path)


def test_told_to_stop_it_says_that_it_can_go_on(tmp_path):
    with pytest.raises(UserError, match="the same command goes on from the last checkpoint") as caught:
        launched("kill -TERM $PPID; sleep 30 & wait", tmp_path)
    assert caught.value.status == 130


def test_told_to_stop_in_the_last_step_ranks_that_finished_have_finished(tmp_path):
    (tmp_path / "training").mkdir()
    answer = json.dumps({"files": {"checkpoint": str(tmp_path / "c")}, "metrics": {"steps": 3}})
    ends = f"trap : TERM; kill -TERM $PPID; sleep 0.2; test -d training; echo '{answer}' > {RESULT}; exit 143"
    assert launched(ends, tmp_path).metrics == {"steps": 3}
    assert not (tmp_path / "training").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"processes": 2},
            "-m torch.distributed.run --standalone --nproc-per-node 2 --shutdown-timeout 600 "
            "-m mmevol_train.rank o.json",
        ),
        (
            {"processes": 8, "nodes": 4, "prefix": ["srun", "--ntasks-per-node=1"]},
            "-m torch.distributed.run --nnodes 4 --nproc-per-node 8 --shutdown-timeout 600 -m mmevol_train.rank o.json",
        ),
        (
            {"processes": 8, "nodes": 4, "launcher": "deepspeed"},
            "-m deepspeed.launcher.runner --num_nodes 4 --num_gpus 8 --module mmevol_train.rank o.json",
        ),
    ],
)
def test_the_command_that_starts_the_ranks(changes, words):
    engine = EngineConfig.model_validate({"name": "ddp", **changes})
    assert command(engine, Path("o.json")) == [*changes.get("prefix", []), sys.executable, *words.split()]
    limited = [*changes.get("prefix", []), "env", "OMP_NUM_THREADS=3", sys.executable, *words.split()]
    assert command(engine, Path("o.json"), 3) == limited


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU refuses")
@pytest.mark.parametrize(
    ("changes", "instead"),
    [
        ({"compile": True}, "compile=false"),
        ({"liger": True}, "liger=false"),
        ({"lora": {"four_bit": True}}, "lora.four_bit=false"),
        ({"backbone": PARTS.model_copy(update={"attention": "flash_attention_2"})}, "backbone.attention=sdpa"),
    ],
)
def test_what_needs_a_gpu_is_refused_without_one_before_anything_is_read(changes, instead):
    with pytest.raises(UserError, match=f"needs a CUDA GPU and here is none; set {instead}"):
        spread("finetune", lambda *_: pytest.fail("trained"), config(**changes), {}, Path("unused"))
    check_machine(config())


def test_what_changes_no_weight_is_no_part_of_the_fingerprint_and_reaches_the_ranks():
    changes = {
        "keep_checkpoints": 3, "save_every_steps": 7, "save_every_s": 9.0, "workers": 2, "image_cache_mb": 5,
        "tracking": {"wandb": "off"}, "engine": {"name": "ddp", "launcher": "deepspeed", "prefix": ["srun"]},
    }  # fmt: skip
    changed = config(**changes)
    assert changed.model_dump() == config(engine={"name": "ddp"}).model_dump()
    assert config(seed=1).model_dump() != config().model_dump()
    assert FinetuneConfig.model_validate_json(json.dumps(every_key(changed))) == changed


PAPER = yaml.safe_load((Path(__file__).parents[2] / "conf" / "train" / "finetune.yaml").read_text())


@pytest.mark.parametrize(
    ("engine", "changes", "ways"),
    [
        # 16 x 4 x 4 = 256: half the accumulation, or half the processes
        ({"processes": 16}, {}, "finetune.accumulate=2, or engine.processes=8, or finetune.global_batch=256"),
        (
            {"processes": 8, "nodes": 4},
            {},
            "finetune.accumulate=1, or engine.processes=2, or finetune.global_batch=512",
        ),
        ({"processes": 2}, {}, "finetune.accumulate=16, or engine.processes=8, or finetune.global_batch=32"),
        # 128 rows are no multiple of 3 x 4 rows
        ({"processes": 3}, {}, "set engine.processes=8, or finetune.global_batch=48"),
        ({"name": "single", "prefix": []}, {}, "finetune.accumulate=32, or finetune.global_batch=16"),
    ],
)
def test_another_number_of_processes_does_not_change_the_global_batch_unsaid(engine, changes, ways):
    several = {"name": "ddp", "prefix": ["false"], **engine}
    values = {**PAPER, **changes, "backbone": PARTS, "engine": several}
    with pytest.raises(UserError, match=f"rows a step, not global_batch=128; .*{ways}"):
        spread("finetune", lambda *_: pytest.fail("trained"), FinetuneConfig.model_validate(values), {}, Path("unused"))


def test_the_papers_processes_make_the_papers_batch_however_it_is_split():
    for processes, accumulate in ((8, 4), (16, 2), (32, 1), (1, 32)):
        values = {**PAPER, "backbone": PARTS, "accumulate": accumulate}
        assert rows_a_step("finetune", FinetuneConfig.model_validate(values), processes) == 128


@pytest.mark.parametrize("file", ["finetune", "finetune_lora", "finetune_qlora", "finetune_frozen_tower", "pretrain"])
def test_the_recipes_of_the_paper_assert_its_batch_on_eight_gpus(file):
    values = yaml.safe_load((Path(__file__).parents[2] / "conf" / "train" / f"{file}.yaml").read_text())
    schema, rows = (PretrainConfig, 256) if file == "pretrain" else (FinetuneConfig, 128)
    assert rows_a_step(file, schema.model_validate({**values, "backbone": PARTS}), 8) == values["global_batch"] == rows
