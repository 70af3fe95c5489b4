"""MMBench: multiple choice asked once per rotation of its options.

Data: VLMEvalKit `MMBench_DEV_EN.tsv` and its siblings; rows i, i + 1e6, i + 2e6... (or equal `g_index`) are one item.
Prompt: hint, question, options, request to select one.
Unparsed: wrong (the official tool draws a random letter after three judge calls).
Formula: an item is right when every rotation is. Rules read all rotations first; a wrong letter settles the item
without a judge, rotations that no rule can read go to the judge one after the other. Accuracy in percent by split.
Source: Liu et al. 2023; VLMEvalKit at e8e78f05, `mcq_circular_eval`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import Benchmark, Graded, Item, Judge
from mmevol_eval.grading import choice
from mmevol_eval.grading.tsv import read_items

_ROTATION = 1_000_000  # step between the indices of an item's rotations


def load(path: Path) -> Iterator[Item]:
    """All rotations; those of one item are a cluster.

    Raises:
        UserError: an index is no number, or an item lacks its unrotated row, which stands for it in the scores.
    """
    items = [_clustered(item, path) for item in read_items(path)]
    whole = {item.cluster for item in items if item.index == item.cluster}
    headless = [item.index for item in items if item.cluster not in whole]
    if headless:
        raise UserError(
            f"{path}: {len(headless)} rows are rotations of an item whose unrotated row is not there "
            f"(first: index {headless[0]}); put it there, or leave them out"
        )
    yield from items


def _clustered(item: Item, path: Path) -> Item:
    """The item with its group as its cluster."""
    if not item.index.isdigit():
        raise UserError(f"{path} row {item.index}: circular evaluation needs whole numbers as indices")
    return replace(item, cluster=str(item.extra.get("g_index") or int(item.index) % _ROTATION))


def grade_groups(items: Sequence[Item], replies: Mapping[str, str], rules: str, judge: Judge | None) -> list[Graded]:
    """One verdict per item, on its unrotated row, in file order."""
    return [_grade_group(main, turned, replies, rules, judge) for main, turned in _groups(items)]


def guess_groups(items: Sequence[Item], replies: Mapping[str, str], rules: str, judge: Judge | None) -> list[Graded]:
    """The same, ascending, with the random letters of MMEvol's copy run by one worker."""
    draw = random.Random(choice.SEED)
    return [
        _grade_group(main, turned, replies, rules, judge, draw) for main, turned in _groups(choice.ascending(items))
    ]


def _groups(items: Sequence[Item]) -> list[tuple[Item, list[Item]]]:
    """Unrotated rows in the order given, each with all its rotations by ascending index."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in choice.ascending(items):
        groups[item.cluster].append(item)
    return [(item, groups[item.cluster]) for item in items if item.index == item.cluster]


def _grade_group(
    main: Item,
    rotations: Sequence[Item],
    replies: Mapping[str, str],
    rules: str,
    judge: Judge | None,
    draw: random.Random | None = None,
) -> Graded:
    found = [choice.infer(replies[rotation.index], rotation.options, rules) for rotation in rotations]
    parsed = ",".join(letter or "" for letter in found)
    if any(letter and letter != rotation.answer for letter, rotation in zip(found, rotations, strict=True)):
        return Graded(main, 0.0, parsed, "rule")
    if all(found):
        return Graded(main, 1.0, parsed, "rule")
    if judge is None:
        return Graded(main, 0.0, parsed, "none")
    for place, rotation in enumerate(rotations):
        if not found[place]:
            verdict = choice.grade(rotation, replies[rotation.index], rules, judge, draw=draw)
            found[place] = verdict.parsed
            if not verdict.score:
                return Graded(main, 0.0, ",".join(letter or "" for letter in found), verdict.method)
    return Graded(main, 1.0, ",".join(letter or "" for letter in found), "judge")


BENCHMARK: Benchmark = choice.benchmark(
    "MMBench",
    aliases=(
        *(f"MMBench_{part}" for part in ("V11", "CN", "CN_V11", "DEV_KO")),
        *(
            f"MMBench_{split}_{language}{version}"
            for split in ("DEV", "TEST")
            for language in ("EN", "CN")
            for version in ("", "_V11")
        ),
    ),
    load=load,
    group=grade_groups,
    guess=guess_groups,
)
