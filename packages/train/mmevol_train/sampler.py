"""The order of training, decided before the first step: a list of batches for the whole run.

A plan is a pure function of lengths and seed, so a resumed run skips what it already saw and an arm can be cut to
another arm's number of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mmevol_core.errors import UserError
from mmevol_train.packing import pack

SORTED_BATCHES = 32  # batches that are sorted by length together: little padding and still a random order
PACKED_BLOCK = 2**16  # rows packed together


@dataclass(frozen=True)
class Plan:
    """Row indices of every micro-batch, in order; ranks take them in turn."""

    batches: list[list[int]]
    dropped: int  # rows left out so that every rank and step has its full share
    unreached: int = 0  # rows that would have come after the last step allowed

    def total(self, values: NDArray[np.int64]) -> int:
        """Sum of a per-row number over all batches."""
        return int(sum(int(values[batch].sum()) for batch in self.batches))

    def first(self, count: int) -> Plan:
        """The first `count` batches; rows of the others are not reached."""
        unreached = sum(map(len, self.batches[count:]))
        return replace(self, batches=self.batches[:count], unreached=self.unreached + unreached)

    def rows_a_step(self, multiple: int) -> float:
        """Rows of an optimizer step of `multiple` micro-batches on average."""
        return sum(map(len, self.batches)) / len(self.batches) * multiple


def epoch(lengths: NDArray[np.int64], batch_size: int, seed: tuple[int, int]) -> list[list[int]]:
    """One pass over all rows in batches of similar length, in random order of its `seed`, (run's, number of the pass).

    Lengths are true tokens, images included. The one batch that may be incomplete comes at a random place.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    group = batch_size * SORTED_BATCHES
    batches = []
    for start in range(0, len(order), group):
        rows = order[start : start + group]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[place : place + batch_size].tolist() for place in range(0, len(rows), batch_size)]
    return [batches[place] for place in generator.permutation(len(batches))]


def packed_epoch(lengths: NDArray[np.int64], capacity: int, seed: tuple[int, int]) -> list[list[int]]:
    """One pass over all rows in packed rows of at most `capacity` tokens, in random order.

    Rows are packed within random blocks, so that the same rows do not meet in every epoch.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    bins = []
    for start in range(0, len(order), PACKED_BLOCK):
        rows = order[start : start + PACKED_BLOCK]
        bins += [rows[places].tolist() for places in pack(lengths[rows], capacity)]
    return [bins[place] for place in generator.permutation(len(bins))]


def plan(
    lengths: NDArray[np.int64], batch_size: int, *, epochs: int, seed: int, multiple: int = 1,
    max_batches: int | None = None, tokens: int | None = None, pack_length: int | None = None,
) -> Plan:  # fmt: skip
    """Batches of a whole run: of `batch_size` rows, or packed rows of `pack_length` tokens.

    `tokens` (of another arm) replaces `epochs`: passes go on until the sum of lengths is as near to it as whole
    batches allow. `multiple` is ranks x accumulated micro-batches: an incomplete last group is left out and counted.

    Raises:
        UserError: when there are fewer batches than one step needs.
    """
    batches: list[list[int]] = []
    number, seen = 0, 0
    while (number < epochs) if tokens is None else (seen < tokens):
        passed = (seed, number)  # a sum would give runs of neighbouring seeds the same passes
        one = epoch(lengths, batch_size, passed) if pack_length is None else packed_epoch(lengths, pack_length, passed)
        for batch in one:
            size = int(lengths[batch].sum())
            if tokens is not None and seen + size / 2 > tokens and batches:
                seen = tokens
                break
            batches.append(batch)
            seen += size
        number += 1
    found = Plan(batches, 0)
    if max_batches is not None:
        found = found.first(max_batches)
    whole = len(found.batches) - len(found.batches) % multiple
    if not whole:
        raise UserError(
            f"{len(lengths)} rows are too few for one step of {multiple} micro-batches of {batch_size} rows"
        )
    found = replace(found, batches=found.batches[:whole], dropped=sum(map(len, found.batches[whole:])))
    learned = sum(map(len, found.batches))
    assert tokens is not None or learned + found.dropped + found.unreached == epochs * len(lengths)
    return found


class Listed:
    """A batch sampler that repeats a list."""

    batch_size = None
    drop_last = False

    def __init__(self, batches: list[list[int]]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)
