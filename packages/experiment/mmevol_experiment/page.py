"""The report as one HTML page: tables and charts from the numbers, lineages from the records."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmevol_core.files import read_jsonl
from mmevol_core.sample import QA, Sample, read_samples
from mmevol_experiment import charts
from mmevol_experiment.findings import AVERAGE, EXCHANGED, MEASURE_NAMES, find
from mmevol_experiment.funnel import curation, funnel

CURVE_POINTS = 300
BINDS = 0.8  # share of right cells from which pictures of several objects may join the tiny world
COUNTS = {  # keys of a benchmark's entry that are said when they are not zero
    "failed": "Items without a reply, which count as wrong",
    "empty": "Empty replies",
    "truncated": "Replies that ended at the longest answer allowed",
    "without_answer": "Items whose file has no answer, so that no reply to them is right",
}
READINGS = {
    "right": "right cell",
    "other": "other cell",
    "blind": "exchanged pictures",
    EXCHANGED: "real minus exchanged",
}


def page(numbers: Mapping[str, Any], inputs: Mapping[str, Path], title: str, lineages: int) -> str:
    """Fill the template; the page needs no other file and no network."""
    from jinja2 import Environment, StrictUndefined

    text = resources.files("mmevol_experiment").joinpath("templates/report.html.jinja").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    samples = list(read_samples(inputs["evolved"])) if "evolved" in inputs else []
    return template.from_string(text).render(
        title=title,
        numbers=numbers,
        measures=MEASURE_NAMES,
        readings=READINGS,
        binds=BINDS,
        benchmarks=list(next(iter(numbers["arms"].values()))["benchmarks"]),
        detectable=_detectable(numbers["arms"]),
        counts=list(_counts(numbers["arms"])),
        clean=any("clean" in entry for arm in numbers["arms"].values() for entry in arm["benchmarks"].values()),
        difference_charts=list(_difference_charts(numbers["differences"])),
        losses=_losses(inputs),
        leaning=_leaning(numbers["leave_one_out"], numbers["differences"]),
        curation=curation(numbers.get("curation"), inputs.get("distribution")),
        funnel=funnel(numbers["ledger"]),
        generations=generations(samples),
        skills=_skills(samples),
        lineages=[_lineage(sample, inputs["images"]) for sample in _chosen(samples, lineages)],
    )


def _detectable(arms: Mapping[str, Any]) -> list[str]:
    """`POPE 7.1`: the largest of the arms' smallest detectable differences, so that it holds for every two."""
    found: dict[str, list[float | None]] = {}
    for arm in arms.values():
        for name, entry in arm["benchmarks"].items():
            found.setdefault(name, []).extend([entry["mde"]] if "mde" in entry else [])
    known = {name: [value for value in values if value is not None] for name, values in found.items() if values}
    return [  # a dash: no difference that the scale has room for
        f"{name} {max(values):.1f}" if values and len(values) == len(found[name]) else f"{name} -"
        for name, values in known.items()
    ]


def _counts(arms: Mapping[str, Any]) -> Iterable[str]:
    """`Empty replies: POPE 3 / 0.`: what stands behind the scores, of the benchmarks where it is more than nothing."""
    for key, text in COUNTS.items():
        found: dict[str, list[Any]] = {}
        for arm in arms.values():
            for name, entry in arm["benchmarks"].items():
                found.setdefault(name, []).append(entry.get(key))
        rows = {name: [len(one) if isinstance(one, list) else one for one in row] for name, row in found.items()}
        shown = [
            f"{name} {' / '.join('?' if one is None else str(one) for one in row)}"
            for name, row in rows.items()
            if any(row)
        ]
        if shown:
            yield f"{text}: {', '.join(shown)}."


def _difference_charts(differences: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, str, str]]:
    """(title, measure, SVG) of every pair of arms and measure."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in differences:
        groups.setdefault((row["a"], row["b"], row["measure"]), []).append(row)
    for (a, b, measure), rows in groups.items():
        drawn = [
            charts.Interval(row["benchmark"], row["delta"], low, high, strong=row["benchmark"] == AVERAGE)
            for row in rows
            for low, high in [row["ci95"]]
        ]
        yield f"{a} minus {b}", MEASURE_NAMES[measure], charts.intervals(drawn, "percentage points")


def _leaning(without: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first pair of arms: what each benchmark has, and what the average would be without it, per measure."""
    if not without:
        return []
    a, b = without[0]["a"], without[0]["b"]
    names = [row["benchmark"] for row in without if (row["a"], row["b"], row["measure"]) == (a, b, "score")]
    return [
        {
            "benchmark": name,
            "pair": f"{a} minus {b}",
            "cells": [
                (find(differences, a, b, name, measure), find(without, a, b, name, measure))
                for measure in MEASURE_NAMES
            ],
        }
        for name in names
    ]


def _losses(inputs: Mapping[str, Path]) -> str:
    series: dict[str, list[tuple[float, float]]] = {}
    for role, path in inputs.items():
        if role.startswith("losses."):
            rows = [row for row in read_jsonl(path) if "loss" in row]
            smooth = charts.smoothed([row["loss"] for row in rows])
            every = max(1, len(rows) // CURVE_POINTS)
            series[role.partition(".")[2]] = [(row["step"], loss) for row, loss in zip(rows, smooth, strict=True)][
                ::every
            ]
    return charts.lines(series, "step", "training loss (smoothed)")


def generations(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Items, and skills and steps per item, of every round."""
    most = max((len(sample.rounds) for sample in samples), default=0)
    rows = []
    for number in range(most):
        items = [item for sample in samples if number < len(sample.rounds) for item in sample.rounds[number]]
        count = len(items) or 1
        rows.append(
            {
                "name": f"round {number}" if number else "seed",
                "items": len(items),
                "skills": sum(len(item.skills) for item in items) / count,
                "steps": sum(len(item.steps) for item in items) / count,
                "formats": len({item.format for item in items}),
                "words": sum(len(item.question.split()) for item in items) / count,
            }
        )
    return rows


def _skills(samples: Sequence[Sample]) -> str:
    """How often each skill is used, before and after."""
    counts: dict[str, dict[str, float]] = {}
    for sample in samples:
        for number, generation in enumerate(sample.rounds):
            for item in generation:
                for skill in item.skills:
                    part = counts.setdefault(skill, {"seed": 0, "evolved": 0})
                    part["evolved" if number else "seed"] += 1
    rows = sorted(counts.items(), key=lambda pair: -sum(pair[1].values()))
    return charts.stacks(rows, ("seed", "evolved")) if rows else ""


def _chosen(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The records with the longest lineages, spread over the file."""
    ranked = sorted(samples, key=lambda sample: -len(_chain(sample)))
    best = [sample for sample in ranked if len(_chain(sample)) == len(_chain(ranked[0]))] if ranked else []
    pool = best if len(best) >= count else ranked
    return pool[:: max(1, len(pool) // count)][:count] if count else []


def _chain(sample: Sample) -> list[QA]:
    """The longest chain of parents in a record, seed first."""
    items = {item.id: item for generation in sample.rounds for item in generation}
    chains: list[list[QA]] = [[]]
    for item in items.values():
        chain = [item]
        while chain[0].parent in items and items[chain[0].parent] not in chain:
            chain.insert(0, items[chain[0].parent])
        chains.append(chain)
    return max(chains, key=len)


def _lineage(sample: Sample, root: Path) -> dict[str, Any]:
    chain = _chain(sample)
    scores = [after.score for _, after in pairwise(chain)]
    boxes = [(box.label, box.xyxy) for box in sample.boxes]
    return {
        "sample": sample,
        "picture": charts.picture(data_uri(root / sample.images[0]), boxes),
        "chain": chain,
        "mean_score": sum(score or 0 for score in scores) / len(scores) if scores else None,
    }


def data_uri(path: Path) -> str:
    """An image file as text inside the page."""
    kind = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif"}.get(
        path.suffix.lower(), "png"
    )
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
