"""Mistakes on purpose, at a configured rate and named in the log, so that checking and elimination have real work."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mmevol_dataengine.scripted_teacher.draft import Draft
from mmevol_dataengine.scripted_teacher.scene import (
    COLOR_WORDS,
    COLUMN_WORDS,
    ROW_WORDS,
    SHAPE_WORDS,
    SIZE_WORDS,
    Corners,
    Scene,
    box_text,
)

REPLY_SHARE = 0.15  # of all spoiled items, this share is lost with its whole reply
FOREIGN = ("dog", "bicycle", "tree", "window", "clock", "cat", "bottle", "lamp")
UNKNOWN_SKILLS = ("mind reading", "time travel", "taste", "smell detection")
REFUSALS = ("I'm sorry, I cannot help with this picture.", "I am sorry, I can't assist with that request.")
_OPPOSITES = (
    ("yes", "no"),
    ("even", "odd"),
    ("above", "below"),
    ("left", "right"),
    ("top", "bottom"),
    ("larger", "smaller"),
)
_FAMILIES = (COLOR_WORDS, SHAPE_WORDS, SIZE_WORDS, COLUMN_WORDS, ROW_WORDS)


def shares(rate: float) -> tuple[float, float]:
    """Chance to spoil a reply, and to spoil an item of an unspoiled reply, so that `rate` of all items are spoiled."""
    reply = rate * REPLY_SHARE
    return reply, (rate - reply) / (1 - reply)


def spoil(draft: Draft, scene: Scene, parent: Mapping[str, Any], rng: random.Random) -> tuple[Draft, str]:
    """The draft with one mistake, and the mistake's name."""
    names = list(KINDS)
    rng.shuffle(names)
    for name in names:
        spoiled = KINDS[name](draft, scene, parent, rng)
        if spoiled is not None and spoiled != draft:
            return spoiled, name
    return replace(draft, skills=(*draft.skills, rng.choice(UNKNOWN_SKILLS))), "unknown_skill"


def _hallucinated(draft: Draft, scene: Scene, parent: Mapping[str, Any], rng: random.Random) -> Draft:
    name = rng.choice([name for name in FOREIGN if name not in scene.caption.lower()])
    question = rng.choice(("What is next to the {x}?", "Where is the {x}?", "What is below the {x}?")).format(x=name)
    return replace(draft, question=question, answer=rng.choice(("the shape", "left", "a tree")),
        objects=(*draft.objects, name),
                   steps=((f"grounding_1({name})->bbx_1", f"Find the {name}."),))  # fmt: skip


def _foreign_box(draft: Draft, scene: Scene, parent: Mapping[str, Any], rng: random.Random) -> Draft | None:
    if not scene.boxed:
        return None
    thing = rng.choice(scene.boxed)
    question = f"Give the bounding box of the {thing.kind}."
    return replace(draft, question=question, answer=box_text(_moved(thing.box or (0, 0, 1, 1))), objects=(thing.label,),
                   format="norm" if draft.format == "norm" else "object_region_matching")  # fmt: skip


def _moved(box: Corners) -> Corners:
    left, top, right, bottom = box
    return (round((left + 0.3) % 0.5, 2), top, round(0.5 + (right + 0.3) % 0.5, 2), bottom)


def _wrong_count(draft: Draft, scene: Scene, parent: Mapping[str, Any], rng: random.Random) -> Draft | None:
    if not scene.boxed or not scene.complete:
        return None
    thing = rng.choice(scene.boxed)
    noun = thing.shape or ("digit" if thing.digit else "")
    number = scene.count(shape=thing.shape) if thing.shape else sum(bool(t.digit) for t in scene.things)
    wrong = number + rng.choice((1, 2, 3))
    if not noun:
        return None
    answer = (
        f"I count them one after the other. The answer is {wrong}." if len(draft.answer.split()) > 5 else str(wrong)
    )
    return replace(draft, question=f"How many {noun}s are there? Explain your answer.", answer=answer)


def _wrong_answer(draft: Draft, scene: Scene, parent: Mapping[str, Any], rng: random.Random) -> Draft:
    answer = draft.answer
    if draft.format in ("multi_choice", "region_selection", "missing_object_selection"):
        options = dict(re.findall(r"^([A-D])\. (.+)$", draft.question, re.MULTILINE))
        letter = rng.choice([letter for letter in options if letter != answer[0]])
        return replace(draft, answer=letter if len(answer) == 1 else f"{letter}. {options[letter]}")
    last = answer.rstrip(".").split(" ")[-1]
    end = "." if answer.endswith(".") else ""
    wrong = _other_word(last, rng)
    return replace(draft, answer=f"{answer.rstrip('.')[: -len(last)]}{wrong}{end}") if wrong else draft


def _other_word(word: str, rng: random.Random) -> str:
    lower = word.lower()
    for pair in _OPPOSITES:
        if lower in pair:
            return pair[1 - pair.index(lower)]
    for family in _FAMILIES:
        if lower in family:
            return rng.choice([other for other in family if other != lower])
    return str(int(word) + rng.choice((1, 2))) if word.isdecimal() else ""


def _unchanged(draft: Draft, scene: Scene, parent: Mapping[str, Any], rng: random.Random) -> Draft | None:
    question = str(parent.get("question", ""))
    return replace(draft, question=question, answer=str(parent.get("answer", ""))) if question else None


def _leak(draft: Draft, scene: Scene, parent: Mapping[str, Any], rng: random.Random) -> Draft:
    lead = rng.choice(("According to the caption, ", "Given the annotations, ", "In this rewritten question: "))
    return replace(draft, question=lead + draft.question[0].lower() + draft.question[1:])


def _unknown_skill(draft: Draft, scene: Scene, parent: Mapping[str, Any], rng: random.Random) -> Draft:
    return replace(draft, skills=(*draft.skills, rng.choice(UNKNOWN_SKILLS)))


KINDS: dict[str, Callable[[Draft, Scene, Mapping[str, Any], random.Random], Draft | None]] = {
    "hallucinated_object": _hallucinated,
    "foreign_box": _foreign_box,
    "wrong_count": _wrong_count,
    "wrong_answer": _wrong_answer,
    "unchanged_question": _unchanged,
    "prompt_leak": _leak,
    "unknown_skill": _unknown_skill,
}


def malform(reply: str, rng: random.Random) -> tuple[str, str]:
    """A reply that is no JSON list (some kinds a reader may repair), and the name of what is wrong."""
    kind = rng.choice(("truncated", "fenced", "trailing_comma", "python_literal", "prose", "refusal", "empty"))
    spoiled = {
        "truncated": reply[: len(reply) * 2 // 3],
        "fenced": f"Here is the list:\n```json\n{reply}\n```",
        "trailing_comma": f"{reply.rstrip()[:-1]},]",
        "python_literal": reply.replace('"', "'"),
        "prose": "The picture offers many good questions about shapes and numbers.",
        "refusal": rng.choice(REFUSALS),
        "empty": "",
    }[kind]
    return spoiled, kind if kind == "refusal" else f"malformed_{kind}"
