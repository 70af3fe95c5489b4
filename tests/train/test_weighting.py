"""Loss per token or per sample: the same weights, padded, packed, accumulated and over the whole step."""

import pytest
import torch
from support.engine_runs import given, losses, tune

from mmevol_train import finetune
from mmevol_train.weighting import sample_weights


def test_each_conversation_weighs_the_same_in_both_layouts():
    """Conversations of 4 and 3 places; 2 and 1 are learned: 1/2, 1/2, 1."""
    padded = {"input_ids": torch.zeros(2, 4), "positions": torch.tensor([1, 2, 4])}
    edges = torch.tensor([0, 4, 7], dtype=torch.int32)
    packed = {"input_ids": torch.zeros(1, 7), "positions": torch.tensor([1, 2, 4]), "cu_seq_lens_q": edges}
    for batch in (padded, packed):
        weights, conversations = sample_weights(batch)
        assert (weights.tolist(), conversations) == ([0.5, 0.5, 1.0], 2)


def test_a_step_is_the_same_padded_packed_and_accumulated_and_differs_from_tokens(tmp_path):
    parts, inputs = given(tmp_path, "qwen2")

    def run(name, **changes):
        values = {"max_steps": 1, "verify": False, "global_batch": None, "loss_weighting": "sample", **changes}
        out = tmp_path / name
        out.mkdir()
        finetune.STAGE.run(tune(parts, "single", **values), inputs, out)
        return losses(out)[0][1:]

    # all 20 rows are one step, as the plan groups rows otherwise by the size of a micro-batch
    whole = run("whole", batch_size=20, accumulate=1)
    assert run("parts", batch_size=5, accumulate=4) == pytest.approx(whole, rel=1e-5)
    packed = {"batching": "packed", "pack_length": 4096, "batch_size": 1, "accumulate": 1}
    assert run("packed", **packed) == pytest.approx(whole, rel=1e-5)
    tokens = run("tokens", batch_size=20, accumulate=1, loss_weighting="token")
    assert tokens != pytest.approx(whole, rel=1e-5)
