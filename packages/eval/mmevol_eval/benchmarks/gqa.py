"""GQA, test-dev balanced: open and yes/no questions about scene graphs.

Data: VLMEvalKit `GQA_TestDev_Balanced.tsv`, or a folder with the official `testdev_balanced_questions.json` (any
`*questions*.json`; 12,578 questions; only balanced ones count), optionally `*choices*.json`, and images in `images/`.
Prompt: the question, then a request for a single word or phrase.
Unparsed: nothing is; every reply is compared.
Formula: share of replies equal to the answer. Kit: both sides stripped and in lower case. `official`: raw equality.
`llava_submission` and `mmevol`: LLaVA's converter drops final periods and lowers the reply first. With the official
questions also every other official number: binary and open questions, structural and semantic types, steps, words,
distribution; validity and plausibility where the choices file is there (eval.py prints 0 without it); consistency where
the scored file holds the entailed questions too (`*all_questions.json`) and every one of them has a prediction.
Source: Hudson and Manning 2019, the official eval.py; VLMEvalKit at e8e78f05, `ImageVQADataset`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from mmevol_eval.grading.folder import Pictures, one_file, optional_file, records
from mmevol_eval.grading.tables import by_split_or_category, percent
from mmevol_eval.grading.tsv import answers_of, read_items

_NOT_STEPS = ("exist", "query: name", "choose name")  # final operations that the official count leaves out
_BREAKDOWN = ("types", "semantic", "groups")


def load(path: Path) -> Iterator[Item]:
    """Items of the TSV, or of the official folder (balanced questions only)."""
    if path.is_file():
        yield from read_items(path)
        return
    choices_file = optional_file(path, "testdev_choices.json", "*choices*.json")
    choices = read_json(choices_file) if choices_file else {}
    file, pictures = one_file(path, "testdev_balanced_questions.json", "*questions*.json"), Pictures(path)
    questions = read_json(file)
    if not isinstance(questions, dict):
        raise UserError(f"{file} holds no questions by their ids; put the official file there")
    records(file, questions.values(), "isBalanced")
    balanced = {index: question for index, question in questions.items() if question["isBalanced"]}
    typed = any("types" in question for question in balanced.values())  # the official breakdown then needs all three
    records(file, balanced.values(), "question", "answer", "imageId", *(_BREAKDOWN if typed else ()))
    for index, question in balanced.items():
        yield Item(
            index=str(index),
            question=question["question"],
            answer=question["answer"],
            images=pictures.of(question["imageId"]),
            cluster=str(question["imageId"]),
            extra={**question, "choices": choices.get(index), "entailed": _entailed(str(index), questions)},
        )


def _entailed(index: str, questions: Mapping[str, Any]) -> dict[str, str | None]:
    """Answers to the other questions that this one settles; None for one that the file does not hold."""
    others = [other for other in questions[index].get("entailed", ()) if other != index]
    return {other: questions[other].get("answer") if other in questions else None for other in others}


def grade_with_entailed(
    items: Sequence[Item], replies: Mapping[str, str], rules: str, judge: Judge | None
) -> list[Graded]:
    """Every item, with the share of its entailed questions that are right (None: not all were asked)."""
    graded = []
    for item in items:
        verdict = grade(item, replies[item.index], rules, judge)
        answers = item.extra.get("entailed") or {}
        asked = bool(answers) and None not in answers.values() and answers.keys() <= replies.keys()
        right = [_said(replies[other], rules) == answer for other, answer in answers.items()] if asked else []
        graded.append(replace(verdict, detail={"entailed": sum(right) / len(right) if right else None}))
    return graded


def grade(item: Item, reply: str, rules: str, judge: Judge | None) -> Graded:
    """Compare a reply with the answer (a list of answers scores its share of matches, as in the kit)."""
    if rules in (VLMEVALKIT, VLMEVALKIT_02RC1):
        parsed = reply.strip()
        hits = [gold.strip().lower() == parsed.lower() for gold in answers_of(item.answer)]
        return Graded(item, sum(hits) / len(hits), parsed, "rule")
    parsed = _said(reply, rules)
    return Graded(item, float(parsed == item.answer), parsed, "rule")


def _said(reply: str, rules: str) -> str:
    """A reply as eval.py gets it."""
    return reply if rules == OFFICIAL else reply.rstrip(".").lower()


def scores(graded: Sequence[Graded], rules: str) -> dict[str, float]:
    """Accuracy in percent; with official questions also every other official number."""
    if not graded or "types" not in graded[0].item.extra:
        table = by_split_or_category(graded)
        return {"accuracy": table["Overall"]} | table
    return _official(graded)


def _official(graded: Sequence[Graded]) -> dict[str, float]:
    means: dict[str, list[float]] = defaultdict(list)
    for row in graded:
        types, value = row.item.extra["types"], row.score or 0.0
        steps = sum(_is_step(operation) for operation in row.item.extra["semantic"])
        for name in (
            "open" if types["structural"] == "query" else "binary",
            f"structural|{types['structural']}",
            f"semantic|{types['semantic']}",
            f"steps|{steps}",
            f"words|{len(row.item.question.split())}",
        ):
            means[name].append(value)
    result = {"accuracy": percent(row.score for row in graded), "binary": 0.0, "open": 0.0}
    result |= {name: percent(means[name]) for name in sorted(means)}
    for name, group in (("validity", "valid"), ("plausibility", "plausible")):
        if graded[0].item.extra["choices"]:
            result[name] = percent(float(_belongs(row, group)) for row in graded)
    implying = [row for row in graded if row.item.extra["entailed"]]
    if implying and all(row.detail.get("entailed") is not None for row in implying):
        result["consistency"] = percent(row.detail["entailed"] for row in implying if row.score == 1)
    return result | {"distribution": _chi_square(graded) / 100}


def _is_step(operation: Mapping[str, str]) -> bool:
    text = f"{operation['operation']}: {operation['argument']}"
    return not any(part in text for part in _NOT_STEPS)


def _belongs(row: Graded, name: str) -> bool:
    """Whether a reply is among the valid or plausible answers, with the official treatment of `Common` questions."""
    common = "Common" in row.item.extra["types"]["detailed"]
    return row.parsed in (("color", "material", "shape") if common else row.item.extra["choices"][name])


def _chi_square(graded: Sequence[Graded]) -> float:
    """Distance of predicted from true answers within question groups, weighted by group size (lower is better)."""
    gold: dict[str, Counter[str]] = defaultdict(Counter)
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for row in graded:
        group = row.item.extra["groups"]["global"]
        if group is not None:
            gold[group][row.item.answer] += 1
            said[group][row.parsed] += 1
    total = sum(counts.total() for counts in gold.values())
    weighted = 0.0
    for group, counts in gold.items():
        distance = sum((said[group][answer] - expected) ** 2 / expected for answer, expected in counts.items())
        weighted += distance * counts.total()
    return weighted / total if total else 0.0


BENCHMARK = Benchmark(
    name="GQA",
    aliases=("GQA_TestDev_Balanced",),
    version="3",  # 2: MMEvol's prompt is that of its LLaVA script; 3: consistency, a blank split has no row
    rules=(VLMEVALKIT, VLMEVALKIT_02RC1, MMEVOL, OFFICIAL, LLAVA_SUBMISSION),
    load=load,
    prompt=mmevol_prompts.scripted,
    grade=grade,
    group=grade_with_entailed,
    also_reads=lambda item: item.extra.get("entailed") or (),
    scores=scores,
    headline=lambda rules: Headline("accuracy"),
)
