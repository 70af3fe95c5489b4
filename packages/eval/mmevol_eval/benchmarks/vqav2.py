"""VQAv2: open questions with ten human answers each.

Data: a folder with the official questions and annotations (`*questions*.json`, `*annotations*.json`; val2014 has
214,354 questions) and images in `images/`. Without annotations (test-dev) only a submission can be written.
Prompt: the question, then a request for a single word or phrase.
Unparsed: nothing is; every reply is compared.
Formula: mean over the ten answers of min(1, equal others / 3), in percent, overall and by answer and question type.
`official` (also under the kit's names, which has no VQAv2): reply as it is. `llava_submission` (also `mmevol`): the
reply goes through LLaVA's converter first, as for an upload.
Source: Goyal et al. 2017; GT-Vision-Lab/VQA at a013f004, `vqaEval.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.files import read_json
from mmevol_eval.benchmark import (
    LLAVA_SUBMISSION,
    MMEVOL,
    OFFICIAL,
    VLMEVALKIT,
    VLMEVALKIT_02RC1,
    Benchmark,
    Graded,
    Headline,
    Item,
    Judge,
)
from mmevol_eval.grading import mmevol_prompts
from mmevol_eval.grading.folder import Pictures, one_file, optional_file, records, unique
from mmevol_eval.grading.tables import overall_and
from mmevol_eval.grading.vqa import for_submission, official_accuracy

_QUESTIONS = ("*val2014_questions.json", "*test-dev2015_questions.json", "*questions*.json")  # the first that is there


def load(path: Path) -> Iterator[Item]:
    """Items of the official folder; questions about one image are a cluster."""
    file = one_file(path, *_QUESTIONS)
    yield from unique(_items(path, file), file)


def _items(path: Path, file: Path) -> Iterator[Item]:
    annotations_file, pictures = optional_file(path, "*val2014_annotations.json", "*annotations*.json"), Pictures(path)
    annotations = _listed(annotations_file, "annotations", "question_id", "answers") if annotations_file else []
    by_question = {row["question_id"]: row for row in annotations}
    for row in _listed(file, "questions", "question_id", "image_id", "question"):
        annotation = by_question.get(row["question_id"], {})
        if by_question and not annotation:
            raise UserError(f"{annotations_file} has no annotation of question {row['question_id']}")
        yield Item(
            index=str(row["question_id"]),
            question=row["question"],
            answer=annotation.get("multiple_choice_answer", ""),
            images=pictures.of(row["image_id"]),
            category=annotation.get("answer_type", ""),
            l2_category=annotation.get("question_type", ""),
            cluster=str(row["image_id"]),
            extra={"answers": annotation.get("answers", [])},
        )


def _listed(file: Path, key: str, *fields: str) -> list[dict[str, Any]]:
    """The records under a key of an official file."""
    content = read_json(file)
    if not isinstance(content, dict) or key not in content:
        raise UserError(f"{file} has no list {key!r}; put the official file there")
    return records(file, content[key], *fields)


def grade(item: Item, reply: str, rules: str, judge: Judge | None) -> Graded:
    """VQA accuracy of one reply."""
    if not item.extra["answers"]:
        raise UserError(f"VQAv2 question {item.index} has no annotated answers: test splits are scored by the server")
    prepared = for_submission(reply) if rules in (LLAVA_SUBMISSION, MMEVOL) else reply
    score, parsed = official_accuracy(prepared, item.extra["answers"])
    return Graded(item, score, parsed, "rule")


def scores(graded: Sequence[Graded], rules: str) -> dict[str, float]:
    """Percent, rounded to two places as in the official tool: overall, by answer type and by question type."""
    table = overall_and(
        graded, lambda row: [f"answer_type|{row.item.category}", f"question_type|{row.item.l2_category}"]
    )
    return {name if "|" in name else "overall": round(value, 2) for name, value in table.items()}


BENCHMARK = Benchmark(
    name="VQAv2",
    aliases=("VQAv2_VAL",),
    has_answer=lambda item: bool(item.extra["answers"]),
    version="2",  # 2: MMEvol's prompt is that of its LLaVA script
    rules=(OFFICIAL, LLAVA_SUBMISSION, MMEVOL, VLMEVALKIT, VLMEVALKIT_02RC1),
    load=load,
    prompt=mmevol_prompts.scripted,
    grade=grade,
    scores=scores,
    headline=lambda rules: Headline("overall"),
)
