"""Who asks and who grades: our own engine and rules, or the official package (`backends/stage.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mmevol_eval.answering import Collected, collect, refuse_failures
from mmevol_eval.benchmark import Graded
from mmevol_eval.judges import Judges
from mmevol_eval.protocol import Protocol as Rules
from mmevol_eval.settings import EvaluateConfig
from mmevol_eval.tasks import Task

REAL, BLIND = "real", "blind"


@dataclass(frozen=True)
class Marks:
    """Verdicts on one benchmark's replies, the scores that follow from them, and the protocol that made both.

    `recount` says whether the benchmark's own rules can compute the scores of some of the verdicts alone; `more` is
    what else stands in the benchmark's part of `scores.json`.
    """

    graded: Sequence[Graded]
    scores: Mapping[str, float]
    protocol: Rules
    recount: bool = True
    more: Mapping[str, Any] | None = None


class Marker(Protocol):
    """One way to answer and grade; made before anything is asked, so that it can refuse what it lacks."""

    def collect(self) -> Collected:
        """Every answer; UserError when nobody can give them, or too many are missing."""
        ...

    def mark(self, task: Task, run: str) -> Marks:
        """Verdicts on the answers of one run, `real` or `blind`."""
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
        self._collected = collect(self._config, self._tasks, self._inputs, self._out)
        refuse_failures(self._collected.answers, self._config)
        return self._collected

    def mark(self, task: Task, run: str) -> Marks:
        """Grade what was answered."""
        name, judge = task.rules.name, self._judges.of(task)
        answers = self._collected.answers
        replies = {item.index: answers[run, name, item.index].text for item in task.items}
        graded = task.rules.grade_all(task.items, replies, task.profile, judge)
        protocol = Rules(
            benchmark=name,
            version=task.rules.version,
            rules=task.profile,
            data=task.data,
            prompts=task.settings.prompts or self._config.prompts,
            judge=judge.name if judge else "none",
            decoding={**self._collected.decoding, "max_new_tokens": task.settings.max_new_tokens},
        )
        return Marks(graded, task.rules.scores(graded, task.scoring), protocol)

    @property
    def usage(self) -> dict[str, Any]:
        """What judges were asked and paid."""
        return self._judges.usage

    def close(self) -> None:
        """Close the judges."""
        self._judges.close()
