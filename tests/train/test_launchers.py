"""The real launchers, started by the stage itself: torchrun and deepspeed, two processes, killed and told to stop."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from support import ranks
from support.engine_runs import STEPS, engine, given, losses, tune

from mmevol_train import finetune

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """(backbone, inputs)."""
    return given(tmp_path_factory.mktemp("qwen2"), "qwen2")


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    """(folder, result) of a ZeRO-2 run that no launcher started and nobody disturbed."""
    out = tmp_path_factory.mktemp("undisturbed")
    return out, ranks.run(configuration(tiny), tiny[1], out)


def configuration(tiny, **changes):
    return tune(tiny[0], "deepspeed_zero2", engine=engine("deepspeed_zero2", **changes), verify=False)


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


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_a_launcher_trains_two_processes_to_the_same_weights(tiny, undisturbed, tmp_path, launcher):
    found = finetune.run(configuration(tiny, launcher=launcher), tiny[1], tmp_path)
    assert losses(tmp_path) == losses(undisturbed[0])
    assert found.metrics["weights"] == undisturbed[1].metrics["weights"]
    assert not ranks_of(tmp_path)


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_a_stage_killed_by_force_leaves_no_rank_behind_and_the_same_call_goes_on(tiny, undisturbed, tmp_path, launcher):
    config, out = configuration(tiny, launcher=launcher), tmp_path / "killed"
    process = started(config, tiny[1], out, STEPS - 2)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended before it could be killed"
    deadline = time.monotonic() + 60
    while ranks_of(out) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not ranks_of(out), "ranks outlived the stage process"
    assert list((out / "training").glob("checkpoint-*"))
    found = ranks.run(config, tiny[1], out)
    assert losses(out) == losses(undisturbed[0])
    assert found.metrics["weights"] == undisturbed[1].metrics["weights"]


def test_sigterm_makes_all_ranks_write_one_checkpoint_and_the_same_call_goes_on(tiny, undisturbed, tmp_path):
    config, out = configuration(tiny), tmp_path / "told"  # by torchrun: the deepspeed launcher ends ranks at once
    process = started(config, tiny[1], out, 1)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 1  # the UserError, which the command line turns into exit status 130
    assert len(losses(out)) < STEPS
    assert (out / "training" / f"checkpoint-{len(losses(out))}" / "complete.json").is_file()
    found = ranks.run(config, tiny[1], out)
    assert losses(out) == losses(undisturbed[0])
    assert found.metrics["weights"] == undisturbed[1].metrics["weights"]
