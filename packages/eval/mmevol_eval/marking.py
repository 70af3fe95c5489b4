"""Who asks and who grades: our own engine and rules, or the official package (`backends/stage.py`)."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmevol_eval.answering import Collected, collect, refuse_failures
from mmevol_eval.benchmark import Graded
from mmevol_eval.judges import Judges
from mmevol_eval.predictions import without_reply
from mmevol_eval.protocol import Protocol
from mmevol_eval.rows import check_scored
from mmevol_eval.settings import EvaluateConfig
from mmevol_eval.tasks import Task

REAL, BLIND = "real", "blind"


@dataclass(frozen=True)
class Marks:
    """Verdicts on one benchmark's replies, the scores that follow from them, and the protocol that made both.

    `more` is what else stands in the benchmark's part of `scores.json`.
    """

    graded: Sequence[Graded]
    scores: Mapping[str, float]
    protocol: Protocol
    more: Mapping[str, Any] | None = None


class Marker(typing.Protocol):
    """One way to answer and grade; made before anything is asked, so that it can refuse what it lacks."""

    def collect(self) -> Collected:
        """Every answer; UserError when nobody can give them, or too many are missing."""
        ...

    def mark(self, task: Task, run: str, collected: Collected) -> Marks:
        """Verdicts on one run, `real` or `blind`, of what `collect` gave."""
        ...

    @property
    def usage(self) -> dict[str, Any]:
        """What judges were asked and paid, by name; empty without one."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class Own:
    """Our engine asks, the benchmarks' own rules grade, with judges where they are set.

    Raises:
        UserError: a judge that is needed and not named, or not there.
    """

    def __init__(
        self, config: EvaluateConfig, tasks: Sequence[Task], inputs: Mapping[str, Path], out_dir: Path
    ) -> None:
        self._config, self._tasks, self._inputs, self._out = config, tasks, inputs, out_dir
        self._judges = Judges(tasks, out_dir, config.verdicts)

    def collect(self) -> Collected:
        """Ask the checkpoint or the endpoint."""
        collected = collect(self._config, self._tasks, self._inputs, self._out)
        refuse_failures(collected.answers, self._config)
        return collected

    def mark(self, task: Task, run: str, collected: Collected) -> Marks:
        """Grade what was answered."""
        name, judge = task.rules.name, self._judges.of(task)
        answers = {item.index: collected.answers[run, name, item.index] for item in task.items}
        replies = {index: answer.text for index, answer in answers.items()}
        graded = task.rules.grade_all(task.items, replies, task.profile, judge, without_reply(answers))
        check_scored(name, graded)
        made_by = Protocol(
            benchmark=name,
            version=task.rules.version,
            rules=task.profile,
            data=task.data,
            prompts=task.settings.prompts or self._config.prompts,
            judge=judge.name if judge else "none",
            decoding={**collected.decoding, "max_new_tokens": task.settings.max_new_tokens},
        )
        return Marks(graded, task.rules.scores(graded, task.scoring), made_by)

    @property
    def usage(self) -> dict[str, Any]:
        """What judges were asked and paid."""
        return self._judges.usage

    def close(self) -> None:
        """Close the judges."""
        self._judges.close()
