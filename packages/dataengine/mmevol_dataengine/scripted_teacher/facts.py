"""Single facts about a thing that any format can ask for: value, alternatives, a question and a sentence with a gap."""

from __future__ import annotations

from dataclasses import dataclass

from mmevol_dataengine.scripted_teacher.draft import Ask, bare_question
from mmevol_dataengine.scripted_teacher.scene import (
    COLOR_WORDS,
    COLUMN_WORDS,
    DIGIT_WORDS,
    ROW_WORDS,
    SHAPE_WORDS,
    SIZE_WORDS,
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One property of one thing; `questions` and `gaps` still hold {x} for the thing's name."""

    kind: str
    value: str
    words: tuple[str, ...]
    hide: str
    skill: str
    questions: tuple[str, ...]
    gaps: tuple[str, ...]


def facts(ask: Ask) -> list[Fact]:
    """All facts known about the asked thing."""
    thing = ask.thing
    quarter = f"{thing.half} {thing.side}" if thing.half and thing.side else ""
    quarters = ("top left", "top right", "bottom left", "bottom right")
    found = [
        Fact("color", thing.color, COLOR_WORDS, "color", "referencing",
             ("What color is {x}?", "Which color has {x}?", "What is the color of {x}?"),
             ("The color of {x} is ___.", "In the picture, {x} is ___ in color.")),
        Fact("shape", thing.shape, SHAPE_WORDS, "shape", "referencing",
             ("What shape is {x}?", "Which form has {x}?", "What kind of shape is {x}?"),
             ("The form of {x} is a ___.", "In the picture, {x} is a ___.")),
        Fact("digit", thing.digit, DIGIT_WORDS, "digit", "ocr",
             ("Which digit is it?", "Which number do you see?", "What is the digit?"),
             ("The digit in the picture is ___.", "The number is ___.")),
        Fact("side", thing.side, ("left", "right"), "", "grounding",
             ("On which side is {x}?", "Which half, left or right, holds {x}?"),
             ("Of left and right, {x} is in the ___ half.", "Left or right: {x} is on the ___.")),
        Fact("half", thing.half, ("top", "bottom"), "", "grounding",
             ("Is {x} in the top or the bottom half?", "Which half, top or bottom, holds {x}?"),
             ("Of top and bottom, {x} is in the ___ half.", "Top or bottom: {x} is in the ___ half.")),
        Fact("column", thing.column, COLUMN_WORDS, "", "grounding",
             ("Where is {x} from left to right?", "Which third from left to right holds {x}?"), ()),
        Fact("row", thing.row, ROW_WORDS, "", "grounding",
             ("Where is {x} from top to bottom?", "Which third from top to bottom holds {x}?"), ()),
        Fact("quarter", quarter, quarters, "", "grounding",
             ("In which quarter is {x}?", "Which part of the picture holds {x}?"),
             ("The quarter that holds {x} is the ___.",)),
        Fact("size", thing.size, SIZE_WORDS, "", "context understanding",
             ("What size is {x}?", "How large is {x}?"), ("Small, medium or large: {x} is ___.",)),
    ]  # fmt: skip
    alone = len(ask.scene.things) == 1
    return [f for f in found if f.value and (f.kind != "digit" or alone) and ask.scene.names(thing, f.hide)]


def named(ask: Ask, fact: Fact, wording: str) -> str:
    """A wording with the thing's name in it, silent about the fact itself; first letter upper case."""
    text = wording.replace("{x}", f"the {ask.rng.choice(ask.scene.names(ask.thing, fact.hide))}")
    return text[:1].upper() + text[1:]


def fact_question(ask: Ask) -> tuple[Fact, str] | None:
    """A fact and a question for it: the parent's own question where the annotations confirm its answer."""
    known = facts(ask)
    if not known:
        return None
    question = bare_question(str(ask.parent.get("question", "")))
    if question and ask.coin(0.6) and len(ask.scene.things) == 1:
        fact = _asked_by(question, str(ask.parent.get("answer", "")), known)
        if fact:
            return fact, question
    fact = ask.rng.choice(known)
    return fact, named(ask, fact, ask.rng.choice(fact.questions))


def _asked_by(question: str, answer: str, known: list[Fact]) -> Fact | None:
    """The fact that a plain wh-question with this answer asks for."""
    value = answer.strip().rstrip(".").lower()
    words = question.lower().strip("?").split()
    if words[0] not in ("what", "which") or any(
        word in words for word in ("plus", "minus", "times", "not", "no", "if", "gap")
    ):
        return None
    return next((fact for fact in known if fact.value == value and fact.kind in ("color", "shape", "digit")), None)
