"""The official package as a process in its own environment: a request file in, an answer file a data set out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.files import digest, file_digest, read_json, write_json
from mmevol_eval.backends.known import OfficialConfig

DRIVER = Path(__file__).parent / "inside" / "driver.py"
REQUEST, ANSWERS, LOG = "request.json", "answers", "log.txt"
LOOK_S = 0.5  # between two looks at how far the package is

Watch = Callable[[int], None]  # is told how many data sets are done


def unwatched(done: int) -> None:
    """For those who wait without looking."""


def folder_of(folder: Path, *, keep: bool) -> Path:
    """A folder for the package, empty unless what an earlier call left is to be kept, as far as `run` finds it fits."""
    if folder.exists() and not keep:
        shutil.rmtree(folder)
    (folder / ANSWERS).mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def run(config: OfficialConfig, work: Path, request: Mapping[str, Any], watch: Watch) -> dict[str, Any]:
    """Start the driver in the package's environment and wait for its answers, by data set.

    An answer of an earlier call stays when it was made from the same: the data set's files byte for byte, the
    checkpoint and how it decodes. The driver ends when this process does: its standard input is a pipe that then
    closes.
    """
    datasets = {name: {**files, "made_from": _made_from(files, request)} for name, files in request["datasets"].items()}
    write_json(work / REQUEST, _texts({**request, "datasets": datasets, "work": work}))
    command = [str(config.python), str(DRIVER), str(work / REQUEST)]
    answers = {name: work / ANSWERS / f"{name}.json" for name in datasets}
    for name, path in answers.items():
        if path.is_file() and read_json(path).get("made_from") != datasets[name]["made_from"]:
            path.unlink()
    with (work / LOG).open("wb") as output:
        process = subprocess.Popen(command, cwd=work, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                watch(sum(path.is_file() for path in answers.values()))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_S)
        finally:
            process.kill()
            process.communicate()
    if process.returncode or not all(path.is_file() for path in answers.values()):
        said = (work / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = said[-1] if said else "nothing was said"
        raise UserError(f"the official package failed: {last}; all it said is in {work / LOG}")
    return {name: read_json(path) for name, path in answers.items()}


def _made_from(files: Mapping[str, Path], request: Mapping[str, Any]) -> str:
    """Digest of the files (of the checkpoint's: names, sizes, times) and of the decoding."""
    checkpoint = sorted(request["checkpoint"].iterdir()) if "checkpoint" in request else []
    weights = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in checkpoint]
    return digest([{role: file_digest(path) for role, path in files.items()}, weights, request.get("decoding")])


def _texts(value: Any) -> Any:
    """Paths as text, at any depth."""
    if isinstance(value, Mapping):
        return {key: _texts(part) for key, part in value.items()}
    return str(value) if isinstance(value, Path) else value
