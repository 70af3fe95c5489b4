"""The speed benchmark's path for GPUs, rehearsed on a CPU: bfloat16, gradient checkpointing, and MFU by its formula."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "training.py"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["finetune", "pretrain"])
def test_every_arm_runs_with_the_settings_of_a_gpu_and_says_its_mfu(stage):
    flags = ["--rehearse", "--peak-tflops", "0.1", "--rows", "12", "--rounds", "1", "--stage", stage]
    done = subprocess.run([sys.executable, SCRIPT, *flags], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    head, *arms = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]
    assert (head["shape"], head["rows"]) == ("tiny", 12)
    assert [row["arm"] for row in arms] == ["reference", "hf", "padded", "packed"]
    for row in arms:
        assert row["mfu"] == pytest.approx(row["tflops"] / 0.1, abs=0.02)  # both are rounded to three digits
        assert row["tokens_per_s"] > 0
