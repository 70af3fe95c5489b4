"""Judges: none, a file of stored answers, or an endpoint."""

from __future__ import annotations

from pathlib import Path

from mmevol_core.errors import UserError
from mmevol_core.files import file_digest, read_jsonl
from mmevol_eval.benchmark import Judge, Question


class ReplayJudge:
    """Answers from lines `{"index", "outputs": [...]}`; the n-th call for an item gets output min(n, last)."""

    concurrency = 1

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outputs: dict[str, list[str]] = {}
        for number, row in enumerate(read_jsonl(path), start=1):
            outputs = row.get("outputs") if isinstance(row, dict) else None
            if not isinstance(outputs, list) or not outputs or "index" not in row:
                raise UserError(f'{path} record {number}: expected {{"index": ..., "outputs": ["...", ...]}}')
            self._outputs[str(row["index"])] = [str(output) for output in outputs]
        self.name = f"replay:{file_digest(path)}"

    def ask(self, question: Question) -> str:
        """The stored answer; UserError when the file has none for this item."""
        outputs = self._outputs.get(question.index)
        if outputs is None:
            raise UserError(f"{self._path} has no judge outputs for item {question.index!r}, and its reply needs one")
        return outputs[min(question.call, len(outputs) - 1)]


def judge_from(text: str) -> Judge | None:
    """The judge named on the command line: `none`, `replay:FILE.jsonl`, or a YAML file of an endpoint.

    Raises:
        UserError: for anything else.
    """
    if text == "none":
        return None
    if text.startswith("replay:"):
        return ReplayJudge(Path(text.removeprefix("replay:")))
    from mmevol_eval.endpoint import judge_from_yaml

    return judge_from_yaml(Path(text))
