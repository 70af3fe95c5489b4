"""What is done between two steps: progress is published, and it is decided whether a checkpoint is due."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from mmevol_core.progress import Progress
from mmevol_train.config import TrainConfig
from mmevol_train.engine import agreed
from mmevol_train.held_out import HeldOut


class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Publishes progress, and decides when a checkpoint is due."""

    def __init__(self, config: TrainConfig, progress: Progress, held_out: HeldOut | None = None) -> None:
        self._config, self._progress, self._held_out = config, progress, held_out
        self._saved = time.monotonic()
        self.stop_asked = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Every step: progress, and a checkpoint by steps, by time, or because someone asked to stop.

        Ranks hear a signal at different steps and their clocks differ: what one of them wants, all do. A step whose
        held-out loss is taken has a checkpoint, so that the best one can be exported.
        """
        self._progress.update(state.global_step)
        every, seconds = self._config.save_every_steps, self._config.save_every_s
        due = bool(every and state.global_step % every == 0)
        late = bool(seconds and time.monotonic() - self._saved >= seconds)
        self.stop_asked, late = agreed(self.stop_asked, late)
        if self._held_out is not None and self._held_out.due(state.global_step, state.max_steps):
            due = control.should_log = True
        if due or late or self.stop_asked:
            control.should_save = True
            self._saved = time.monotonic()
        control.should_training_stop |= self.stop_asked


@contextmanager
def stops_politely(watch: Watch) -> Iterator[None]:
    """SIGTERM: finish the step, write a checkpoint, stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(*_: Any) -> None:
        watch.stop_asked = True

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
