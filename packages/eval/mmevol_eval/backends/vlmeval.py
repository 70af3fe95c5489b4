"""The official VLMEvalKit package as a backend: it scores our predictions, or drives our checkpoint.

The package (`ms-vlmeval` of the registry) cannot share our environment, so it has its own (`make vlmeval-env`) and
runs as a process: `inside/driver.py` gets a request as a file and leaves an answer as a file. Its verdicts come back
in the shape of `mmevol score`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from mmevol_core.config import Config
from mmevol_core.errors import UserError, unknown
from mmevol_core.files import file_digest, read_json, write_json, write_jsonl
from mmevol_eval.backends import tables
from mmevol_eval.benchmark import VLMEVALKIT_02RC1, Benchmark
from mmevol_eval.benchmarks import find
from mmevol_eval.data import locate
from mmevol_eval.judge import ReplayJudge
from mmevol_eval.protocol import Protocol, data_hash
from mmevol_eval.score import layout, match, read_predictions

RULES = f"{VLMEVALKIT_02RC1} (official package)"
DRIVER = Path(__file__).parent / "inside" / "driver.py"
OFFICIAL = {  # our name -> the package's; those with several of the kind go by the name of the file
    "MME": "MME",
    "MMStar": "MMStar",
    "HallusionBench": "HallusionBench",
    "MathVista_MINI": "MathVista_MINI",
    "MMMU_DEV_VAL": "MMMU_DEV_VAL",
    "AI2D_TEST": "AI2D_TEST",
    "POPE": "POPE",
    "BLINK": "BLINK",
    "RealWorldQA": "RealWorldQA",
    "GQA": "GQA_TestDev_Balanced",
    "MIA-Bench": "MIA-Bench",
    "MMVet": "MMVet",
    "LLaVABench": "LLaVABench",
    "OCRBench": "OCRBench",
    "MMBench": "MMBench_DEV_EN",
    "ScienceQA": "ScienceQA_TEST",
    "TextVQA": "TextVQA_VAL",
}


class BackendConfig(Config):
    """Where the official package is, and how it asks a checkpoint; the keys of `conf/backend/*.yaml`."""

    environment: Path = Path(".venv-vlmeval")
    beams: int = Field(default=1, ge=1)
    max_new_tokens: int = Field(default=20, ge=1)
    threads: int = Field(default=1, ge=1)
    device: str = "cpu"  # auto: a GPU where there is one

    @property
    def decoding(self) -> dict[str, Any]:
        """What the model class is told."""
        return self.model_dump(exclude={"environment"})


@dataclass(frozen=True, slots=True)
class Stored:
    """Predictions of one benchmark: the package's TSV, lines `{"index", "prediction"}`, `none` or `replay:FILE`."""

    benchmark: str
    data: Path
    predictions: Path
    judge: str = "none"


def score_official(
    benchmark: str, data: Path, predictions: Path, out: Path, judge: str = "none", config: BackendConfig | None = None
) -> dict[str, Any]:
    """Let the official package score stored predictions; write its result in the shape of `mmevol score`.

    The package's own files stay in a folder beside `out`, OUT.official. Arguments as in `Stored`.

    Raises:
        UserError: no environment, a benchmark that the package does not have, or predictions that do not match.
    """
    stored = Stored(benchmark, data, predictions, judge)
    (value,) = score_all([stored], out.with_suffix(".official"), config or BackendConfig()).values()
    write_json(out, value)
    return value


def score_all(stored: Sequence[Stored], work: Path, config: BackendConfig) -> dict[str, dict[str, Any]]:
    """Results of several benchmarks by name, from one process; `work` is emptied and holds the package's files."""
    work = _fresh(work)
    datasets = {official(one.benchmark)[1]: _request(one, work) for one in stored}
    answer = _run(config, work, datasets)
    results = {}
    for one in stored:
        rules, name = official(one.benchmark)
        judge = datasets[name].get("judge")
        protocol = _protocol(rules, one.data, answer["version"], judge)
        results[rules.name] = result(rules, answer["datasets"][name], protocol)
    return results


def _request(stored: Stored, work: Path) -> dict[str, Path]:
    """What the driver is told about one benchmark, checked."""
    rules, name = official(stored.benchmark)
    items = list(rules.load(stored.data)) if stored.data.is_file() else []
    if not items:
        raise UserError(f"{stored.data} is no TSV with items of {rules.name}; the official package reads nothing else")
    if stored.judge == "none" and rules.needs_judge:
        raise UserError(f"{rules.name} is scored by a judge: give --judge replay:FILE.jsonl")
    kind, _, file = stored.judge.partition(":")
    if kind not in ("none", "replay"):
        raise UserError(f"the official backend takes --judge none or replay:FILE.jsonl, got {stored.judge!r}")
    replies = match(items, read_predictions(stored.predictions), stored.predictions)
    given = work / f"{name}.given.jsonl"
    write_jsonl(given, [{"index": item.index, "prediction": replies[item.index]} for item in items])
    files = {"data": stored.data.resolve(), "predictions": given}
    if file:
        ReplayJudge(Path(file))  # refuses a file that is not one
        files["judge"] = Path(file).resolve()
    return files


def drive(
    checkpoint: Path, names: Sequence[str], root: Path, out: Path, config: BackendConfig
) -> dict[str, dict[str, Any]]:
    """Let the official package ask a checkpoint every question of some benchmarks in its own loop, and score it.

    Writes `out/scores.json` (benchmark -> result as of `score_official`, with the seconds that asking took) and
    `out/NAME.predictions.jsonl`, which `mmevol score` reads.

    Args:
        names: benchmarks that need no judge.
        root: folder with their TSVs.

    Raises:
        UserError: no environment, no checkpoint, or a benchmark that the package cannot score without a judge.
    """
    if not (checkpoint / "config.json").is_file():
        raise UserError(f"no checkpoint at {checkpoint}: config.json is missing")
    found = [official(name) for name in names]
    judged = [rules.name for rules, _ in found if rules.needs_judge]
    if judged:
        raise UserError(f"the official backend has no judge while it asks a model; leave out {', '.join(judged)}")
    paths = {name: locate(root, rules).resolve() for rules, name in found}
    folders = [name for name, path in paths.items() if path.is_dir()]
    if folders:
        raise UserError(f"the official package reads TSVs; in {root} {', '.join(folders)} is a folder")
    work = _fresh(out / "official")
    datasets = {name: {"data": path} for name, path in paths.items()}
    answer = _run(config, work, datasets, checkpoint=checkpoint.resolve())
    results = {}
    for rules, name in found:
        part = answer["datasets"][name]
        protocol = _protocol(rules, paths[name], answer["version"], None, config.decoding)
        results[rules.name] = result(rules, part, protocol)
        results[rules.name]["seconds"] = {key: part[key] for key in ("wall_s", "cpu_s", "score_wall_s", "score_cpu_s")}
        shutil.copyfile(part["predictions"], out / f"{rules.name}.predictions.jsonl")
    write_json(out / "scores.json", results)
    return results


def official(benchmark: str) -> tuple[Benchmark, str]:
    """The benchmark and the package's name of it.

    Raises:
        UserError: an unknown benchmark, or one that the package does not have.
    """
    rules = find(benchmark)
    if rules.name not in OFFICIAL:
        raise unknown("benchmark of the official package", benchmark, OFFICIAL)
    exact = next((alias for alias in rules.aliases if alias.lower() == benchmark.lower()), "")
    several = rules.name in ("MMBench", "ScienceQA")
    return rules, exact if several and exact else OFFICIAL[rules.name]


def result(rules: Benchmark, answer: tables.Table, protocol: Protocol) -> dict[str, Any]:
    """What `mmevol score` writes, from the package's answer; `guessed` lists the rows whose option it drew."""
    scores = tables.scores(answer)
    headline = rules.headline(VLMEVALKIT_02RC1)
    if headline.name not in scores:  # our name of the package's `Overall`
        scores = {headline.name: scores["Overall"]} | scores
    rows = answer["items"]
    guessed = [row["index"] for row in rows if row["method"] == "random"]
    items = [row | {"method": "none" if row["method"] == "random" else row["method"]} for row in rows]
    return layout(rules, headline, scores, items, protocol) | {"guessed": guessed}


def _protocol(
    rules: Benchmark, data: Path, version: str, judge: Path | None, decoding: Mapping[str, Any] | None = None
) -> Protocol:
    return Protocol(
        benchmark=rules.name,
        version=f"ms-vlmeval {version}",
        rules=RULES,
        data=data_hash(data),
        prompts="vlmevalkit-0.2rc1" if decoding else "stored",
        judge=f"replay:{file_digest(judge)}" if judge else "none",
        judge_prompts="official",
        decoding=decoding or {},
    )


def _fresh(folder: Path) -> Path:
    """An empty folder: the package takes up whatever results it finds."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder.resolve()


def _run(
    config: BackendConfig,
    work: Path,
    datasets: Mapping[str, Mapping[str, Path]],
    *,
    checkpoint: Path | None = None,
) -> dict[str, Any]:
    """Start the driver in the package's environment and wait for its answer."""
    python = config.environment / "bin" / "python"
    if not python.is_file():
        raise UserError(f"the official package is not installed: {python} does not exist; run `make vlmeval-env`")
    request = {
        "work": str(work),
        "answer": str(work / "answer.json"),
        "checkpoint": str(checkpoint) if checkpoint else None,
        "decoding": config.decoding,
        "datasets": {name: {key: str(path) for key, path in files.items()} for name, files in datasets.items()},
    }
    write_json(work / "request.json", request)
    log = work / "log.txt"
    with log.open("wb") as output:
        command = [str(python.absolute()), str(DRIVER), str(work / "request.json")]
        ended = subprocess.run(command, cwd=work, stdout=output, stderr=subprocess.STDOUT, check=False)
    if ended.returncode or not (work / "answer.json").is_file():
        last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing was said"])[-1]
        raise UserError(f"the official package failed: {last}; all it said is in {log}")
    answer: dict[str, Any] = read_json(work / "answer.json")
    return answer
