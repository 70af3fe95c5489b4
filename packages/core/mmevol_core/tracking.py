"""Numbers of a run over time: a JSONL file always, Weights & Biases as well when configured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from types import ModuleType
from typing import Any, Literal

import orjson

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl, replacing

FILE_NAME = "metrics.jsonl"
WANDB_ID = "wandb_id.txt"


class TrackingConfig(Config):
    """`conf/tracking/*.yaml`. `offline` writes W&B files that `wandb sync` uploads later."""

    wandb: Literal["off", "offline", "online"] = "offline"
    project: str = "mmevol"
    entity: str | None = None  # None: the default of whoever is logged in


class Tracker:
    """Logs values of a run.

    After a crash, `resume_step` drops the lines at or after the step that is done again; above 1 W&B's run goes on.
    """

    def __init__(
        self,
        config: TrackingConfig,
        out_dir: Path,
        name: str,
        run_config: Mapping[str, Any] | None = None,
        resume_step: int | None = None,
    ) -> None:
        self.path = out_dir / FILE_NAME
        out_dir.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            _keep_before(self.path, resume_step or 0)
        self._file = self.path.open("ab")
        self._run: Any = None
        if config.wandb != "off":
            file = out_dir / WANDB_ID
            begun = (resume_step or 0) > 1 and file.is_file()
            identity = file.read_text(encoding="utf-8").strip() if begun else token_hex(8)
            file.write_text(identity, encoding="utf-8")
            self._run = _wandb().init(
                id=identity,
                resume="allow" if begun and config.wandb == "online" else None,  # offline files of one id are one run
                project=config.project,
                entity=config.entity,
                name=name,
                config=dict(run_config or {}),
                dir=str(out_dir),
                mode=config.wandb,
            )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add one line; every line is on disk when this returns, so that a killed run keeps it."""
        line = orjson.dumps({"step": step, **values}, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)
        self._file.write(line)
        self._file.flush()
        if self._run is not None:
            self._run.log(dict(values), step=step)

    def artifact(self, path: Path) -> None:
        """Attach a file or folder to the run (W&B only; it already lies in the stage's folder)."""
        if self._run is None:
            return
        artifact = _wandb().Artifact(path.stem, type="output")
        (artifact.add_dir if path.is_dir() else artifact.add_file)(str(path))
        self._run.log_artifact(artifact)

    def finish(self) -> None:
        """Close everything; finishing twice is fine."""
        self._file.close()
        if self._run is not None:
            self._run.finish()
            self._run = None


def _wandb() -> ModuleType:
    try:
        import wandb
    except ImportError as error:
        raise UserError(
            "tracking.wandb is on but wandb is not installed: pip install wandb, or set it to off"
        ) from error
    return wandb


def _keep_before(path: Path, step: int) -> None:
    """Rewrite the file with the lines below `step`; a last line that was cut by a crash goes too."""
    kept = b"".join(
        line + b"\n"
        for line in path.read_bytes().split(b"\n")
        if (row := _line(line)) is not None and row.get("step", 0) < step
    )
    with replacing(path) as file:
        file.write(kept)


def _line(line: bytes) -> dict[str, Any] | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines of a metrics file."""
    return list(read_jsonl(path))
