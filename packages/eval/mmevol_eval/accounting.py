"""What stands behind a score besides right and wrong: counted and named alike, whoever asked and whoever graded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmevol_eval.benchmark import Benchmark, Item
from mmevol_eval.predictions import Answer


def account(benchmark: Benchmark, items: Sequence[Item], answers: Mapping[str, Answer]) -> dict[str, Any]:
    """The counts of a benchmark's replies, those that there are none of being wrong.

    Args:
        benchmark: knows which items have an answer that a reply is held to.
        items: those that are scored.
        answers: by index, one for every item; others are unused.

    Returns:
        `failed`: items without a reply; `empty`: replies of no character; `truncated`: replies that ended at the
        longest answer (None when nobody knows: the lines of other tools do not say); `unused_predictions`: answers
        that nothing reads; `without_answer`: indices of items whose file has nothing to hold a reply to.
    """
    used = [answers[item.index] for item in items]
    read = {item.index for item in items} | {index for item in items for index in benchmark.also_reads(item)}
    known = [answer.truncated for answer in used if answer.truncated is not None]
    return {
        "failed": sum(answer.failure is not None for answer in used),
        "empty": sum(answer.failure is None and not answer.text.strip() for answer in used),
        "truncated": sum(known) if known else None,
        "unused_predictions": len(answers.keys() - read),
        "without_answer": [item.index for item in items if not benchmark.has_answer(item)],
    }


def notes(counts: Mapping[str, Any], benchmark: str, predictions: Path) -> list[str]:
    """A line for each count that a person should know of before reading the score."""
    lacking = counts["without_answer"]
    first = f" (first: index {lacking[0]!r})" if lacking else ""
    lines = {
        f"predictions are of no item of {benchmark} and were not used": counts["unused_predictions"],
        "items have no reply and count as wrong": counts["failed"],
        "replies are empty": counts["empty"],
        "replies ended at the longest answer (`truncated`): allow for longer ones": counts["truncated"] or 0,
        f"items have no answer in {benchmark}'s own file, so no reply to them is right{first}": len(lacking),
    }
    return [f"{predictions}: {count} {text}" for text, count in lines.items() if count]
