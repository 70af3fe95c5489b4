"""The `evolve` task: one rewritten item for each given one."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mmevol_dataengine.scripted_teacher import combining, interaction, perception, reasoning
from mmevol_dataengine.scripted_teacher.draft import Ask, Draft, Maker, bare_question
from mmevol_dataengine.scripted_teacher.scene import Scene, Thing, box_text, scene_of

MAKERS: dict[str, tuple[tuple[Maker, int], ...]] = {
    "fine_grained_perception": perception.MAKERS,
    "cognitive_reasoning": reasoning.MAKERS,
    "interaction": interaction.MAKERS,
}
LENGTH_SLACK = 2  # fine-grained perception keeps the number of steps within this of its parent's


def rewrite(data: Mapping[str, Any], direction: str, dice: str) -> list[tuple[Draft, Mapping[str, Any]]]:
    """A draft for every given item, no question twice; a function of its arguments alone."""
    scene = scene_of(data)
    items: Sequence[Mapping[str, Any]] = data.get("items") or []
    asked = {_normal(str(item.get("question", ""))) for item in items}
    drafts, used = [], Counter[Maker]()
    for number, item in enumerate(items):
        draft = _draft(scene, item, direction, random.Random(f"{dice}:{number}"), asked, used)
        asked.add(_normal(draft.question))
        drafts.append((draft, item))
    return drafts


def as_item(draft: Draft, parent: Mapping[str, Any]) -> dict[str, Any]:
    """A draft in the form the data engine reads."""
    steps = [{"manipulation": manipulation, "description": description} for manipulation, description in draft.steps]
    return {
        "parent": parent.get("id"), "objects": list(draft.objects), "skills": list(draft.skills),
        "format": draft.format,
        "question": draft.question, "steps": steps, "answer": draft.answer,
    }  # fmt: skip


def _draft(
    scene: Scene, item: Mapping[str, Any], direction: str, rng: random.Random, asked: set[str], used: Counter[Maker]
) -> Draft:
    """One new question; makers already used for this picture come up less often."""
    depth = len(item.get("steps") or [])
    known = MAKERS[direction]
    if direction == "cognitive_reasoning" and depth >= combining.FROM_STEPS:
        known += combining.MAKERS
    for thing in rng.sample(scene.things, len(scene.things)):
        ask, makers = Ask(scene, thing, rng, item), list(known)
        while makers:
            maker = rng.choices([m for m, _ in makers], [weight / (1 + 3 * used[m]) for m, weight in makers])[0]
            draft = _new(maker, ask, asked)
            if draft:
                used[maker] += 1
                return _fit(draft, thing, item, direction, depth)
            makers = [(other, weight) for other, weight in makers if other is not maker]
    picture = Thing("picture", None)
    return _fit(_from_words(Ask(scene, picture, rng, item), direction), picture, item, direction, depth)


def _new(maker: Maker, ask: Ask, asked: set[str]) -> Draft | None:
    """What a maker asks, unless it has nothing new to ask."""
    for _ in range(3):
        draft = maker(ask)
        if draft is None or _normal(draft.question) not in asked:
            return draft
    return None


def _fit(draft: Draft, thing: Thing, item: Mapping[str, Any], direction: str, depth: int) -> Draft:
    """Match the length of the steps to the parent's: about equal for perception, more for reasoning."""
    if direction == "fine_grained_perception":
        wanted = depth - LENGTH_SLACK
    elif direction == "cognitive_reasoning" and set(draft.skills) <= set(item.get("skills") or ()):
        wanted = depth + 1
    else:
        return draft
    steps = list(draft.steps)
    while len(steps) < wanted:
        number = len(steps) + 1
        target = box_text(thing.box) if thing.box else thing.label
        steps.append((f"referring_{number}({target})->tgt_{number}", "Look at it again to be sure."))
    return replace(draft, steps=tuple(steps))


def _from_words(ask: Ask, direction: str) -> Draft:
    """What remains without annotated things: caption and parent, no places and no counts."""
    question = bare_question(str(ask.parent.get("question", ""))) or "What does the picture show?"
    answer = str(ask.parent.get("answer", "")).strip() or "unknown"
    objects = tuple(str(name) for name in ask.parent.get("objects") or ())
    short = " ".join(answer.split()[:12])
    if direction == "cognitive_reasoning":
        cue = ask.rng.choice(reasoning.CUES)
        thought = f"The picture shows this clearly, so the answer is {short.rstrip('.')}."
        return Draft(f"{question} {cue}", thought, ("context understanding",), objects)
    if direction == "interaction":
        return Draft(f"{question} Answer in capital letters.", short.upper(), ("context understanding",), objects,
                     "instruction_following")  # fmt: skip
    asked = ask.one(
        "Describe the picture in one sentence.", "What can you see in the picture?", "What does the picture show?"
    )
    first = re.split(r"(?<=[.!?])\s", ask.scene.caption)[0] or short
    return Draft(asked, first, ("context understanding",), objects)


def _normal(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))
