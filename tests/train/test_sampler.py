"""The plan of a run: complete, repeatable, and cut to another arm's tokens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmevol_core.errors import UserError
from mmevol_train.sampler import plan

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
