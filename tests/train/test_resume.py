"""Runs that are killed, told to stop or broken end as if nothing had happened; what they leave is whole."""

import multiprocessing
import os
import signal
import time

import pytest
import torch
from support.training_runs import folder, inputs, lead_a_group, losses, tune

from mmevol_core.errors import UserError
from mmevol_train import finetune
from mmevol_train.checkpoint import fingerprint, is_complete, latest, load, mark_complete
from mmevol_train.trainer import PartsTrainer

LORA = {"rank": 4, "alpha": 8, "dropout": 0.1}
KINDS = [
    {},
    pytest.param({"lora": LORA}, marks=pytest.mark.slow),
    pytest.param({"batching": "packed", "pack_length": 400}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("changes", KINDS, ids=["full", "lora", "packed"])
def test_killed_at_any_step_it_ends_with_the_same_losses_and_weights(base, tmp_path, changes):
    config = tune(base[1], epochs=8, save_every_steps=5, **changes)
    undisturbed, killed = folder(tmp_path, "undisturbed"), folder(tmp_path, "killed")
    expected = finetune.run(config, inputs(base), undisturbed)
    process = multiprocessing.get_context("spawn").Process(target=finetune.run, args=(config, inputs(base), killed))
    process.start()
    deadline = time.monotonic() + 120
    while len(_lines(killed)) < 13 and time.monotonic() < deadline and process.is_alive():
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended before it could be killed"
    assert not (killed / "checkpoint").exists()
    found = finetune.run(config, inputs(base), killed)
    assert losses(killed) == losses(undisturbed)
    assert found.metrics["weights"] == expected.metrics["weights"]
    assert not (killed / "training").exists()


def _lines(out):
    path = out / "metrics.jsonl"
    return path.read_bytes().splitlines() if path.is_file() else []


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
@pytest.mark.parametrize("changes", [{"batching": "packed", "pack_length": 800}, {"lora": LORA}, {"accumulate": 2}])
def test_packed_adapted_and_accumulated_runs_resume_exactly(base, tmp_path, monkeypatch, changes):
    config = tune(base[1], epochs=6, save_every_steps=4, **changes)
    undisturbed, broken = folder(tmp_path, "undisturbed"), folder(tmp_path, "broken")
    expected = finetune.run(config, inputs(base), undisturbed)
    logged = PartsTrainer.log

    def interrupted(self, logs, start_time=None):
        logged(self, logs, start_time)
        if self.state.global_step == 10:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PartsTrainer, "log", interrupted)
        finetune.run(config, inputs(base), broken)
    found = finetune.run(config, inputs(base), broken)
    assert losses(broken) == losses(undisturbed)
    assert len(losses(broken)) == found.metrics["steps"] > 10
    assert found.metrics["weights"] == expected.metrics["weights"]


def test_a_half_written_checkpoint_is_never_resumed_from(base, tmp_path):
    for step, whole in ((5, True), (10, False)):
        path = tmp_path / "training" / f"checkpoint-{step}"
        path.mkdir(parents=True)
        (path / "model.safetensors").write_bytes(b"x" * 10)
        if whole:
            mark_complete(path, step)
    assert latest(tmp_path / "training") == tmp_path / "training" / "checkpoint-5"
    assert not (tmp_path / "training" / "checkpoint-10").exists()
    (tmp_path / "training" / "checkpoint-5" / "model.safetensors").write_bytes(b"x")
    assert not is_complete(tmp_path / "training" / "checkpoint-5")


@pytest.mark.parametrize("base", ["llama3"], indirect=True)
def test_sigterm_writes_a_checkpoint_and_the_same_call_goes_on(base, tmp_path):
    config = tune(base[1], epochs=8)
    out, undisturbed = folder(tmp_path, "out"), folder(tmp_path, "undisturbed")
    expected = finetune.run(config, inputs(base), undisturbed)
    process = multiprocessing.get_context("spawn").Process(target=finetune.run, args=(config, inputs(base), out))
    process.start()
    while len(_lines(out)) < 5 and process.is_alive():
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 1  # a UserError that the command line turns into one line
    steps = len(_lines(out))
    assert is_complete(out / "training" / f"checkpoint-{steps}")
    assert finetune.run(config, inputs(base), out).metrics["weights"] == expected.metrics["weights"]


@pytest.mark.parametrize("base", ["llama3"], indirect=True)
def test_sigterm_to_the_whole_group_leaves_the_readers_of_pictures_to_their_work(base, tmp_path):
    config, out = tune(base[1], epochs=8, workers=2), folder(tmp_path, "out")
    process = multiprocessing.get_context("spawn").Process(target=lead_a_group, args=(config, inputs(base), out))
    process.start()
    while len(_lines(out)) < 5 and process.is_alive():
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGTERM)
    process.join(120)
    assert process.exitcode == 1
    assert is_complete(out / "training" / f"checkpoint-{len(_lines(out))}")


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_killed_between_its_last_step_and_its_manifest_the_same_call_does_not_train_again(base, tmp_path, monkeypatch):
    config, out = tune(base[1], max_steps=2, save_every_steps=2), folder(tmp_path, "out")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("mmevol_train.launch.leave_result", _killed)  # exported, and its result not yet on disk
        finetune.run(config, inputs(base), out)
    assert is_complete(out / "training" / "checkpoint-2")
    first = finetune.run(config, inputs(base), out)
    assert not (out / "training").exists()
    monkeypatch.setattr(finetune, "work", _killed)
    assert finetune.run(config, inputs(base), out) == first  # the result was on disk, the manifest was not
    with pytest.raises(KeyboardInterrupt):
        finetune.run(tune(base[1], max_steps=3), inputs(base), out)  # another run's result is none of this one
    (first.files["checkpoint"] / "config.json").unlink()
    with pytest.raises(KeyboardInterrupt):
        finetune.run(config, inputs(base), out)


def _killed(*_):
    raise KeyboardInterrupt


def test_a_fresh_process_loads_the_result_and_agrees(base, tmp_path):
    found = finetune.run(tune(base[1], max_steps=2, verify=True), inputs(base), folder(tmp_path, "out"))
    assert found.metrics["verified"]["max_logit_difference"] <= 1e-4
    assert fingerprint(found.files["checkpoint"]) == found.metrics["weights"]


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_adapters_are_merged_into_the_weights_the_run_began_with(base, tmp_path):
    changes = {"lora": LORA, "max_steps": 3, "train_vision": False, "train_projector": False, "verify": True}
    found = finetune.run(tune(base[1], **changes), inputs(base), folder(tmp_path, "out"))
    before, after = (
        load(folder)[0].state_dict() for folder in (base[2].files["checkpoint"], found.files["checkpoint"])
    )
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed
    assert all("language_model.layers" in name and "_proj.weight" in name for name in changed)
    assert all(torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) <= LORA["rank"] for name in changed)
    assert found.metrics["verified"]["max_logit_difference"] <= 1e-4  # of the model with its adapters apart


def test_a_checkpoint_of_another_number_of_processes_is_refused(tmp_path):
    (tmp_path / "checkpoint-4").mkdir()
    mark_complete(tmp_path / "checkpoint-4", 4, ranks=2)
    assert latest(tmp_path, ranks=2) == tmp_path / "checkpoint-4"
    with pytest.raises(UserError, match="written by 2 processes and here are 1"):
        latest(tmp_path, ranks=1)


def test_a_checkpoint_whose_shard_is_cut_is_not_whole(tmp_path):
    shard = tmp_path / "checkpoint-4" / "global_step4" / "rank_1.pt"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"12345")
    mark_complete(tmp_path / "checkpoint-4", 4, ranks=2)
    assert is_complete(tmp_path / "checkpoint-4")
    shard.write_bytes(b"123")
    assert not is_complete(tmp_path / "checkpoint-4")
