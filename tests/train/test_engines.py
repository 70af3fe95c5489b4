"""Two real processes on this machine, started by the stage itself, on rows with and without pictures."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml
from support.tiny_models import backbone, world

from mmevol_core.files import read_jsonl
from mmevol_train import finetune
from mmevol_train.backbone import build
from mmevol_train.checkpoint import load, probe, save
from mmevol_train.config import EngineConfig, FinetuneConfig

CONF = Path(__file__).parents[2] / "conf" / "engine"
SEVERAL = ["ddp", "deepspeed_zero2", "deepspeed_zero3", "fsdp2"]
SHARDED = ["deepspeed_zero3", "fsdp2"]  # ZeRO-2 shards gradients and the optimizer's state, not weights
STEPS = 5
CHANGES = {
    "full": {},
    "lora": {"lora": {"rank": 4, "alpha": 8, "dropout": 0.1}},
    "packed": {"batching": "packed", "pack_length": 400, "epochs": STEPS},  # an epoch is three packed rows
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """(backbone, inputs): 6 rows with pictures and 14 without, so that whole micro-batches have none."""
    root = tmp_path_factory.mktemp("qwen2")
    parts = backbone(root, "qwen2")
    data, images = world(root, rows=6, text_rows=14)
    save(*build(parts), root / "checkpoint")
    return parts, {"checkpoint": root / "checkpoint", "conversations": data, "images": images}


def engine(name, **changes):
    return EngineConfig.model_validate({**yaml.safe_load((CONF / f"{name}.yaml").read_text()), **changes})


def tune(parts, name, kind="full"):
    alone = name == "single"
    return FinetuneConfig.model_validate({
        "backbone": parts, "batch_size": 2, "accumulate": 2 if alone else 1, "lr_language_model": 1e-3,
        "max_steps": STEPS, "dtype": "float32", "tracking": {"wandb": "off"}, "save_every_s": None,
        "save_every_steps": 2, "engine": engine(name), **CHANGES[kind],
    })  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(given, tmp_path_factory):
    """name, kind -> (folder, result) of a run that nobody disturbs; each is made once."""
    made = {}

    def run(name, kind="full"):
        if (name, kind) not in made:
            out = tmp_path_factory.mktemp(f"{name}-{kind}")
            made[name, kind] = out, finetune.run(tune(given[0], name, kind), given[1], out)
        return made[name, kind]

    return run


def losses(out):
    return [(row["step"], row["loss"], row["grad_norm"]) for row in read_jsonl(out / "metrics.jsonl")]


def started(config, inputs, out, steps):
    """A stage process that has done so many steps; it computes nothing itself, so a fork is safe and starts at once."""
    out.mkdir()
    process = multiprocessing.get_context("fork").Process(target=finetune.run, args=(config, inputs, out))
    process.start()
    file = out / "metrics.jsonl"
    while process.is_alive() and (not file.is_file() or file.read_bytes().count(b"\n") < steps):
        time.sleep(0.002)
    return process


def ranks_of(out):
    """Ids of the processes that work on that folder's order."""
    found = []
    for entry in Path("/proc").iterdir():
        command = entry / "cmdline"
        if entry.name.isdigit() and command.is_file():
            try:
                if f"{out}/ranks.json".encode() in command.read_bytes():
                    found.append(int(entry.name))
            except (ProcessLookupError, FileNotFoundError):
                continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SEVERAL)
def test_two_processes_train_like_one_with_twice_the_micro_batches(undisturbed, name):
    (out, found), (alone, expected) = undisturbed(name), undisturbed("single")
    assert len(losses(out)) == STEPS
    for mine, one in zip(losses(out), losses(alone), strict=True):
        assert mine == pytest.approx(one, rel=1e-5)  # sums in another order
    assert found.metrics["trainable"] == expected.metrics["trainable"]
    assert found.metrics["held_share"] == pytest.approx(0.5, abs=0.1) if name in SHARDED else 1.0
    # what it wrote is a plain folder, which a fresh process found equal to the sharded model in memory
    assert found.metrics["verified"]["max_logit_difference"] <= 1e-4
    mine, one = (probe(*load(result.files["checkpoint"])) for result in (found, expected))
    assert torch.allclose(mine, one, atol=2e-3)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "full") for name in SEVERAL[1:]), ("deepspeed_zero2", "lora"), ("deepspeed_zero3", "packed")],
)
def test_killed_by_force_two_processes_end_with_the_same_losses_and_weights(given, undisturbed, tmp_path, name, kind):
    whole, expected = undisturbed(name, kind)
    config, out = tune(given[0], name, kind), tmp_path / "killed"
    process = started(config, given[1], out, STEPS - 2)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended before it could be killed"
    deadline = time.monotonic() + 60
    while ranks_of(out) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not ranks_of(out), "ranks outlived the stage process"
    assert list((out / "training").glob("checkpoint-*"))
    found = finetune.run(config, given[1], out)
    assert losses(out) == losses(whole)
    assert found.metrics["weights"] == expected.metrics["weights"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sigterm_makes_all_ranks_write_one_checkpoint_and_the_same_call_goes_on(given, undisturbed, tmp_path):
    config, out = tune(given[0], "ddp"), tmp_path / "told"
    process = started(config, given[1], out, 1)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 1  # the UserError, which the command line turns into exit status 130
    assert len(losses(out)) < STEPS
    assert (out / "training" / f"checkpoint-{len(losses(out))}" / "complete.json").is_file()
    found = finetune.run(config, given[1], out)
    assert losses(out) == losses(undisturbed("ddp")[0])
    assert found.metrics["weights"] == undisturbed("ddp")[1].metrics["weights"]
