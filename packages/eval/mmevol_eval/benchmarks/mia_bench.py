"""MIA-Bench: instructions of several components, each graded by a judge that sees the image.

Data: VLMEvalKit `MIA-Bench.tsv` (400 rows), or a folder with Apple's `instruction_benchmark_all.json` (any
`*instruction*.json`) and images in `images/`.
Prompt: the bare instruction.
Unparsed: left out of all means, as officially (decimals, a missing blank, prose before the scores); counted here.
Formula: the judge's first sentence `score of component 1: x/w, ..., total score: z/10`; means per component type and
of the total (0..1). `total_score` is the judge's total; under `mmevol` it is what MMEvol's script reports instead,
the last component's share. `total_percent` is 100 x total_score, and both kinds are always reported.
Source: Qian et al. 2024, apple/ml-mia-bench at 5422852d; VLMEvalKit at e8e78f05, `miabench.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.files import read_json
from mmevol_eval.benchmark import MMEVOL, Benchmark, Graded, Headline, Item, Judge
from mmevol_eval.grading import mmevol_prompts
from mmevol_eval.grading.folder import Pictures, one_file, records
from mmevol_eval.grading.judging import grade_components
from mmevol_eval.grading.tsv import as_list, read_items

_LISTS = ("components", "component_weight", "component_type")


def load(path: Path) -> Iterator[Item]:
    """Items of the TSV or of the official folder; `index` is the row's number there."""
    if path.is_file():
        for item in read_items(path, need=_LISTS):
            lists = {name: as_list(item.extra[name], f"{path} row {item.index}") for name in _LISTS}
            yield _item(item, lists)
        return
    file, pictures = one_file(path, "*instruction*.json"), Pictures(path)
    for number, row in enumerate(records(file, _rows(read_json(file)), "image", "instruction", "type", *_LISTS)):
        name, images = str(row["image"]), pictures.of(row["image"])
        plain = Item(index=str(number), question=row["instruction"], images=images, cluster=name, category=row["type"])
        yield _item(plain, {name: list(row[name]) for name in _LISTS})


def _rows(content: Any) -> Any:
    """Apple's file as rows: a list of records, or a table written column by column."""
    if not isinstance(content, dict) or not all(isinstance(column, dict) for column in content.values()):
        return content
    keys = list(content.get("instruction", ()))
    return [{name: column[key] for name, column in content.items() if key in column} for key in keys]


def _item(item: Item, lists: dict[str, list[Any]]) -> Item:
    return Item(
        index=item.index,
        question=item.question,
        images=item.images,
        category=item.category or str(item.extra.get("type", "")),
        cluster=item.cluster,
        extra=lists,
    )


def grade(item: Item, reply: str, rules: str, judge: Judge | None) -> Graded:
    """Shares of the components and the total from the judge's first sentence."""
    if judge is None:
        raise UserError("MIA-Bench is scored by a judge: none was given")
    *parts, last_part = judge.ask(grade_components(item, reply)).split(".")[0].split(",")
    try:
        shares = [_share(part) for part in parts]
        names = [str(name) for name in item.extra["component_type"]]
        by_type = {names[place]: share for place, share in enumerate(shares)}
        last = shares[-1]
        total = None if rules == MMEVOL and not _is_share(last_part) else _share(last_part)  # MMEvol never reads it
    except (ValueError, IndexError, ZeroDivisionError):
        return Graded(item, None, "", "none")
    detail = {"types": by_type, "judged": total, "last": last}
    parsed = " ".join(f"{share:g}" for share in (*shares, total) if share is not None)
    return Graded(item, last if rules == MMEVOL else total, parsed, "judge", detail)


def _share(part: str) -> float:
    """The `: a/b` of a part, as the official parser reads it: one character after the colon is skipped.

    Raises:
        ValueError, IndexError, ZeroDivisionError: as the official parser does.
    """
    got, of = part.split(":")[1][1:].split("/")[:2]
    return int(got) / int(of)


def _is_share(part: str) -> bool:
    try:
        _share(part)
    except (ValueError, IndexError, ZeroDivisionError):
        return False
    return True


def scores(graded: Sequence[Graded], rules: str) -> dict[str, float]:
    """Means of the parsed items (0..1), `total_percent`, and how many were parsed."""
    read = [row for row in graded if row.score is not None]
    types: dict[str, list[float]] = defaultdict(list)
    for row in read:
        for name, share in row.detail["types"].items():
            types[name].append(share)
    total = _mean([row.score or 0.0 for row in read])
    return {
        "total_percent": 100 * total,
        "total_score": total,
        "total_judged": _mean([row.detail["judged"] for row in read if row.detail["judged"] is not None]),
        "total_last_component": _mean([row.detail["last"] for row in read]),
        "parsed": float(len(read)),
    } | {name: _mean(shares) for name, shares in sorted(types.items())}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


BENCHMARK = Benchmark(
    name="MIA-Bench",
    aliases=("MIA", "MIABench"),
    version="2",  # 2: an item whose total cannot be read stays, under `mmevol`; MMEvol's own prompt
    load=load,
    prompt=partial(mmevol_prompts.scripted, ending=""),
    grade=grade,
    scores=scores,
    headline=lambda rules: Headline("total_percent"),
    no_reply=lambda item: {
        "types": dict.fromkeys(map(str, item.extra["component_type"]), 0.0),
        "judged": 0.0,
        "last": 0.0,
    },
    needs_judge=True,
    has_answer=lambda item: True,  # nothing is compared: a judge rates each instruction
)
