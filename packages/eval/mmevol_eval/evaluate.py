"""Stage `evaluate`: a checkpoint or an endpoint and a folder of benchmarks in, scores with intervals out.

Read top to bottom: load the items, ask everything (once as it is, once blind with the pictures exchanged), grade and
score through the benchmarks' own rules, and say how sure each number is. The score is a pure function of the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmevol_core.files import write_json, write_jsonl
from mmevol_core.stage import Stage, StageResult
from mmevol_eval import probes
from mmevol_eval.accounting import account
from mmevol_eval.answering import Collected
from mmevol_eval.benchmark import Graded, Question
from mmevol_eval.bootstrap import average, estimate, headline_of
from mmevol_eval.clean import Contaminated, clean_score, read_contaminated
from mmevol_eval.headlines import Row
from mmevol_eval.marking import BLIND, REAL, Marker, Marks, Own
from mmevol_eval.predictions import Answer, Answers
from mmevol_eval.rows import agrees, detectable, graded_row, of_headline, ratings
from mmevol_eval.settings import EvaluateConfig
from mmevol_eval.statistics import MEASURES
from mmevol_eval.tasks import Task, first, load_tasks

TRIED = 200  # items a benchmark whose headline is checked before anything is asked


def evaluate(config: EvaluateConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """Answer, grade, score.

    Raises:
        UserError: a missing checkpoint, benchmark or judge, or an unknown profile, before anything is asked; a judge
            or an endpoint that is not there; more questions without an answer than `max_failed` allows.
    """
    tasks = load_tasks(config, inputs["benchmarks"])
    contaminated = inputs.get("contaminated", config.contaminated)
    listed = read_contaminated(contaminated) if contaminated else Contaminated()
    for task in tasks if config.backend is None else ():
        check_headline(task)
    with closing(_marker(config, tasks, inputs, out_dir)) as marker:
        collected = marker.collect()
        scores, rows = score(tasks, collected, config, marker, listed)
        usage = marker.usage
    if collected.probe:
        scores["gates"] |= probes.measure(collected.probe, collected.answers)
    write_json(out_dir / "scores.json", scores)
    write_jsonl(out_dir / "items.jsonl", rows)
    files = {"scores": out_dir / "scores.json", "items": out_dir / "items.jsonl", "predictions": collected.log}
    metrics = {"average": scores["average"], "gates": scores["gates"], "items": len(rows)}
    if usage:
        metrics["judges"] = usage
    if listed.elsewhere:
        metrics["contaminated_elsewhere"] = sorted(listed.elsewhere)
    return StageResult(files, metrics)


def _marker(config: EvaluateConfig, tasks: Sequence[Task], inputs: Mapping[str, Path], out_dir: Path) -> Marker:
    """Our engine and rules, or the official package."""
    if config.backend is None:
        return Own(config, tasks, inputs, out_dir)
    from mmevol_eval.backends.stage import Official  # used rarely

    return Official(config, config.backend, tasks, inputs, out_dir)


def score(
    tasks: Sequence[Task], collected: Collected, config: EvaluateConfig, marker: Marker, contaminated: Contaminated
) -> tuple[dict[str, Any], list[Row]]:
    """Grade the answers and state the scores; also the rows of `items.jsonl`."""
    answers = collected.answers
    benchmarks: dict[str, Any] = {}
    all_rows: list[Row] = []
    for task in tasks:
        real = marker.mark(task, REAL, collected)
        blind = marker.mark(task, BLIND, collected).graded if config.blind else None
        rows = _rows(task, real.graded, real.scores, blind, answers)
        all_rows += rows
        entry = _entry(task, real, rows, config) | account(task.rules, task.items, of_task(answers, task, REAL))
        if config.blind:
            entry["blind_failed"] = account(task.rules, task.items, of_task(answers, task, BLIND))["failed"]
        listed = contaminated.of(task.rules.name, task.items)
        if listed is not None:
            entry["clean"] = clean_score(task, rows, listed, config.resamples, config.seed)
        benchmarks[task.rules.name] = entry
    return {
        "measures": dict(MEASURES),
        "benchmarks": benchmarks,
        "average": _average(benchmarks, all_rows, config),
        "gates": _gates(benchmarks),
    }, all_rows


def of_task(answers: Answers, task: Task, run: str) -> dict[str, Answer]:
    """The answers of one run of a benchmark, by index."""
    return {item.index: answers[run, task.rules.name, item.index] for item in task.items}


def check_headline(task: Task) -> None:
    """Grade made-up replies and compare the benchmark's own headline with ours, before an answer is paid for.

    Raises:
        AssertionError: they differ, which is a mistake of `headlines.py`.
    """
    items = first(task.items, TRIED)
    judge = Rehearsal() if task.rules.needs_judge else None
    for every in (1, 3):  # all right; one of three right
        replies = {item.index: item.answer if place % every == 0 else "" for place, item in enumerate(items)}
        graded = task.rules.grade_all(items, replies, task.profile, judge)
        answers = {(REAL, task.rules.name, index): Answer(text, None) for index, text in replies.items()}
        scores = task.rules.scores(graded, task.scoring)
        rows = _rows(replace(task, items=items), graded, scores, None, answers)
        _agree(task, scores, rows, headline_of(rows))


class Rehearsal:
    """A judge that costs nothing: its ratings differ, so that a wrong formula shows."""

    name, concurrency = "rehearsal", 1

    def ask(self, question: Question) -> str:
        """Two ratings."""
        return f"{8 - len(question.index) % 2} 7"


def _agree(task: Task, scores: Mapping[str, float], rows: Sequence[Row], percent: float) -> None:
    """The benchmark's own headline is what its sums give, as far as official tools round."""
    headline = task.rules.headline(task.scoring).within(scores)
    if not agrees(headline, scores, rows, percent):
        raise AssertionError(
            f"{task.rules.name}: its own {headline.name} is {scores[headline.name]}, "
            f"headlines.py computes {percent * headline.maximum / 100:.6f}"
        )


def _rows(
    task: Task,
    real: Sequence[Graded],
    scores: Mapping[str, float],
    blind: Sequence[Graded] | None,
    answers: Answers,
) -> list[Row]:
    """One row a graded item, with what the headline's sums and a reader of wrong items need."""
    name, headline = task.rules.name, task.rules.headline(task.scoring).within(scores).name
    rows: list[Row] = []
    for number, verdict in enumerate(real):
        item = verdict.item
        row = graded_row(verdict) | {
            "question": item.question,
            "options": dict(item.options),
            "prediction": answers[REAL, name, item.index].text,
            "failure": answers[REAL, name, item.index].failure,
            "truncated": answers[REAL, name, item.index].truncated,
        }
        if blind is not None:
            other = blind[number]
            text = answers[BLIND, name, item.index].text
            row |= {"blind_score": other.score, "blind_method": other.method, "blind_prediction": text}
            row |= ratings(other, "blind_")
        rows.append(row)
    return of_headline(rows, name, headline)


def _entry(task: Task, real: Marks, rows: Sequence[Row], config: EvaluateConfig) -> dict[str, Any]:
    """A benchmark's part of `scores.json`."""
    headline = task.rules.headline(task.scoring).within(real.scores)
    value, scale = real.scores[headline.name], headline.maximum / 100
    found = estimate(rows, "score", config.resamples, config.seed)
    _agree(task, real.scores, rows, found.value)
    smallest = detectable(found)
    entry: dict[str, Any] = {
        "score": value,
        "unit": headline.unit,
        "headline": headline.name,
        "maximum": headline.maximum,
        "percent": value / scale,
        "ci95": [edge * scale for edge in found.interval],
        "mde": None if smallest is None else smallest * scale,
        "n": len(real.graded),
        "unparsed": sum(verdict.method == "none" for verdict in real.graded),
        "protocol": real.protocol.describe(),
        "protocol_hash": real.protocol.hash,
        "blind": None,
        "real_minus_blind": None,
        "yes_share": yes_share(rows),
        "scores": real.scores,
        **(real.more or {}),
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
    result["mde"] = detectable(found)
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


STAGE = Stage(
    config=EvaluateConfig,
    needs=("benchmarks",),
    run=evaluate,
    version="7",  # 7: intervals of few, lone or uniform clusters, and of averages with them
    accepts=("checkpoint", "held_out", "contaminated"),
)
