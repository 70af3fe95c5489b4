"""What a person sees while stages run: live bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from mmevol_core import progress
from mmevol_experiment.plan import Job

LINE_EVERY_S = 10.0


class Display(Protocol):
    """Told by the runner what happens; `refresh` is called often."""

    def __enter__(self) -> Display: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def skipped(self, job: Job) -> None:
        """The job was done before."""

    def started(self, job: Job) -> None:
        """The job begins."""

    def finished(self, job: Job) -> None:
        """The job has just been done."""

    def refresh(self, running: list[Job]) -> None:
        """Show how far the running jobs are."""


def for_console(console: Console) -> Display:
    """Bars on a terminal, lines elsewhere."""
    return Bars(console) if console.is_terminal else Lines(console)


class Lines:
    """One line when a stage starts and ends, and one every `LINE_EVERY_S` seconds for each that runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: dict[str, float] = {}
        self._last = time.monotonic()
        self._done_before: list[str] = []

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()

    def skipped(self, job: Job) -> None:
        """Gathered into one line; what has just run was announced already."""
        if job.node.key not in self._began:
            self._done_before.append(job.node.key)

    def started(self, job: Job) -> None:
        """Say that it begins and where it writes."""
        self._flush()
        self._began[job.node.key] = time.monotonic()
        self._say(f"{job.node.key}: started, {job.folder}")

    def finished(self, job: Job) -> None:
        """Say how long it took."""
        self._say(f"{job.node.key}: done in {duration(time.monotonic() - self._began[job.node.key])}")

    def refresh(self, running: list[Job]) -> None:
        """A line for each running stage when the time has come."""
        if time.monotonic() - self._last < LINE_EVERY_S:
            return
        self._last = time.monotonic()
        for job in running:
            state = progress.read(job.folder)
            self._say(f"{job.node.key}: {describe(state) if state else 'starting'}")

    def _flush(self) -> None:
        if self._done_before:
            self._say(f"already done: {', '.join(self._done_before)}")
            self._done_before = []

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Bars(Lines):
    """A bar for each running stage, with rate, time left and what the stage wants seen."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self._bars.stop()

    def started(self, job: Job) -> None:
        """Add a bar."""
        self._flush()
        self._began[job.node.key] = time.monotonic()
        self._tasks[job.node.key] = self._bars.add_task(job.node.key, total=None, note="starting")

    def finished(self, job: Job) -> None:
        """Turn the bar into a line."""
        self._bars.remove_task(self._tasks.pop(job.node.key))
        super().finished(job)

    def refresh(self, running: list[Job]) -> None:
        """Move the bars."""
        if time.monotonic() - self._last < progress.INTERVAL_S:
            return
        self._last = time.monotonic()
        for job in running:
            state = progress.read(job.folder)
            if state is not None:
                self._bars.update(
                    self._tasks[job.node.key],
                    description=f"{job.node.key} [dim]{state.title}",
                    completed=state.done,
                    total=state.total or None,
                    note=note(state),
                )


def describe(state: progress.State) -> str:
    """One line of a reading: how far, how fast, how long to go."""
    share = f"{state.done:g}/{state.total:g} {state.unit}" if state.total else f"{state.done:g} {state.unit}"
    return f"{state.title} {share}, {note(state)}"


def note(state: progress.State) -> str:
    """Rate, time left and the stage's own values."""
    seconds = max(time.time() - state.started, 1e-6)
    rate = state.done / seconds
    parts = [f"{rate:.3g} {state.unit}/s"]
    if rate > 0 and state.total > state.done:
        parts.append(f"{duration((state.total - state.done) / rate)} left")
    return ", ".join(parts + _values(state.info))


def _values(info: Mapping[str, Any]) -> list[str]:
    return [f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in info.items()]


def duration(seconds: float) -> str:
    """`75` to `1 m 15 s`."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} m" if hours else f"{minutes} m {rest} s"
