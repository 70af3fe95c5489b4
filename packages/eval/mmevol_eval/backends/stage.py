"""The official package within stage `evaluate`: it asks and scores, or scores what our engine was told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmevol_core.files import read_jsonl, write_jsonl
from mmevol_core.progress import Progress
from mmevol_eval.answering import LOG, Collected, collect, refuse_failures
from mmevol_eval.backends.known import OfficialConfig
from mmevol_eval.backends.vlmeval import BackendConfig, Stored, drive_files, score_all
from mmevol_eval.benchmark import Graded, Item
from mmevol_eval.marking import BLIND, REAL, Marks
from mmevol_eval.predictions import Answer, Place
from mmevol_eval.protocol import Protocol
from mmevol_eval.settings import EvaluateConfig
from mmevol_eval.tasks import Task

FOLDER = "official"  # below the stage's folder: the package's own files


Results = dict[str, dict[str, dict[str, Any]]]  # by run and benchmark


@dataclass(frozen=True)
class Scored(Collected):
    """Answers with what the package made of them."""

    results: Results


class Official:
    """The official package's verdicts and numbers, under its own protocol.

    A stage that was killed goes on after the last benchmark that was whole: its folder belongs to one configuration.

    Raises:
        UserError: there is no package.
    """

    def __init__(
        self,
        config: EvaluateConfig,
        backend: OfficialConfig,
        tasks: Sequence[Task],
        inputs: Mapping[str, Path],
        out_dir: Path,
    ) -> None:
        backend.python  # noqa: B018 - is it there?
        self._config, self._backend, self._tasks, self._inputs = config, backend, tasks, inputs
        self._out = out_dir

    def collect(self) -> Collected:
        """Have the package ask and score; or ask, and have it score."""
        if self._backend.asks:
            return self._driven()
        collected = collect(self._config, self._tasks, self._inputs, self._out)
        refuse_failures(collected.answers, self._config)
        results: Results = {}
        for run in (REAL, BLIND) if self._config.blind else (REAL,):
            stored = [self._stored(task, run, collected) for task in self._tasks]
            with self._progress(f"official package scores ({run})") as progress:
                folder = self._out / FOLDER / run
                results[run] = score_all(stored, folder, self._backend, progress.update, keep=True)
        return Scored(**vars(collected), results=results)

    def mark(self, task: Task, run: str, collected: Collected) -> Marks:
        """The package's verdicts in our order."""
        assert isinstance(collected, Scored)
        found = collected.results[run][task.rules.name]
        verdicts = {row["index"]: row for row in found["items"]}
        graded = [_graded(item, verdicts[item.index]) for item in task.items]
        protocol = Protocol(**found["protocol"])
        if not self._backend.asks:
            decoding = {**collected.decoding, "max_new_tokens": task.settings.max_new_tokens}
            protocol = replace(protocol, prompts=task.settings.prompts or self._config.prompts, decoding=decoding)
        more = {key: found[key] for key in ("guessed", "seconds") if found.get(key)}
        return Marks(graded, found["scores"], protocol, more=more)

    @property
    def usage(self) -> dict[str, Any]:
        """It asks no judge that is paid."""
        return {}

    def close(self) -> None:
        """Nothing is held between calls."""

    def _driven(self) -> Collected:
        config = self._config
        told = BackendConfig(
            environment=self._backend.environment,
            beams=config.beams,
            max_new_tokens=config.max_new_tokens,
            threads=config.threads,
            device=config.device,
        )
        paths = {task.rules.name: task.path for task in self._tasks}
        with self._progress("official package asks") as progress:
            work = self._out / FOLDER / REAL
            results = drive_files(self._inputs["checkpoint"], paths, work, told, progress.update, keep=True)
        answers = dict(_replies(results))
        log = self._out / LOG
        write_jsonl(log, _lines(answers))
        return Scored(answers, told.decoding, log, None, {REAL: results})

    def _stored(self, task: Task, run: str, collected: Collected) -> Stored:
        name = task.rules.name
        rows = [
            {"index": item.index, "prediction": collected.answers[run, name, item.index].text} for item in task.items
        ]
        predictions = self._out / FOLDER / f"{run}.{name}.jsonl"
        predictions.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(predictions, rows)
        judge = task.settings.judge or "none"
        return Stored(name, task.path, predictions, judge if judge.startswith("replay:") else "none")

    def _progress(self, title: str) -> Progress:
        return Progress(self._out, title, len(self._tasks), "benchmarks")


def _graded(item: Item, verdict: Mapping[str, Any]) -> Graded:
    return Graded(item, verdict["score"], verdict["parsed"], verdict["method"])


def _replies(results: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[Place, Answer]]:
    for name, found in results.items():
        for row in read_jsonl(Path(found["predictions"])):
            yield (REAL, name, str(row["index"])), Answer(row["prediction"], None)


def _lines(answers: Mapping[Place, Answer]) -> Iterable[dict[str, Any]]:
    for (run, name, index), answer in answers.items():
        yield {"run": run, "benchmark": name, "index": index, "prediction": answer.text, "failure": answer.failure}
