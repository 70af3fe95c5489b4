"""Adding verdicts up: means by split and category, and groups that count as one.

Every number is in percent unless its name says otherwise. A resampled list (the same item several times) gives the
score of that sample, so the same functions serve the bootstrap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from mmevol_eval.benchmark import Graded

ABBREVIATIONS = {  # VLMEvalKit's names of MMBench's six abilities
    "coarse_perception": "CP",
    "finegrained_perception (instance-level)": "FP-S",
    "finegrained_perception (cross-instance)": "FP-C",
    "logic_reasoning": "LR",
    "relation_reasoning": "RR",
    "attribute_reasoning": "AR",
}


def percent(values: Iterable[float | None]) -> float:
    """100 x mean of the values that are not None; 0 when there are none."""
    kept = [value for value in values if value is not None]
    return 100 * sum(kept) / len(kept) if kept else 0.0


def grouped(graded: Iterable[Graded], key: Callable[[Graded], Hashable]) -> dict[Hashable, list[Graded]]:
    """Verdicts by key, keys in order of first occurrence."""
    groups: dict[Hashable, list[Graded]] = defaultdict(list)
    for row in graded:
        groups[key(row)].append(row)
    return groups


def distinct(group: Sequence[Graded]) -> tuple[list[Graded], int]:
    """The different items of a group, in order, and how often the group was drawn (1 outside a bootstrap)."""
    first: dict[str, Graded] = {}
    for row in group:
        first.setdefault(row.index, row)
    rows = list(first.values())
    return rows, sum(row.index == rows[0].index for row in group)


def all_correct(graded: Iterable[Graded], key: Callable[[Graded], Hashable]) -> float:
    """Percent of groups in which every item is right."""
    verdicts: list[float] = []
    for group in grouped(graded, key).values():
        rows, times = distinct(group)
        verdicts += [float(all(row.score == 1 for row in rows))] * times
    return percent(verdicts)


def by_split(graded: Sequence[Graded]) -> dict[str, float]:
    """Accuracy as in the kit's multiple-choice table: Overall, each l2-category, each category, per split.

    Names are those of the table, preceded by `SPLIT|` when the data has splits; `Overall` alone is over all rows. Rows
    whose split is empty where others have one stand in that `Overall` only.
    """
    result = {"Overall": percent(row.score for row in graded)}
    splits = grouped(graded, lambda row: row.item.split)
    for split, rows in sorted(splits.items(), key=lambda pair: str(pair[0])):
        if not split and len(splits) > 1:
            continue
        prefix = f"{split}|" if split else ""
        result[f"{prefix}Overall"] = percent(row.score for row in rows)
        for attribute in ("l2_category", "category"):
            names = grouped(rows, lambda row, attribute=attribute: getattr(row.item, attribute))  # type: ignore[misc]
            for name in sorted(str(name) for name in names if name):
                result[f"{prefix}{ABBREVIATIONS.get(name, name)}"] = percent(row.score for row in names[name])
    return result


def by_split_or_category(graded: Sequence[Graded]) -> dict[str, float]:
    """Overall, and every split where the data has splits, else every category (the kit's table of short answers)."""
    if any(row.item.split for row in graded):
        return overall_and(graded, lambda row: [row.item.split] if row.item.split else [])
    return overall_and(graded, lambda row: [row.item.category] if row.item.category else [])


def overall_and(graded: Sequence[Graded], names: Callable[[Graded], Iterable[str]]) -> dict[str, float]:
    """Overall and the mean of every name that rows carry, in order of first occurrence."""
    means: Mapping[str, list[float]] = defaultdict(list)
    for row in graded:
        for name in names(row):
            means[name].append(row.score or 0.0)
    return {"Overall": percent(row.score for row in graded)} | {name: percent(rows) for name, rows in means.items()}
