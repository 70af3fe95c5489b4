"""The judges of an evaluation: opened before anything is asked, closed at its end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from mmevol_core.errors import UserError
from mmevol_core.files import digest
from mmevol_eval.benchmark import Judge
from mmevol_eval.judge import ChatJudge, check_scripted, judge_from
from mmevol_eval.tasks import Task
from mmevol_eval.twins.mia import ScriptedJudge


class Judges:
    """One judge for every text that names one; journals lie in `out_dir`, what all runs share in `verdicts`.

    Raises:
        UserError: a benchmark that needs a judge has none, or a judge is not there.
    """

    def __init__(self, tasks: Sequence[Task], out_dir: Path, verdicts: Path | None = None) -> None:
        self._judges: dict[str, Judge | None] = {}
        with ExitStack() as undo:
            undo.callback(self.close)
            for task in tasks:
                text = task.settings.judge or "none"
                if text not in self._judges:
                    journal = out_dir / f"judge-{digest([text], 8)}.sqlite"
                    self._judges[text] = judge_from(text, journal, verdicts)
                if task.rules.needs_judge:
                    check_scripted(task.rules.name, text)
                if task.rules.needs_judge and self._judges[text] is None:
                    raise UserError(
                        f"{task.rules.name} is scored by a judge; set evaluate.judge or leave it out of evaluate.names"
                    )
            undo.pop_all()  # all are open: nothing to undo

    def of(self, task: Task) -> Judge | None:
        """The judge of a benchmark; a scripted one serves those that need a judge alone."""
        judge = self._judges[task.settings.judge or "none"]
        return judge if task.rules.needs_judge or not isinstance(judge, ScriptedJudge) else None

    @property
    def usage(self) -> dict[str, dict[str, float]]:
        """What every judge behind an endpoint was asked and paid by this run, by its name."""
        return {judge.name: judge.usage for judge in self._judges.values() if isinstance(judge, ChatJudge)}

    def close(self) -> None:
        """Close the journals."""
        for judge in self._judges.values():
            if isinstance(judge, ChatJudge):
                judge.close()
        self._judges.clear()
