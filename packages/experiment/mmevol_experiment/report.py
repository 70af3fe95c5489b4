"""Stage \`report\`."""

from __future__ import annotations
from collections.abc import Mapping
from pathlib import Path
from mmevol_core.config import Config
from mmevol_core.stage import Stage, StageResult


class ReportConfig(Config):
    """What the page shows."""

    name: str
    arms: tuple[str, ...]
    title: str | None = None
    lineages: int = 12


def run(config: ReportConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """x"""
    raise NotImplementedError


STAGE = Stage(
    config=ReportConfig,
    needs=("scores", "items"),
    run=run,
    version="1",
    accepts=("evolved", "ledger", "images", "losses", "manifest"),
)
