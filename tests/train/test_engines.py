"""Two real processes on this machine, started by torchrun."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.tiny_models import backbone, world

from mmevol_core.files import read_jsonl
from mmevol_train import finetune, pretrain
from mmevol_train.config import EngineConfig, FinetuneConfig, PretrainConfig

TESTS = Path(__file__).parents[1]
CONF = TESTS.parent / "conf" / "engine"
COMMON = {"dtype": "float32", "tracking": {"wandb": "off"}, "save_every_s": None, "verify": False}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """(backbone, inputs): a pretrained checkpoint and rows with pictures only."""
    root = tmp_path_factory.mktemp("qwen2")
    parts = backbone(root, "qwen2")
    data, images = world(root)
    (root / "out").mkdir()
    config = PretrainConfig(backbone=parts, batch_size=4, **COMMON)
    found = pretrain.run(config, {"captions": data, "images": images}, root / "out")
    return parts, {"checkpoint": found.files["checkpoint"], "conversations": data, "images": images}


def engine(name):
    return EngineConfig.model_validate(yaml.safe_load((CONF / f"{name}.yaml").read_text()))


def launch(config, inputs, out):
    out.mkdir()
    job = out / "job.json"
    paths = {role: str(path) for role, path in inputs.items()}
    job.write_text(json.dumps({"config": config.model_dump(mode="json"), "inputs": paths, "out": str(out)}))
    environment = {
        **os.environ,
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(TESTS),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, "-m", "support.train_worker", str(job)], env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [(row["loss"], row["grad_norm"]) for row in read_jsonl(out / "metrics.jsonl")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddp", "deepspeed_zero2", "deepspeed_zero3"])
def test_two_processes_train_like_one_with_twice_the_micro_batches(given, tmp_path, name):
    parts, inputs = given
    alone = FinetuneConfig(backbone=parts, batch_size=2, accumulate=2, lr_language_model=1e-3, **COMMON)
    (tmp_path / "alone").mkdir()
    finetune.run(alone, inputs, tmp_path / "alone")
    expected = [(row["loss"], row["grad_norm"]) for row in read_jsonl(tmp_path / "alone" / "metrics.jsonl")]
    config = alone.model_copy(update={"engine": engine(name), "accumulate": 1})
    found = launch(config, inputs, tmp_path / name)
    assert len(found) == len(expected) == 6
    for mine, one in zip(found, expected, strict=True):
        assert mine == pytest.approx(one, rel=2e-4)


def test_an_engine_for_several_processes_says_so_when_there_is_one(given, tmp_path):
    from mmevol_core.errors import UserError

    config = FinetuneConfig(backbone=given[0], batch_size=2, engine=engine("ddp"), **COMMON)
    with pytest.raises(UserError, match="start it by torchrun"):
        finetune.run(config, given[1], tmp_path)
