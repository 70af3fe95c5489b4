"""MathVista, testmini: mathematics in figures; a judge copies the answer out of free text.

Data: VLMEvalKit `MathVista_MINI.tsv` (1,000 rows) with question_type, answer_type, choices, answer_option, task and
skills.
Prompt: the question as it is; it holds a hint about the form of the answer.
Unparsed: wrong (five judge calls without an answer; also every reply that no rule settles when there is no judge).
Formula: a rule settles a choice whose letter it finds, right or wrong, and a number that equals the answer; the rest
goes to the judge, whose copy must then equal the answer. Accuracy in percent overall, by task and by skill.
Kept from the kit: a right answer of value 0 still goes to the judge; a list or text answer is compared with the word
`None` and so is never right. It never runs without a working judge; here `none` acts as one that always fails.
Source: Lu et al. 2023; VLMEvalKit at e8e78f05, `mathvista.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mmevol_eval.benchmark import CALL_FAILED, MMEVOL, Benchmark, Graded, Headline, Item, Judge
from mmevol_eval.grading import choice, mmevol_prompts
from mmevol_eval.grading.judging import question_about
from mmevol_eval.grading.tables import percent
from mmevol_eval.grading.tsv import answers_of, as_list, read_items

JUDGE_CALLS = 5
_COLUMNS = ("answer", "question_type", "answer_type", "choices", "answer_option", "task", "skills")


def load(path: Path) -> Iterator[Item]:
    """Items; the choices get letters."""
    for item in read_items(path, need=_COLUMNS):
        if item.extra["question_type"] == "multi_choice":
            texts = [str(text) for text in as_list(item.extra["choices"], f"{path} row {item.index}")]
            item = replace(item, options={chr(ord("A") + place): text for place, text in enumerate(texts)})
        yield item


def grade(item: Item, reply: str, rules: str, judge: Judge | None) -> Graded:
    """The rule first, then up to five judge calls, ever warmer."""
    if item.extra["question_type"] == "multi_choice":
        letter = choice.infer(reply, item.options, rules)
        if letter:
            right = choice.infer(letter, item.options, rules) == item.extra["answer_option"]
            return Graded(item, float(right), letter, "rule")
    elif _settled(item, reply):
        return Graded(item, 1.0, reply, "rule")
    for call in range(JUDGE_CALLS if judge else 0):
        answer = judge.ask(question_about(item, reply, "extract", call)) if judge else ""
        if rules == MMEVOL or f"{CALL_FAILED}." not in answer:  # the old copy takes any first reply
            return Graded(item, float(_right(item, answer, rules)), answer, "judge")
    return Graded(item, 0.0, "", "none")


def _settled(item: Item, reply: str) -> bool:
    """Whether the rule alone says right: equal numbers other than 0."""
    if item.extra["answer_type"] not in ("integer", "float"):
        return item.answer == "None"
    return _equal(item, reply) and float(reply) != 0


def _right(item: Item, answer: str, rules: str) -> bool:
    if item.extra["question_type"] == "multi_choice":
        return choice.infer(answer, item.options, rules) == str(item.extra["answer_option"])
    if item.extra["answer_type"] not in ("integer", "float"):
        return item.answer == "None"
    return _equal(item, answer)


def _equal(item: Item, text: str) -> bool:
    try:
        if item.extra["answer_type"] == "integer":
            return int(text) == int(item.answer)
        return float(text) == float(item.answer)
    except ValueError:
        return False


def scores(graded: Sequence[Graded], rules: str) -> dict[str, float]:
    """Accuracy (`Overall`, each task and skill), and `NAME|tot`, `NAME|hit`, `NAME|prefetch` counts."""
    groups: dict[str, list[Graded]] = defaultdict(list)
    for row in graded:
        skills = answers_of(row.item.extra["skills"])
        for name in ("Overall", *skills, row.item.extra["task"]):
            groups[name].append(row)
    result = {name: percent(row.score for row in rows) for name, rows in groups.items()}
    for name, rows in groups.items():
        result[f"{name}|tot"] = float(len(rows))
        result[f"{name}|hit"] = float(sum(row.score == 1 for row in rows))
        result[f"{name}|prefetch"] = float(sum(row.method == "rule" for row in rows))
        result[f"{name}|prefetch_rate"] = 100 * result[f"{name}|prefetch"] / len(rows)
    return result


BENCHMARK = Benchmark(
    name="MathVista_MINI",
    aliases=("MathVista", "MathVista_mini"),
    version="2",  # 2: a judge call that failed is not read
    load=load,
    prompt=mmevol_prompts.plain,
    grade=grade,
    scores=scores,
    headline=lambda rules: Headline("Overall"),
    notes="answers of type list or text are never right, as in the official tool",
)
