"""Rows that nothing is learned from: which they are, and in which batches their loss is taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmevol_core.errors import UserError
from mmevol_train.config import TrainConfig
from mmevol_train.packing import pack

STREAM = 7  # of the seed: the choice of rows is not the order of training


@dataclass(frozen=True)
class HeldOut:
    """Batches of row indices, and the steps after which their loss is taken."""

    batches: list[list[int]]
    every: int

    def due(self, step: int, last: int) -> bool:
        """Whether the loss is taken after this step; it always is after the last one."""
        return step % self.every == 0 or step == last

    def dealt(self, rank: int, ranks: int) -> Iterator[tuple[list[int], bool]]:
        """(rows, whether they count) of one rank: as many batches as every other rank has, else the others wait."""
        for start in range(0, len(self.batches), ranks):
            place = start + rank
            counts = place < len(self.batches)
            yield self.batches[place if counts else 0], counts


def split(total: int, config: TrainConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows to learn from, rows held out): indices below `total`, chosen by the seed, in the order of the file.

    Raises:
        UserError: when nothing would be left to learn from.
    """
    wanted = config.validation
    if wanted is None:
        return np.arange(total), np.zeros(0, np.int64)
    count = wanted.rows if wanted.rows is not None else max(1, round((wanted.share or 0) * total))
    if count >= total:
        raise UserError(f"validation holds out {count} of {total} rows, which leaves none to learn from; lower it")
    order = np.random.default_rng([config.seed, STREAM]).permutation(total)
    return np.sort(order[count:]), np.sort(order[:count])


def held_out(lengths: NDArray[np.int64], config: TrainConfig) -> HeldOut | None:
    """The batches of the rows held out, of similar lengths or packed; None when there is no validation.

    Args:
        lengths: tokens of every row, (rows,).
    """
    if config.validation is None:
        return None
    _, rows = split(len(lengths), config)
    if config.batching == "packed":
        batches = [rows[places].tolist() for places in pack(lengths[rows], config.pack_length)]
    else:
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches = [rows[start : start + config.batch_size].tolist() for start in range(0, len(rows), config.batch_size)]
    return HeldOut(batches, config.validation.every)
