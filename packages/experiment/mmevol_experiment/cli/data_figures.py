"""`mmevol data figures`: the paper's figures 2, 7 and 8-10 as SVG, of a finished evolution or of any records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mmevol_core.errors import UserError
from mmevol_core.files import read_json
from mmevol_core.sample import read_samples
from mmevol_experiment.charts_data import domains, histograms, ranked, standalone, sunburst, tail


def figures(
    source: Annotated[
        Path, typer.Argument(help="folder of an evolution (analysis.json, evolved.jsonl), or JSONL of records")
    ],
    out: Annotated[Path, typer.Option(help="folder that gets the SVG files")] = Path("figures"),
) -> None:
    """Draw skills, steps, scores, verbs, objects and sources, before and after."""
    from mmevol_dataengine.analysis import analyse
    from mmevol_dataengine.distribution import distribution

    if source.is_dir():
        records, analysis = source / "evolved.jsonl", read_json(source / "analysis.json")
    else:
        records, analysis = source, analyse(read_samples(source))
    if not analysis["rounds"]:
        raise UserError(f"{source} holds no questions", status=3)
    out.mkdir(parents=True, exist_ok=True)
    charts = dict(drawn(analysis))
    if records.is_file():
        charts["sources"] = domains(distribution(read_samples(records), {})["domains"])
    for name, chart in charts.items():
        if chart:
            (out / f"{name}.svg").write_text(standalone(chart), encoding="utf-8")
            print(out / f"{name}.svg")


def drawn(analysis: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and SVG of every figure of an analysis; "" where there is nothing to draw."""
    sides = {"before": analysis["before"], "after": analysis["after"]}
    if not sides["after"]["items"]:
        del sides["after"]
    for key, title, label in (
        ("skills_per_item", "Skills per question", "skills"),
        ("steps_per_item", "Reasoning steps per question", "steps"),
    ):
        yield key, histograms({name: side["histograms"][key] for name, side in sides.items()}, title, label)
    rounds = {
        ("seed" if number == "0" else f"round {number}"): figure["histograms"]["scores"]
        for number, figure in analysis["rounds"].items()
        if figure["histograms"]["scores"]
    }
    yield "scores", histograms(rounds, "Score of what survived, by round", "score, whole points")
    for name, side in sides.items():
        yield f"verbs_{name}", sunburst(side["roots"], f"Root verbs and their nouns, {name}")
    for key, title in (("skills", "Skills"), ("objects", "Most frequent objects"), ("formats", "Formats")):
        yield key, ranked({name: side[key] for name, side in sides.items()}, title)
    yield "long_tail", tail(analysis.get("long_tail", []), "Objects by rank after evolution")
