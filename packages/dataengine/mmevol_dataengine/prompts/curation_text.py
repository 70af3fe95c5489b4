"""What the curation prompts say about one sample: the template, and the machine-readable block that ends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from mmevol_core.sample import QA, SKILLS, Sample
from mmevol_dataengine.prompts import render

PROMPT_VERSION = "curation-1"  # raise it with every change of a template; a test compares


def system_prompt() -> str:
    """The role of whoever annotates."""
    return render("curation", "system")


def match_prompt(sample: Sample, sees_image: bool) -> str:
    """Does the text belong to the image? Answer: {"match": yes|no, "reason"}."""
    return _prompt("match", sample, sees_image, items=_pairs(sample.latest))


def caption_prompt(sample: Sample, sees_image: bool) -> str:
    """A description. Answer: {"caption"}."""
    return _prompt("caption", sample, sees_image)


def boxes_prompt(sample: Sample, most: int, labels: Sequence[str]) -> str:
    """Boxes, for a model that sees the image. Answer: {"boxes": [{"label", "bbox"}]}."""
    return _prompt("boxes", sample, True, most=most, labels=labels)


def text_prompt(sample: Sample) -> str:
    """Text in the image, for a model that sees it. Answer: {"ocr": [{"text", "bbox"}]}."""
    return _prompt("text", sample, True)


def questions_prompt(sample: Sample, count: int, sees_image: bool) -> str:
    """First questions for an image that has only a description. Answer: {"items": [{"question", "answer"}]}."""
    return _prompt("questions", sample, sees_image, count=count)


def backfill_prompt(sample: Sample, items: dict[str, QA], sees_image: bool) -> str:
    """Objects, skills and steps of items that lack them. Answer: {"items": [{"id", "objects", "skills", "steps"}]}."""
    pairs = [{"id": name, "question": item.question, "answer": item.answer} for name, item in items.items()]
    return _prompt("backfill", sample, sees_image, items=pairs, skills=SKILLS)


def _pairs(items: Sequence[QA]) -> list[dict[str, str]]:
    return [{"question": item.question, "answer": item.answer} for item in items]


def _prompt(task: str, sample: Sample, sees_image: bool, *, items: Sequence[dict[str, str]] = (), **values: Any) -> str:
    data = {
        "caption": sample.caption,
        "boxes": [{"label": box.label, "bbox": [round(edge, 3) for edge in box.xyxy]} for box in sample.boxes],
        "ocr": [
            {"text": text.text, "bbox": [round(edge, 3) for edge in text.xyxy] if text.xyxy else None}
            for text in sample.ocr
        ],
        **({"items": list(items)} if items else {}),
        **({"count": values["count"]} if "count" in values else {}),
    }
    return render("curation", task, task=task, sees_image=sees_image, data=orjson.dumps(data).decode(), **values)
