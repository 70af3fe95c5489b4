"""The receipt of a finished stage run: written last, so that its presence means the rest is whole."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

from mmevol_core.errors import UserError
from mmevol_core.files import write_json
from mmevol_core.stage import StageResult

FILE_NAME = "manifest.json"
PACKAGES = ("mmevol", "torch", "transformers", "numpy", "pillow", "hydra-core", "pydantic")


@dataclass(frozen=True)
class Manifest:
    """What a stage run was, what it made and on what it rested.

    `files` maps a role to a path relative to the stage's folder; `inputs` a role to the stage, fingerprint and role
    it came from; `seconds` is the wall time of the last attempt.
    """

    stage: str
    fingerprint: str
    version: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    files: Mapping[str, str]
    metrics: Mapping[str, Any]
    seconds: float
    finished: str
    versions: Mapping[str, str]


def read(folder: Path, fingerprint: str) -> Manifest | None:
    """The manifest of a finished run, or None when the run has not finished or one of its files is gone."""
    try:
        stored = orjson.loads((folder / FILE_NAME).read_bytes())
    except FileNotFoundError:
        return None
    except orjson.JSONDecodeError as error:
        raise UserError(
            f"{folder / FILE_NAME} is not JSON: {error}; delete the folder to run the stage again"
        ) from error
    manifest = Manifest(**stored)
    whole = all((folder / path).exists() for path in manifest.files.values())
    return manifest if manifest.fingerprint == fingerprint and whole else None


def write(folder: Path, result: StageResult, *, seconds: float, identity: Mapping[str, Any]) -> None:
    """Check that every promised file is there, then write the manifest atomically.

    What lies inside the folder is named relative to it. A user's own folder of pictures stays where it is.
    """
    files: dict[str, str] = {}
    root = folder.resolve()
    for role, path in result.files.items():
        absolute = (folder / path).resolve() if (folder / path).exists() else path.resolve()
        assert absolute.exists(), f"role {role}: {path} was promised but is not there"
        files[role] = str(absolute.relative_to(root) if absolute.is_relative_to(root) else absolute)
    manifest = Manifest(
        **identity,
        files=files,
        metrics=result.metrics,
        seconds=round(seconds, 3),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
    )
    write_json(folder / FILE_NAME, asdict(manifest))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result."""
    found = {"python": platform.python_version(), "platform": f"{sys.platform} {platform.machine()}"}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
