"""The protocol that made a number, and its hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.files import digest, file_digest, read_json, write_json
from mmevol_eval.benchmark import OFFICIAL, Benchmark
from mmevol_eval.grading.judging import PROMPT_VERSION

STORED = "stored"  # prompts and decoding are not known when predictions from elsewhere are scored
BESIDE = ".protocol.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Everything that may change a score besides the model.

    `data` is a hash of the benchmark's files, `judge` the judge's name (`none` without one), `decoding` whatever the
    model's engine was told: beams, temperature, longest answer, precision; not the batch size or threads, which change
    no answer.
    """

    benchmark: str
    version: str
    rules: str
    data: str
    prompts: str = STORED
    judge: str = "none"
    judge_prompts: str = PROMPT_VERSION
    decoding: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits; equal protocols have equal hashes."""
        return digest(asdict(self))

    def describe(self) -> dict[str, Any]:
        """The protocol as plain values."""
        return asdict(self)


def tell(predictions: Path, prompts: str, decoding: Mapping[str, Any]) -> None:
    """Write beside stored predictions (`p.protocol.json` for `p.jsonl`) how they were asked for."""
    made = {"predictions": file_digest(predictions), "prompts": prompts, "decoding": decoding}
    write_json(predictions.with_suffix(BESIDE), made)


def told(predictions: Path) -> dict[str, Any]:
    """`prompts` and `decoding` of stored predictions, where `tell` wrote them of just these; empty when not."""
    beside = predictions.with_suffix(BESIDE)
    made = read_json(beside) if beside.is_file() else None
    if not isinstance(made, dict) or made.get("predictions") != file_digest(predictions):
        return {}
    return {key: made[key] for key in ("prompts", "decoding")}


def data_hash(path: Path) -> str:
    """Hash of a benchmark's file, or of the data files of its folder (images are left out).

    Raises:
        UserError: there is nothing at `path`.
    """
    if path.is_file():
        return file_digest(path)
    if not path.is_dir():
        raise UserError(f"benchmark data not found: {path}")
    files = sorted(file for file in path.iterdir() if file.suffix in {".json", ".jsonl", ".tsv"})
    if not files:
        raise UserError(f"{path} holds no .json, .jsonl or .tsv file of a benchmark")
    return digest({file.name: file_digest(file) for file in files})


def default_rules(benchmark: Benchmark, data: Path) -> str:
    """The rules when none are named: the official evaluator's for a folder of official files, where they can run."""
    official = data.is_dir() and OFFICIAL in benchmark.rules and benchmark.official_here()
    return OFFICIAL if official else benchmark.rules[0]
