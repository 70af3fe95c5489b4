"""Files for evaluation servers, of replies to questions whose answers are not published.

VQAv2's server wants one answer for every question of the test split, `[{"question_id": int, "answer": str}, ...]`, also
when only the test-dev part counts. Source: visualqa.org, evaluation; LLaVA's converter, which the replies go through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mmevol_core.errors import UserError, unknown
from mmevol_core.files import read_json, write_json
from mmevol_eval.benchmarks import find
from mmevol_eval.fetch import missing
from mmevol_eval.grading.folder import one_file, optional_file
from mmevol_eval.grading.vqa import for_submission
from mmevol_eval.score import read_predictions


def write_submission(benchmark: str, data: Path, predictions: Path, out: Path) -> dict[str, int]:
    """Write the server's file; return how many questions it covers and how many of them are left empty.

    Raises:
        UserError: a benchmark without a server, questions that are not there, or replies that do not match them.
    """
    name = find(benchmark).name
    if name not in _WRITERS:
        raise unknown("submission", name, tuple(_WRITERS))
    if not data.is_dir():
        raise UserError(missing(name, data))
    return _WRITERS[name](data, read_predictions(predictions), out)


def _vqa(data: Path, replies: Mapping[str, str], out: Path) -> dict[str, int]:
    """Every question needs a reply, except those of test2015 outside test-dev when both files are there."""
    whole = _ids(one_file(data, "*test2015_questions.json", "*questions*.json"))
    part = optional_file(data, "*test-dev2015_questions.json")
    asked = _ids(part) if part else whole
    lacking = [index for index in asked if str(index) not in replies]
    if lacking:
        raise UserError(
            f"{len(lacking)} of {len(asked)} questions have no reply (first: {lacking[0]}); answer them all"
        )
    known = set(map(str, whole))
    strange = next((index for index in replies if index not in known), None)
    if strange is not None:
        raise UserError(f"question {strange} is not among the {len(whole)} of {data}; wrong split?")
    rows = [{"question_id": index, "answer": for_submission(replies.get(str(index), ""))} for index in whole]
    if len(rows) != len(known) or not known.issuperset(map(str, asked)):
        raise UserError(f"{data}: test-dev has questions that test2015 lacks, or a question occurs twice")
    write_json(out, rows)
    return {"questions": len(rows), "empty": sum(str(index) not in replies for index in whole)}


def _ids(questions: Path) -> list[int]:
    return [row["question_id"] for row in read_json(questions)["questions"]]


_WRITERS: dict[str, Callable[[Path, Mapping[str, str], Path], dict[str, int]]] = {"VQAv2": _vqa}
