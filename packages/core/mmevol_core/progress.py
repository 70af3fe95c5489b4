"""Progress that another process can watch: a stage writes it, the runner shows it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from mmevol_core.files import write_json

INTERVAL_S = 0.5
FILE_NAME = "progress.json"


@dataclass(frozen=True)
class State:
    """One reading: how far, out of what, and a few words or numbers worth seeing (loss, money)."""

    title: str
    done: float
    total: float
    unit: str
    started: float  # unix seconds
    info: dict[str, Any] = field(default_factory=dict)


class Progress:
    """Counts steps of a stage and publishes them in `out_dir/progress.json` at most twice a second."""

    def __init__(self, out_dir: Path, title: str, total: float, unit: str) -> None:
        self._path = out_dir / FILE_NAME
        self._title, self._total, self._unit = title, total, unit
        self._started, self._written, self._done = time.time(), 0.0, 0.0
        self._info: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        self._publish()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._publish()

    def update(self, done: float, **info: Any) -> None:
        """Say how much is done in total, with values to show beside it."""
        self._done = done
        self._info.update(info)
        if time.monotonic() - self._written >= INTERVAL_S:
            self._publish()

    def advance(self, by: float = 1, **info: Any) -> None:
        """Say that `by` more are done."""
        self.update(self._done + by, **info)

    def _publish(self) -> None:
        self._written = time.monotonic()
        write_json(
            self._path,
            asdict(State(self._title, self._done, self._total, self._unit, self._started, self._info)),
        )


def read(out_dir: Path) -> State | None:
    """The latest reading of a stage's folder, or None before its first."""
    try:
        return State(**orjson.loads((out_dir / FILE_NAME).read_bytes()))
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
