"""A stage: typed configuration and named inputs in, named files and numbers out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmevol_core.config import Config


@dataclass(frozen=True)
class StageResult:
    """Everything a later stage may rely on.

    `files` maps a role to a path under the stage's folder; `metrics` are JSON-ready and go to the manifest.
    """

    files: Mapping[str, Path]
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One row of the table of stages.

    `run(config, inputs, out_dir)` reads only its arguments and writes only under `out_dir`. It may be killed at
    any moment and called again with the same arguments: what it already did under `out_dir` must not be lost.
    """

    config: type[Config]
    needs: tuple[str, ...]  # roles it must be given
    run: Callable[[Any, Mapping[str, Path], Path], StageResult]
    version: str  # part of the fingerprint: raise it when the meaning of the output changes
    accepts: tuple[str, ...] = ()  # roles it uses when they are given
    grace_s: float = 20.0  # that it may take to save its state when it is told to end (SIGTERM)
