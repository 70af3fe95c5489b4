"""What the MMEvol prompts say about one sample: the template, and the machine-readable block that ends it."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson

from mmevol_core.sample import QA, Sample
from mmevol_dataengine.prompts import render
from mmevol_dataengine.vocabulary import BOX_FORMATS, FORMATS, TEXT_FORMATS

PROMPT_VERSION = "mmevol-2"  # raise it with every change of a template; a test compares


@cache
def system_prompt() -> str:
    """The role that both teacher and judge are given."""
    return render("mmevol", "system")


def evolve_prompt(
    sample: Sample,
    direction: str,
    items: dict[str, QA],
    sees_image: bool,
    *,
    persona: str = "",
    basic: bool = False,
) -> str:
    """The prompt of one rewriting call; it ends with the machine-readable block of ARCHITECTURE.md.

    `persona` is who asks; `basic` takes the plain prompt instead of the structured one (the paper's table 3).
    """
    left_out = (() if sample.boxes else BOX_FORMATS) + (() if sample.ocr else TEXT_FORMATS)
    return render(
        "mmevol",
        "basic" if basic else direction,
        sees_image=sees_image,
        has_boxes=bool(sample.boxes or sample.ocr),
        formats=[(name, meaning) for name, meaning in FORMATS.items() if name not in left_out],
        task="evolve",
        direction=direction,
        persona=persona,
        data=_json(
            caption=sample.caption,
            boxes=[{"label": box.label, "bbox": _rounded(box.xyxy)} for box in sample.boxes],
            ocr=[{"text": text.text, "bbox": _rounded(text.xyxy)} for text in sample.ocr],
            items=[_given(name, item) for name, item in items.items()],
        ),
    )


def blind_prompt(question: str) -> str:
    """The prompt that asks for an answer without the image."""
    return render("mmevol", "blind", question=question)


def score_prompt(sample: Sample, pairs: dict[str, tuple[QA, QA]], sees_image: bool) -> str:
    """The prompt of one scoring call: each rewrite beside the item it came from, under one id."""
    rows = [
        {
            "id": name,
            "before": {"question": before.question, "answer": before.answer},
            "after": {"question": after.question, "answer": after.answer},
        }
        for name, (before, after) in pairs.items()
    ]
    data = _json(caption=sample.caption, pairs=rows)
    return render("mmevol", "score", sees_image=sees_image, task="score", direction="", data=data)


def _given(name: str, item: QA) -> dict[str, Any]:
    return {
        "id": name,
        "question": item.question,
        "answer": item.answer,
        "objects": item.objects,
        "skills": item.skills,
        "format": item.format,
        "steps": [{"manipulation": step.manipulation, "description": step.description} for step in item.steps],
    }


def _rounded(xyxy: tuple[float, float, float, float] | None) -> list[float] | None:
    return None if xyxy is None else [round(edge, 3) for edge in xyxy]


def _json(**values: Any) -> str:
    return orjson.dumps(values).decode()
