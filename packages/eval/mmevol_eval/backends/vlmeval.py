"""The official VLMEvalKit package as a backend: it scores our predictions, or drives our checkpoint.

The package (`ms-vlmeval` of the registry) cannot share our environment, so it has its own (`make vlmeval-env`) and
runs as a process: `inside/driver.py` gets a request as a file and leaves an answer as a file for every data set. Its
verdicts come back in the shape of `mmevol score`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from mmevol_core.errors import UserError
from mmevol_core.files import file_digest, write_json, write_jsonl
from mmevol_eval.accounting import account
from mmevol_eval.backends import tables
from mmevol_eval.backends.known import RULES, OfficialConfig, official
from mmevol_eval.backends.process import Watch, folder_of, run, unwatched
from mmevol_eval.benchmark import VLMEVALKIT_02RC1, Benchmark, Item
from mmevol_eval.data import locate
from mmevol_eval.judge import ReplayJudge
from mmevol_eval.predictions import Answer
from mmevol_eval.protocol import Protocol, data_hash
from mmevol_eval.score import layout, match_answers, read_answers


class BackendConfig(OfficialConfig):
    """The package and how it asks a checkpoint."""

    beams: int = Field(default=1, ge=1)
    max_new_tokens: int = Field(default=20, ge=1)
    threads: int = Field(default=1, ge=1)
    device: str = "cpu"  # auto: a GPU where there is one

    @property
    def told(self) -> dict[str, Any]:
        """What the model class is told."""
        return self.model_dump(include={"beams", "max_new_tokens", "threads", "device"})

    @property
    def decoding(self) -> dict[str, Any]:
        """What of it decides an answer; the model says with which precision it went about it."""
        return {"beams": self.beams, "max_new_tokens": self.max_new_tokens, "sampling": False}


@dataclass(frozen=True, slots=True)
class Stored:
    """Predictions of one benchmark: the package's TSV, lines `{"index", "prediction"}`, `none` or `replay:FILE`."""

    benchmark: str
    data: Path
    predictions: Path
    judge: str = "none"


def score_official(
    benchmark: str, data: Path, predictions: Path, out: Path, judge: str = "none", config: OfficialConfig | None = None
) -> dict[str, Any]:
    """Let the official package score stored predictions; write its result in the shape of `mmevol score`.

    The package's own files stay in a folder beside `out`, OUT.official. Arguments as in `Stored`.

    Raises:
        UserError: no environment, a benchmark that the package does not have, or predictions that do not match.
    """
    stored = Stored(benchmark, data, predictions, judge)
    (value,) = score_all([stored], out.with_suffix(".official"), config or OfficialConfig()).values()
    write_json(out, value)
    return value


def score_all(
    stored: Sequence[Stored], work: Path, config: OfficialConfig, watch: Watch = unwatched, *, keep: bool = False
) -> dict[str, dict[str, Any]]:
    """Results of several benchmarks by name, from one process.

    Args:
        stored: what to score.
        work: holds the package's files; emptied first.
        config: where the package is.
        watch: is told how many benchmarks are done.
        keep: go on with what an earlier call with the same arguments left, for folders that belong to them alone.
    """
    checked = [_checked(one) for one in stored]
    work = folder_of(work, keep=keep)
    datasets = {}
    for one, (items, given, files) in zip(stored, checked, strict=True):
        name = official(one.benchmark)[1]
        files["predictions"] = work / f"{name}.given.jsonl"
        rows = [{"index": item.index, "prediction": given[item.index].text} for item in items]
        write_jsonl(files["predictions"], rows)
        datasets[name] = files
    answers = run(config, work, {"datasets": datasets}, watch)
    results = {}
    for one, (items, given, files) in zip(stored, checked, strict=True):
        rules, name = official(one.benchmark)
        protocol = _protocol(rules, one.data, answers[name]["version"], files.get("judge"))
        results[rules.name] = result(rules, answers[name], protocol) | account(rules, items, given)
    return results


def _checked(stored: Stored) -> tuple[list[Item], Mapping[str, Answer], dict[str, Path]]:
    """The items, the replies by index, and what the driver is told about one benchmark beside them."""
    rules, _ = official(stored.benchmark)
    items = list(rules.load(stored.data)) if stored.data.is_file() else []
    if not items:
        raise UserError(f"{stored.data} is no TSV with items of {rules.name}; the official package reads nothing else")
    if stored.judge == "none" and rules.needs_judge:
        raise UserError(f"{rules.name} is scored by a judge: give --judge replay:FILE.jsonl")
    kind, _, file = stored.judge.partition(":")
    if kind not in ("none", "replay"):
        raise UserError(f"the official backend takes --judge none or replay:FILE.jsonl, got {stored.judge!r}")
    answers = match_answers(items, read_answers(stored.predictions), stored.predictions)
    files = {"data": stored.data.resolve()}
    if file:
        ReplayJudge(Path(file))  # refuses a file that is not one
        files["judge"] = Path(file).resolve()
    return items, answers, files


def drive(
    checkpoint: Path, names: Sequence[str], root: Path, out: Path, config: BackendConfig
) -> dict[str, dict[str, Any]]:
    """Let the official package ask a checkpoint every question of some benchmarks in its own loop, and score it.

    Writes `out/scores.json` (benchmark -> result as of `score_official`, with the seconds that asking took) and
    `out/NAME.predictions.jsonl`, which `mmevol score` reads.

    Args:
        checkpoint: folder in Hugging Face's format.
        names: benchmarks that need no judge.
        root: folder with their TSVs.
        out: folder to write to.
        config: where the package is, and how it decodes.

    Raises:
        UserError: no environment, no checkpoint, or a benchmark that the package cannot score without a judge.
    """
    paths = {name: locate(root, official(name)[0]) for name in names}
    results = drive_files(checkpoint, paths, out / "official", config)
    for name, found in results.items():
        shutil.copyfile(found.pop("predictions"), out / f"{name}.predictions.jsonl")
    write_json(out / "scores.json", results)
    return results


def drive_files(
    checkpoint: Path,
    paths: Mapping[str, Path],
    work: Path,
    config: BackendConfig,
    watch: Watch = unwatched,
    *,
    keep: bool = False,
) -> dict[str, dict[str, Any]]:
    """Results by benchmark as of `score_official`, with `seconds` and `predictions` (lines `{"index", "prediction"}`).

    Args:
        checkpoint: folder in Hugging Face's format.
        paths: TSV of every benchmark by name.
        work: as in `score_all`, and so are `watch` and `keep`.
        config: where the package is, and how it decodes.
        watch: see there.
        keep: see there.
    """
    if not (checkpoint / "config.json").is_file():
        raise UserError(f"no checkpoint at {checkpoint}: config.json is missing")
    found = {name: official(name) for name in paths}
    judged = [rules.name for rules, _ in found.values() if rules.needs_judge]
    if judged:
        raise UserError(f"the official backend has no judge while it asks a model; leave out {', '.join(judged)}")
    folders = [str(path) for path in paths.values() if path.is_dir()]
    if folders:
        raise UserError(f"the official package reads TSVs; {', '.join(folders)} is a folder")
    work = folder_of(work, keep=keep)
    datasets = {found[name][1]: {"data": path.resolve()} for name, path in paths.items()}
    request = {"checkpoint": checkpoint.resolve(), "decoding": config.told, "datasets": datasets}
    answers = run(config, work, request, watch)
    results = {}
    for name, (rules, theirs) in found.items():
        part = answers[theirs]
        decoding = {**config.decoding, "precision": part["precision"]}
        protocol = _protocol(rules, paths[name], part["version"], None, decoding)
        seconds = {key: part[key] for key in ("wall_s", "cpu_s", "score_wall_s", "score_cpu_s")}
        items, said = list(rules.load(paths[name])), read_answers(Path(part["predictions"]))
        counts = account(rules, items, match_answers(items, said, Path(part["predictions"])))
        more = {"seconds": seconds, "predictions": part["predictions"]}
        results[rules.name] = result(rules, part, protocol) | counts | more
    return results


def result(rules: Benchmark, answer: tables.Table, protocol: Protocol) -> dict[str, Any]:
    """What `mmevol score` writes, from the package's answer; `guessed` lists the rows whose option it drew."""
    scores = tables.scores(answer)
    headline = rules.headline(VLMEVALKIT_02RC1)
    splits = any(name.endswith("|Overall") for name in scores)
    if headline.name not in scores and not (splits and headline.otherwise):  # our name of the package's `Overall`
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
        prompts=VLMEVALKIT_02RC1 if decoding else "stored",
        judge=f"replay:{file_digest(judge)}" if judge else "none",
        judge_prompts="official",
        decoding=decoding or {},
    )
