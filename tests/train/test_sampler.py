"""The plan of a run: complete, repeatable, and cut to another arm's tokens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmevol_core.errors import UserError
from mmevol_train.config import FinetuneConfig
from mmevol_train.sampler import plan
from mmevol_train.training import _rows_a_step

LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=200).map(lambda values: np.array(values, np.int64))


@given(lengths=LENGTHS, size=st.integers(1, 16), epochs=st.integers(1, 3), seed=st.integers(0, 5))
def test_every_epoch_holds_every_row_once(lengths, size, epochs, seed):
    found = plan(lengths, size, epochs=epochs, seed=seed)
    rows = [row for batch in found.batches for row in batch]
    assert sorted(rows) == sorted(list(range(len(lengths))) * epochs)
    assert found.dropped == 0
    assert found == plan(lengths, size, epochs=epochs, seed=seed)


@settings(deadline=None)
@given(lengths=LENGTHS, size=st.integers(1, 16), factor=st.floats(1, 5))
def test_matched_tokens_are_reached_within_one_batch(lengths, size, factor):
    target = int(lengths.sum() * factor)
    found = plan(lengths, size, epochs=1, seed=0, tokens=target)
    largest = max(int(lengths[batch].sum()) for batch in found.batches)
    assert abs(found.total(lengths) - target) <= largest


@given(lengths=LENGTHS, size=st.integers(1, 4), multiple=st.integers(2, 4))
def test_what_does_not_fill_a_step_is_left_out_and_counted(lengths, size, multiple):
    if -(-len(lengths) // size) < multiple:
        with pytest.raises(UserError, match="too few"):
            plan(lengths, size, epochs=1, seed=0, multiple=multiple)
        return
    found = plan(lengths, size, epochs=1, seed=0, multiple=multiple)
    assert len(found.batches) % multiple == 0
    assert sum(map(len, found.batches)) + found.dropped == len(lengths)


@given(lengths=LENGTHS, size=st.integers(1, 4), limit=st.integers(1, 8), stop=st.integers(1, 8))
def test_every_row_of_every_pass_is_learned_dropped_or_not_reached(lengths, size, limit, stop):
    found = plan(lengths, size, epochs=2, seed=0, max_batches=limit).first(stop)
    assert sum(map(len, found.batches)) + found.dropped + found.unreached == 2 * len(lengths)


# Sixty rows of ten tokens in packed rows of forty: four rows each. Two processes that accumulate twice make 16 a step.
def test_rows_of_a_packed_step_are_counted():
    assert plan(np.full(60, 10), 16, epochs=1, seed=0, pack_length=40).rows_a_step(2 * 2) == 16


# Packed rows of 400 hold four rows of 100 or two of 200: eight accumulated are 32 of the short or 16 of the long, and
# no number of them is near 16 for both.
def test_arms_that_fill_packed_rows_differently_share_one_accumulate_and_the_further_is_said(caplog):
    backbone = {"name": "x", "vision_tower": "x", "language_model": "x", "chat_template": "qwen2", "pinpoints": []}
    values = {"backbone": backbone, "batch_size": 1, "batching": "packed", "pack_length": 400, "global_batch": 16}
    config = FinetuneConfig.model_validate({**values, "accumulate": 8})
    short, long = (plan(np.full(96, size), 1, epochs=1, seed=0, multiple=8, pack_length=400) for size in (100, 200))
    assert _rows_a_step("finetune", config, long) == 16 and not caplog.records
    assert _rows_a_step("finetune", config, short) == 32
    (said,) = caplog.messages
    assert said == (
        "finetune: packed rows make 32.0 rows a step on average, not global_batch=16; accumulate=4 would come nearest"
    )


def test_padding_stays_below_eight_percent_on_a_wide_mix_of_lengths():
    lengths = np.random.default_rng(0).lognormal(5, 0.6, 5000).astype(np.int64) + 20
    found = plan(lengths, 16, epochs=1, seed=0)
    padded = sum(int(lengths[batch].max()) * len(batch) for batch in found.batches)
    assert lengths.sum() / padded > 0.92  # in random order 0.42


@pytest.mark.parametrize("packed", [None, 40])
def test_no_two_passes_of_neighbouring_seeds_are_the_same(packed):
    lengths = np.full(64, 10)
    runs = [plan(lengths, 4, epochs=3, seed=seed, pack_length=packed).batches for seed in range(3)]
    passes = [tuple(map(tuple, run[start : start + 16])) for run in runs for start in (0, 16, 32)]
    assert len(set(passes)) == 9
