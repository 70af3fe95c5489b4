"""The global batch is asserted before an experiment spends anything."""

import pytest

from mmevol_core.errors import UserError
from mmevol_experiment.cli.experiment import plan
from mmevol_experiment.compose import compose
from mmevol_experiment.experiment import prepare
from mmevol_experiment.preflight import check


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        # 1 x 16 x 1 = 16
        (["finetune.global_batch=100"], "finetune: 1 processes x 16 rows .*set finetune.global_batch=16 if that"),
        # 2 x 16 x 1 = 32: accumulate twice, or start twice as many
        (
            ["engine=deepspeed_zero2", "engine.processes=2", "pretrain.global_batch=64"],
            "pretrain: 2 processes x 16 rows .*set pretrain.accumulate=2, or engine.processes=4",
        ),
        # found by finetune only after the data engine and pretraining were paid
        (["finetune.compile=true"], "finetune: compile needs a CUDA GPU and here is none; set compile=false"),
    ],
)
def test_processes_that_make_another_batch_are_refused_before_anything_runs(tmp_path, overrides, said):
    values = compose(["experiment=quickstart", *overrides, f"paths.outputs={tmp_path}"])
    with pytest.raises(UserError, match=said):
        check(prepare(values))
    with pytest.raises(UserError, match=said):
        plan(["experiment=quickstart", *overrides, f"paths.outputs={tmp_path}"])
    assert not list(tmp_path.glob("stages/*/*/"))


def test_a_plan_made_where_there_are_no_gpus_counts_the_rows_of_those_it_requires(tmp_path):
    with pytest.raises(UserError, match="missing on this machine") as fits:
        plan(["experiment=qwen2_evol", f"paths.outputs={tmp_path}"])
    assert "rows a step" not in str(fits.value)  # 8 x 4 x 4 = 128
    with pytest.raises(UserError, match="finetune: 8 processes x 4 rows x 3 accumulated = 96 rows a step, not global"):
        plan(["experiment=qwen2_evol", "finetune.accumulate=3", f"paths.outputs={tmp_path}"])
