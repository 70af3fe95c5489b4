"""GQA, test-dev balanced: open and yes/no questions about scene graphs.

Data: VLMEvalKit `GQA_TestDev_Balanced.tsv`, or a folder with the official `testdev_balanced_questions.json` (any
`*questions*.json`; 12,578 questions; only balanced ones count), optionally `*choices*.json`, and images in `images/`.
Prompt: the question, then a request for a single word or phrase.
Unparsed: nothing is; every reply is compared.
Formula: share of replies equal to the answer. Kit: both sides stripped and in lower case. `official`: raw equality.
`llava_submission` and `mmevol`: LLaVA's converter drops final periods and lowers the reply first.
Source: Hudson and Manning 2019, the official eval.py; VLMEvalKit at e8e78f05, `ImageVQADataset`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
from mmevol_eval.grading.folder import find_image, one_file, optional_file
from mmevol_eval.grading.tables import overall_and, percent
from mmevol_eval.grading.tsv import answers_of, read_items

_NOT_STEPS = ("exist", "query: name", "choose name")  # final operations that the official count leaves out


def load(path: Path) -> Iterator[Item]:
    """Items of the TSV, or of the official folder (balanced questions only)."""
    if path.is_file():
        yield from read_items(path)
        return
    choices_file = optional_file(path, "testdev_choices.json", "*choices*.json")
    choices = read_json(choices_file) if choices_file else {}
    for index, question in read_json(one_file(path, "testdev_balanced_questions.json", "*questions*.json")).items():
        if question["isBalanced"]:
            yield Item(
                index=str(index),
                question=question["question"],
                answer=question["answer"],
                images=find_image(path, str(question["imageId"])),
                cluster=str(question["imageId"]),
                extra={**question, "choices": choices.get(index)},
            )


def grade(item: Item, reply: str, rules: str, judge: Judge | None) -> Graded:
    """Compare a reply with the answer (a list of answers scores its share of matches, as in the kit)."""
    if rules in (VLMEVALKIT, VLMEVALKIT_02RC1):
        parsed = reply.strip()
        hits = [gold.strip().lower() == parsed.lower() for gold in answers_of(item.answer)]
        return Graded(item, sum(hits) / len(hits), parsed, "rule")
    parsed = reply if rules == OFFICIAL else reply.rstrip(".").lower()
    return Graded(item, float(parsed == item.answer), parsed, "rule")


def scores(graded: Sequence[Graded], rules: str) -> dict[str, float]:
    """Accuracy in percent; with official questions also every other official number."""
    if not graded or "types" not in graded[0].item.extra:
        rows = overall_and(graded, _split_or_category(graded))
        return {"accuracy": rows["Overall"]} | rows
    return _official(graded)


def _split_or_category(graded: Sequence[Graded]) -> Any:
    if any(row.item.split for row in graded):
        return lambda row: [row.item.split]
    return lambda row: [row.item.category] if row.item.category else []


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
    for name in ("valid", "plausible"):
        if graded[0].item.extra["choices"]:
            result[name] = percent(float(_belongs(row, name)) for row in graded)
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
    version="2",  # 2: MMEvol's prompt is that of its LLaVA script
    rules=(VLMEVALKIT, VLMEVALKIT_02RC1, MMEVOL, OFFICIAL, LLAVA_SUBMISSION),
    load=load,
    prompt=mmevol_prompts.scripted,
    grade=grade,
    scores=scores,
    headline=lambda rules: Headline("accuracy"),
)
