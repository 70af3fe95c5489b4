"""The tracker's file, which must not depend on W&B; and W&B itself in its offline mode."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml

from mmevol_core.config import fit
from mmevol_core.tracking import FILE_NAME, WANDB_ID, Tracker, TrackingConfig

CONF = Path(__file__).parents[2] / "conf"
OFF = TrackingConfig(wandb="off")


def lines(folder):
    return [orjson.loads(line) for line in (folder / FILE_NAME).read_bytes().splitlines()]


def test_values_are_on_disk_as_soon_as_they_are_logged(tmp_path):
    tracker = Tracker(OFF, tmp_path, "run")
    tracker.log(1, {"loss": 2.5})
    assert lines(tmp_path) == [{"step": 1, "loss": 2.5}]
    tracker.finish()
    tracker.finish()


def test_resuming_drops_the_steps_that_are_done_again_and_a_line_cut_by_the_crash(tmp_path):
    first = Tracker(OFF, tmp_path, "run")
    for step in range(5):
        first.log(step, {"loss": float(step)})
    first.finish()
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b'{"step": 5, "lo')
    second = Tracker(OFF, tmp_path, "run", resume_step=3)
    second.log(3, {"loss": 30.0})
    second.finish()
    assert [(row["step"], row["loss"]) for row in lines(tmp_path)] == [(0, 0), (1, 1), (2, 2), (3, 30)]


def test_a_fresh_start_begins_a_fresh_file(tmp_path):
    for value in (1.0, 2.0):
        tracker = Tracker(OFF, tmp_path, "run")
        tracker.log(0, {"loss": value})
        tracker.finish()
    assert lines(tmp_path) == [{"step": 0, "loss": 2.0}]


def test_wandb_is_not_imported_unless_it_is_asked_for(tmp_path):
    code = (
        "import sys; from pathlib import Path; from mmevol_core.tracking import *;"
        f"Tracker(TrackingConfig(wandb='off'), Path({str(tmp_path)!r}), 'run').finish(); print('wandb' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.slow
def test_the_offline_mode_writes_a_run_that_can_be_uploaded_later(tmp_path):
    tracker = Tracker(TrackingConfig(wandb="offline"), tmp_path, "run", {"lr": 0.1})
    tracker.log(1, {"loss": 2.5})
    tracker.finish()
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert lines(tmp_path) == [{"step": 1, "loss": 2.5}]


@pytest.mark.slow
def test_a_run_that_goes_on_has_its_id_in_wandb_too_and_a_new_one_another(tmp_path):
    found = []
    for step in (1, 3, 1):  # a start, one that goes on after step 2, and one that starts over
        tracker = Tracker(TrackingConfig(wandb="offline"), tmp_path, "run", resume_step=step)
        tracker.log(step, {"loss": 2.5})
        tracker.finish()
        found.append((tmp_path / WANDB_ID).read_text())
        assert list(tmp_path.glob(f"wandb/offline-run-*-{found[-1]}/run-{found[-1]}.wandb"))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("name", ["none", "offline", "wandb"])
def test_every_tracking_choice_fits_and_names_no_entity(name):
    values = yaml.safe_load((CONF / "tracking" / f"{name}.yaml").read_text())
    assert fit(TrackingConfig, values, "tracking").entity is None
