"""What a step was made of, how long it took, and whether its loss can be believed.

One line a step in metrics.jsonl, and the same to W&B. Counts are of the process that writes (the first), rates too:

    tokens, samples            real ones; padding and blank pictures are not counted
    supervised_share           supervised tokens / tokens; supervised/SOURCE the same by first folder of the pictures
    padding_share              places of the batch that hold no real token (packed: of `pack_length`)
    tokens_per_s, samples_per_s, data_wait_share    of the time since the last line
    tflops, mfu                arithmetic of `mmevol_train.flops` a second; mfu where the GPU's peak is known
    memory_gib, cuda_gib       resident memory of the process; most that CUDA held in the step
"""

from __future__ import annotations

import logging
import math
import resource
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from mmevol_core.errors import UserError
from mmevol_train.config import TrainConfig
from mmevol_train.corpus import Corpus
from mmevol_train.engine import gathered
from mmevol_train.flops import peak_flops, step_flops

log = logging.getLogger(__name__)

REMEMBERED = 64  # steps whose losses say what is usual
ENOUGH = 16  # of them, before a loss can stand out
CLEAR = 1.0  # nats above the usual that a spike needs besides the factor
NAMED = 32  # samples named in a message


class Meter:
    """Counts micro-batches and turns them into the numbers of a step."""

    def __init__(self, config: TrainConfig, shape: Any, corpus: Corpus | None = None) -> None:
        """`shape` is the LLaVA-NeXT configuration that operations are counted from; not without `corpus`."""
        self._config, self._shape, self._corpus = config, shape, corpus
        self._room = config.pack_length if config.batching == "packed" else 0
        self._losses: deque[float] = deque(maxlen=REMEMBERED)
        if corpus is not None:
            self._numbers, self._lengths, self._learned = (
                corpus.rows.numbers("number"),
                corpus.lengths,
                corpus.supervised,
            )
            self._sources, self._source_names = corpus.rows.labels("source")
        cuda = torch.cuda.is_available()
        self._peak = peak_flops(torch.cuda.get_device_name()) if cuda else None
        self.reset()

    def reset(self) -> None:
        """Begin a step."""
        self._tokens = self._supervised = self._places = self._views = 0
        self._rows: list[int] = []
        self._batches: list[tuple[list[int], int]] = []  # rows and supervised tokens of each micro-batch
        self._totals: list[torch.Tensor] = []  # their losses, left on the device
        self._waited, self._since = 0.0, time.perf_counter()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def saw(self, batch: dict[str, Any]) -> None:
        """Count a micro-batch as the collators make it."""
        self._tokens += batch["tokens"]
        self._supervised += len(batch["targets"])
        self._places += max(batch["input_ids"].numel(), self._room)
        self._views += len(batch["pixel_values"]) if "pixel_values" in batch else 0
        rows = [row for row in batch["rows"] if row >= 0]
        self._rows += rows
        self._batches.append((rows, len(batch["targets"])))

    def lost(self, total: torch.Tensor) -> None:
        """Keep the summed loss of the micro-batch that was counted last; it is read when a step goes wrong only."""
        self._totals.append(total.detach())

    def waited(self, seconds: float) -> None:
        """Count time in which the model had nothing to work on."""
        self._waited += seconds

    def values(self) -> dict[str, float]:
        """The step's numbers."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        return {
            "tokens": self._tokens, "samples": len(self._rows),
            "supervised_share": self._supervised / max(self._tokens, 1),
            "padding_share": 1 - self._tokens / max(self._places, 1), "tokens_per_s": self._tokens / seconds,
            "samples_per_s": len(self._rows) / seconds, "data_wait_share": min(self._waited / seconds, 1.0),
            **self._by_source(), **self._arithmetic(seconds), **memory(),
        }  # fmt: skip

    def remember(self, lines: Iterable[dict[str, Any]]) -> None:
        """Take the losses of steps that an earlier start has logged as the usual ones, as if it had gone on."""
        for line in lines:
            if None not in (line["loss"], line["grad_norm"]):  # JSON has no other word for what is no number
                self._take(line["step"], line["loss"], line["grad_norm"])

    def judge(self, step: int, loss: float, grad_norm: float) -> None:
        """Stop, or warn, when loss or gradient is no number or the loss jumps; the samples of the step are named.

        Raises:
            UserError: with `on_divergence: stop`.
        """
        problem = self._take(step, loss, grad_norm)
        if not problem:
            return
        message = f"{problem}; {self._whose()}"
        if self._config.on_divergence == "stop":
            raise UserError(f"{message}. Look at them, lower the rate, or set on_divergence=warn", status=3)
        log.warning(message)

    def _take(self, step: int, loss: float, grad_norm: float) -> str:
        """Add a step's loss to the usual ones, or say why it cannot be believed; an empty text when it can."""
        usual = median(self._losses) if len(self._losses) >= ENOUGH else math.inf
        factor = self._config.spike_factor
        if not math.isfinite(loss):
            return f"loss {loss} at step {step}"
        if not math.isfinite(grad_norm):
            return f"gradient {grad_norm} at step {step}"
        if factor is not None and loss > max(usual * factor, usual + CLEAR):
            return f"loss {loss:.3g} at step {step}, usual is {usual:.3g} (spike_factor={factor:g})"
        self._losses.append(loss)
        return ""

    def _whose(self) -> str:
        """Rows of the step over all processes, which all ask at once; first those of the batches that lost most."""
        pairs = zip(self._batches, self._totals, strict=False)
        own = [(float(total) / max(count, 1), rows) for (rows, count), total in pairs]
        means = sorted(
            ((mean if math.isfinite(mean) else math.inf, rows) for part in gathered(own) for mean, rows in part),
            key=lambda found: -found[0],
        )
        everyone = [row for rows in gathered(self._rows) for row in rows]
        step = f"rows of the step: {self.named(everyone)}"
        if len(means) < 2:
            return step
        worst = [row for mean, rows in means if mean == means[0][0] for row in rows]
        lost = f"a mean of {means[0][0]:.3g}" if math.isfinite(means[0][0]) else "no finite loss"
        return f"{lost} in rows {self.named(worst)}; {step}"

    def named(self, rows: Sequence[int]) -> str:
        """Numbers of rows in the file, with their ids."""
        shown = [self._named(row) for row in rows[:NAMED]]
        more = len(rows) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")

    def _named(self, number: int) -> str:
        if self._corpus is None:
            return str(number)
        name = self._corpus.rows[int(self._numbers.searchsorted(number))].name
        return f"{number} ({name})" if name else str(number)

    def _by_source(self) -> dict[str, float]:
        if self._corpus is None:
            return {}
        places = self._numbers.searchsorted(self._rows)
        sources, tokens, learned = self._sources[places], self._lengths[places], self._learned[places]
        return {
            f"supervised/{self._source_names[source]}": float(
                learned[sources == source].sum() / tokens[sources == source].sum()
            )
            for source in sorted(set(sources.tolist()))
        }

    def _arithmetic(self, seconds: float) -> dict[str, float]:
        if self._corpus is None:
            return {}
        segments = self._lengths[self._numbers.searchsorted(self._rows)].tolist()
        rate = step_flops(self._shape, segments, self._views, self._config, self._supervised) / seconds
        return {"tflops": rate / 1e12, **({"mfu": rate / self._peak} if self._peak else {})}


def memory() -> dict[str, float]:
    """Resident memory of this process, and the most that CUDA held since the step began, in GiB."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        resident = int(statm.read_text().split()[1]) * resource.getpagesize() / 2**30
    else:
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # where /proc is not: the most ever
    cuda = {"cuda_gib": torch.cuda.max_memory_allocated() / 2**30} if torch.cuda.is_available() else {}
    return {"memory_gib": resident, **cuda}
