"""A question on its way to becoming an item, and what every maker of questions is given."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmevol_dataengine.scripted_teacher.scene import Scene, Thing

WORD_HINTS = (
    "Answer the question using a single word or phrase.",  # LLaVA's own, common in instruction data
    "Answer with one word.",
    "Use one word only.",
    "Keep the answer short.",
    "Please answer in one word.",
)
YES_NO_HINTS = ("Answer yes or no.", "Please say yes or no.", "Yes or no?", WORD_HINTS[0])
LETTER_HINTS = (
    "Answer with the option's letter from the given choices directly.",  # LLaVA's own
    "Answer with one letter.",
    "Give only the letter.",
    "Choose the right letter.",
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A question with its answer and structure; `steps` are (manipulation, description)."""

    question: str
    answer: str
    skills: tuple[str, ...]
    objects: tuple[str, ...] = ()
    format: str = "norm"
    steps: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """What a maker may use: the scene, one thing to ask about, the item being rewritten, and dice."""

    scene: Scene
    thing: Thing
    rng: random.Random
    parent: Mapping[str, Any] = field(default_factory=dict)

    def one(self, *choices: str) -> str:
        """One of several wordings."""
        return self.rng.choice(choices)

    def coin(self, share: float = 0.5) -> bool:
        """True in `share` of the cases."""
        return self.rng.random() < share

    def name(self, hide: str = "") -> str | None:
        """The thing as the question calls it, without giving away `hide`; None when no words tell it apart."""
        names = self.scene.names(self.thing, hide)
        return f"the {self.rng.choice(names)}" if names else None

    def other(self, words: Sequence[str], *taken: str) -> str:
        """One of `words` that is none of `taken`."""
        return self.rng.choice([word for word in words if word not in taken])


Maker = Callable[[Ask], Draft | None]


def hinted(ask: Ask, draft: Draft | None, hints: Sequence[str] = WORD_HINTS, share: float = 0.3) -> Draft | None:
    """The same question, sometimes with a line on how to answer."""
    if draft is None or not ask.coin(share):
        return draft
    return replace(draft, question=f"{draft.question}\n{ask.rng.choice(hints)}")


def yes_no(truth: bool) -> str:
    """The word for a truth value."""
    return "yes" if truth else "no"


def found(thing: Thing) -> tuple[tuple[str, str], ...]:
    """The step of finding a thing: grounding where it has a box, otherwise none."""
    return ((f"grounding_1({thing.label})->bbx_1", f"Find the {thing.label}."),) if thing.box else ()


def looked_at(thing: Thing) -> tuple[tuple[str, str], ...]:
    """The steps of finding a thing and looking at it closely (reading it, if it is text)."""
    if not thing.box:
        return ()
    if thing.digit:
        return (*found(thing), ("ocr_1(bbx_1)->txt_1", "Read the digit there."))
    return (*found(thing), ("referring_1(bbx_1)->tgt_1", "Look at it closely."))


def calculated(thing: Thing, formula: str) -> tuple[tuple[str, str], ...]:
    """The steps of finding, reading and calculating."""
    return (*looked_at(thing), (f"calculate_1({formula})->res_1", f"Work out {formula}."))


def bare_question(text: str) -> str:
    """The question itself, without hints and options: up to its first question mark, first letter upper case."""
    asked = re.match(r"[^?\n]*\?", text.strip())
    return asked.group(0)[:1].upper() + asked.group(0)[1:] if asked else ""
