"""Stage `evaluate`: a checkpoint and a folder of benchmarks in, scores with intervals out.

Read top to bottom: load the items, ask everything (once as it is, once blind with the pictures exchanged), grade and
score through the benchmarks' own rules, and say how sure each number is. The score is a pure function of the log.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.files import digest, write_json, write_jsonl
from mmevol_core.stage import Stage, StageResult
from mmevol_eval import probes
from mmevol_eval.benchmark import Benchmark, Graded, Image, Item, Judge, Message
from mmevol_eval.benchmarks import find
from mmevol_eval.data import locate
from mmevol_eval.headlines import Row
from mmevol_eval.judge import judge_from
from mmevol_eval.models import LocalModel, Model
from mmevol_eval.predictions import Answers, Ask, answer_all
from mmevol_eval.protocol import Protocol, data_hash
from mmevol_eval.score import default_rules
from mmevol_eval.statistics import average, estimate, headline_of
from mmevol_eval.twins.mia import ScriptedJudge

ROUNDING = 0.011  # percent; official tools round their aggregates to two digits


class EvaluateConfig(Config):
    """Settings of stage `evaluate`."""

    names: tuple[str, ...]  # benchmarks, in the order of the report
    prompts: str = "vlmevalkit"  # profile of prompts: vlmevalkit, mmevol, mmevol_compat
    rules: str | None = None  # profile of rules; None: each benchmark's default
    rules_of: Mapping[str, str] = Field(default_factory=dict)  # other rules for single benchmarks
    batch_size: int = 64  # halved when memory runs out
    max_new_tokens: int = 20
    beams: int = 1
    blind: bool = True  # ask again with the pictures exchanged
    threads: int = 1
    device: str = "cpu"
    judge: str = "none"  # none, scripted (tiny MIA-Bench only), replay:FILE.jsonl or a judge's YAML
    seed: int = 0
    probes: bool = True  # gates of the tiny world, from the held-out pictures
    probe_items: int = 300
    resamples: int = 2000


@dataclass(frozen=True)
class Task:
    """A benchmark ready to be asked."""

    rules: Benchmark
    profile: str  # of its rules
    items: Sequence[Item]
    data: str  # hash of its files


def evaluate(config: EvaluateConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """Answer, grade, score.

    Raises:
        UserError: a missing checkpoint, benchmark or judge, or an unknown profile, before anything is asked.
    """
    tasks = load_tasks(config, inputs["benchmarks"])
    judge = ScriptedJudge() if config.judge == "scripted" else judge_from(config.judge)
    for task in tasks:
        if task.rules.needs_judge and judge is None:
            raise UserError(
                f"{task.rules.name} is scored by a judge; set evaluate.judge or leave it out of evaluate.names"
            )
    model = LocalModel(
        inputs["checkpoint"],
        batch_size=config.batch_size,
        max_new_tokens=config.max_new_tokens,
        beams=config.beams,
        threads=config.threads,
        device=config.device,
    )
    asks = [ask for task in tasks for ask in questions(task, config)]
    probe = probes.prepare(inputs["held_out"], config.probe_items, config.seed) if _probing(config, inputs) else None
    log = out_dir / "predictions.jsonl"
    answers = answer_all([*asks, *(probe.asks if probe else ())], model, log, out_dir)
    scores, rows = score(tasks, answers, config, judge, model)
    if probe:
        scores["gates"] |= probes.measure(probe, answers)
    write_json(out_dir / "scores.json", scores)
    write_jsonl(out_dir / "items.jsonl", rows)
    files = {"scores": out_dir / "scores.json", "items": out_dir / "items.jsonl", "predictions": log}
    return StageResult(files, {"average": scores["average"], "gates": scores["gates"], "items": len(rows)})


def load_tasks(config: EvaluateConfig, root: Path) -> list[Task]:
    """Find and read every benchmark."""
    tasks = []
    for name in config.names:
        rules = find(name)
        path = locate(root, rules)
        items = list(rules.load(path))
        if not items:
            raise UserError(f"{rules.name}: {path} holds no items")
        wanted = config.rules_of.get(rules.name, config.rules)
        profile = rules.check_rules(wanted or default_rules(rules, path))
        tasks.append(Task(rules, profile, items, data_hash(path)))
    return tasks


def questions(task: Task, config: EvaluateConfig) -> list[Ask]:
    """Every item as it is and, when wanted, with another item's picture in place of its own."""
    asks = [Ask("real", task.rules.name, item.index, task.rules.prompt(item, config.prompts)) for item in task.items]
    if not config.blind:
        return asks
    donors = derange([ask.message.images for ask in asks], f"{config.seed}:{task.rules.name}")
    return asks + [
        Ask("blind", ask.benchmark, ask.index, with_images(ask.message, donor))
        for ask, donor in zip(asks, donors, strict=True)
    ]


def derange(images: Sequence[tuple[Image, ...]], seed: str) -> list[tuple[Image, ...]]:
    """For every item the pictures of another: different pictures are exchanged along one random cycle.

    Items that share pictures get the same ones again, so pairs and groups stay together.

    Raises:
        UserError: all items show the same picture, so none can be exchanged.
    """
    own = [digest([image if isinstance(image, str) else _bytes(image).hex() for image in group]) for group in images]
    first = {key: group for key, group in zip(own, images, strict=True) if group}
    if len(first) == 1:
        raise UserError("a blind run needs at least two different pictures; set evaluate.blind=false")
    cycle = sorted(first)
    random.Random(seed).shuffle(cycle)
    following = dict(zip(cycle, cycle[1:] + cycle[:1], strict=True))
    return [first[following[key]] if key in following else () for key in own]


def with_images(message: Message, images: Sequence[Image]) -> Message:
    """The message with other pictures at its places for pictures (repeated or cut to as many as it has)."""
    places = iter([images[number % len(images)] for number in range(len(message.images))] if images else [])
    return Message(tuple(part if isinstance(part, str) else next(places) for part in message.parts), message.system)


def score(
    tasks: Sequence[Task], answers: Answers, config: EvaluateConfig, judge: Judge | None, model: Model
) -> tuple[dict[str, Any], list[Row]]:
    """Grade the answers and state the scores; also the rows of `items.jsonl`."""
    benchmarks: dict[str, Any] = {}
    all_rows: list[Row] = []
    for task in tasks:
        own_judge = judge if task.rules.needs_judge or not isinstance(judge, ScriptedJudge) else None
        real = _graded(task, answers, "real", own_judge)
        blind = _graded(task, answers, "blind", own_judge) if config.blind else None
        rows = _rows(task, real, blind, answers)
        all_rows += rows
        protocol = Protocol(
            benchmark=task.rules.name,
            version=task.rules.version,
            rules=task.profile,
            data=task.data,
            prompts=config.prompts,
            judge=own_judge.name if own_judge else "none",
            decoding=dict(model.decoding),
        )
        failed = sum(answers["real", task.rules.name, item.index].failure is not None for item in task.items)
        benchmarks[task.rules.name] = _entry(task, real, rows, protocol, config) | {"failed": failed}
    return {
        "benchmarks": benchmarks,
        "average": _average(benchmarks, all_rows, config),
        "gates": _gates(benchmarks),
    }, all_rows


def _graded(task: Task, answers: Answers, run: str, judge: Judge | None) -> list[Graded]:
    replies = {item.index: answers[run, task.rules.name, item.index].text for item in task.items}
    return task.rules.grade_all(task.items, replies, task.profile, judge)


def _rows(task: Task, real: Sequence[Graded], blind: Sequence[Graded] | None, answers: Answers) -> list[Row]:
    """One row a graded item, with what the headline's sums and a reader of wrong items need."""
    name, headline = task.rules.name, task.rules.headline(task.profile).name
    rows: list[Row] = []
    for number, verdict in enumerate(real):
        item = verdict.item
        row: Row = {
            "benchmark": name,
            "headline": headline,
            "index": item.index,
            "cluster": item.cluster or item.index,
            "category": item.category,
            "split": item.split,
            "group": item.extra.get("image_path", item.cluster),
            "question": item.question,
            "options": dict(item.options),
            "answer": item.answer,
            "prediction": answers["real", name, item.index].text,
            "parsed": verdict.parsed,
            "method": verdict.method,
            "score": verdict.score,
        }
        if blind is not None:
            other = blind[number]
            text = answers["blind", name, item.index].text
            row |= {"blind_score": other.score, "blind_method": other.method, "blind_prediction": text}
        rows.append(row)
    return rows


def _entry(
    task: Task, real: Sequence[Graded], rows: Sequence[Row], protocol: Protocol, config: EvaluateConfig
) -> dict[str, Any]:
    """A benchmark's part of `scores.json`."""
    scores = task.rules.scores(real, task.profile)
    headline = task.rules.headline(task.profile)
    value, scale = scores[headline.name], headline.maximum / 100
    found = estimate(rows, "score", config.resamples, config.seed)
    if abs(found.value * scale - value) > ROUNDING * max(scale, 1):
        raise AssertionError(
            f"{task.rules.name}: its own {headline.name} is {value}, headlines.py computes {found.value * scale:.6f}"
        )
    entry: dict[str, Any] = {
        "score": value,
        "unit": headline.unit,
        "headline": headline.name,
        "maximum": headline.maximum,
        "percent": value / scale,
        "ci95": [edge * scale for edge in found.interval],
        "n": len(real),
        "unparsed": sum(verdict.method == "none" for verdict in real),
        "protocol": protocol.describe(),
        "protocol_hash": protocol.hash,
        "blind": None,
        "real_minus_blind": None,
        "yes_share": yes_share(rows),
        "scores": scores,
    }
    if config.blind:
        gain = estimate(rows, "real_minus_blind", config.resamples, config.seed)
        entry["blind"] = headline_of(rows, "blind_score") * scale
        entry["real_minus_blind"] = gain.value * scale
        entry["real_minus_blind_ci95"] = [edge * scale for edge in gain.interval]
    return entry


def yes_share(rows: Sequence[Row]) -> float | None:
    """Share of replies "yes" among those to yes/no questions (0..1); None without such questions."""
    asked = [row for row in rows if row["answer"].strip().lower() in ("yes", "no")]
    if not asked:
        return None
    said = sum(bool(row["prediction"].strip().lower().startswith("yes")) for row in asked)
    return said / len(asked)


def _average(benchmarks: Mapping[str, Any], rows: Sequence[Row], config: EvaluateConfig) -> dict[str, Any]:
    """Mean over benchmarks, percent, with its interval."""
    by_name = {name: [row for row in rows if row["benchmark"] == name] for name in benchmarks}
    found = average([estimate(by_name[name], "score", config.resamples, config.seed) for name in by_name])
    result: dict[str, Any] = {"score": found.value, "ci95": list(found.interval), "n": len(rows), "unit": "percent"}
    result |= {"blind": None, "real_minus_blind": None}
    if config.blind:
        gain = average([estimate(by_name[name], "real_minus_blind", config.resamples, config.seed) for name in by_name])
        result |= {"blind": found.value - gain.value, "real_minus_blind": gain.value}
        result["real_minus_blind_ci95"] = list(gain.interval)
    return result


def _gates(benchmarks: Mapping[str, Any]) -> dict[str, Any]:
    """Readings that every evaluation has; the probes add theirs."""
    shares = {name: entry["yes_share"] for name, entry in benchmarks.items() if entry["yes_share"] is not None}
    return {"yes_share": shares}


def _probing(config: EvaluateConfig, inputs: Mapping[str, Path]) -> bool:
    return config.probes and "held_out" in inputs


def _bytes(image: Image) -> bytes:
    return image if isinstance(image, bytes) else image.read_bytes()


STAGE = Stage(
    config=EvaluateConfig, needs=("checkpoint", "benchmarks"), run=evaluate, version="1", accepts=("held_out",)
)
