"""What the scripted teacher answers to the tasks of curation: from annotations alone, for it sees no image."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from mmevol_dataengine.scripted_teacher.draft import Ask
from mmevol_dataengine.scripted_teacher.facts import facts, named
from mmevol_dataengine.scripted_teacher.scene import Scene, scene_of
from mmevol_dataengine.vocabulary import words

Maker = Callable[[Mapping[str, Any], random.Random], dict[str, Any]]


def curate(task: str, data: Mapping[str, Any], dice: str) -> str | None:
    """The answer to a task of curation as JSON text, None for another task."""
    maker = _MAKERS.get(task)
    return None if maker is None else orjson.dumps(maker(data, random.Random(dice))).decode()


def _match(data: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """Yes when the text shares a word with the annotations, or when there is nothing to compare."""
    seen = set(words(_shown(data)))
    said = {word for item in data.get("items") or [] for word in words(f"{item['question']} {item['answer']}")}
    if not seen or not said:
        return {"match": "yes", "reason": "There is nothing that speaks against it."}
    common = sorted(word for word in seen & said if len(word) > 3 or word.isdigit())
    if common:
        return {"match": "yes", "reason": f"Both speak of {common[0]}."}
    return {"match": "no", "reason": "The text speaks of nothing that the annotations have."}


def _caption(data: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    labels = [box["label"] for box in data.get("boxes") or []] + [text["text"] for text in data.get("ocr") or []]
    return {"caption": f"The image shows {' and '.join(f'a {label}' for label in labels) or 'something unknown'}."}


def _boxes(data: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    return {"boxes": list(data.get("boxes") or [])}


def _text(data: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    return {"ocr": list(data.get("ocr") or [])}


def _questions(data: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """One question for each known fact, up to the number asked for; failing that, one about the description."""
    scene = scene_of(data)
    pairs = [
        {"question": named(ask, fact, fact.questions[0]), "answer": fact.value}
        for thing in scene.things
        for ask in [Ask(scene, thing, rng)]
        for fact in facts(ask)
    ]
    if not pairs and scene.caption:
        pairs = [{"question": "What does the image show?", "answer": scene.caption}]
    return {"items": pairs[: int(data.get("count", 4))]}


def _backfill(data: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    return {"items": [_entry(item, scene_of(data)) for item in data.get("items") or []]}


def _entry(item: Mapping[str, Any], scene: Scene) -> dict[str, Any]:
    said = set(words(f"{item['question']} {item['answer']}"))
    about = [thing.label for thing in scene.things if said & set(words(thing.label))] or [
        thing.label for thing in scene.things[:1]
    ]
    fitting = [skill for skill, signs in _SIGNS.items() if said & signs] or ["referencing"]
    steps = [
        {"manipulation": f"grounding_{place}({label})->bbx_{place}", "description": f"Find the {label}."}
        for place, label in enumerate(about, start=1)
    ]
    return {"id": item.get("id", ""), "objects": about, "skills": fitting, "steps": steps}


def _shown(data: Mapping[str, Any]) -> str:
    labels = [box["label"] for box in data.get("boxes") or []] + [text["text"] for text in data.get("ocr") or []]
    return " ".join([str(data.get("caption") or ""), *labels])


_SIGNS = {
    "ocr": {"digit", "number", "text", "read"},
    "existence": {"is", "there", "are", "present"},
    "calculating": {"many", "count", "plus"},
    "grounding": {"where", "left", "right", "top", "bottom"},
}
_MAKERS: dict[str, Maker] = {
    "match": _match, "caption": _caption, "boxes": _boxes, "text": _text, "questions": _questions,
    "backfill": _backfill,
}  # fmt: skip
