"""Interaction formats with options, and those that match words with the picture."""

from __future__ import annotations

from collections.abc import Sequence

from mmevol_dataengine.scripted_teacher.draft import (
    LETTER_HINTS,
    YES_NO_HINTS,
    Ask,
    Draft,
    found,
    hinted,
    looked_at,
    yes_no,
)
from mmevol_dataengine.scripted_teacher.facts import fact_question
from mmevol_dataengine.scripted_teacher.scene import COLOR_WORDS, DIGIT_WORDS, SHAPE_WORDS, box_text

LETTERS = "ABCD"


def lettered(ask: Ask, right: str, wrong: Sequence[str]) -> tuple[str, str]:
    """Options as lines and the right letter, its position drawn evenly."""
    options = list(wrong)
    position = ask.rng.randrange(len(options) + 1)
    options.insert(position, right)
    return "\n".join(f"{LETTERS[n]}. {option}" for n, option in enumerate(options)), LETTERS[position]


def _choice(ask: Ask, question: str, right: str, wrong: Sequence[str]) -> tuple[str, str]:
    lines, letter = lettered(ask, right, wrong)
    if ask.coin(0.25):
        return f"{question}\n{lines}", f"{letter}. {right}"
    hint = f"\n{ask.rng.choice(LETTER_HINTS)}" if ask.coin() else ""
    return f"{question}\n{lines}{hint}", letter


def multi_choice(ask: Ask) -> Draft | None:
    """Two to four options."""
    pair = fact_question(ask)
    if pair is None:
        return None
    fact, question = pair
    others = [word for word in fact.words if word != fact.value]
    wrong = ask.rng.sample(others, min(len(others), ask.rng.choice((1, 2, 3, 3, 3))))
    asked, answer = _choice(ask, question, fact.value, wrong)
    return Draft(asked, answer, (fact.skill, "existence"), (ask.thing.label,), "multi_choice", looked_at(ask.thing))


def region_selection(ask: Ask) -> Draft | None:
    """The quarter that holds a thing, from four."""
    thing, name = ask.thing, ask.name()
    if not (thing.side and thing.half and name):
        return None
    quarters = ("top left", "top right", "bottom left", "bottom right")
    right = f"{thing.half} {thing.side}"
    asked, answer = _choice(
        ask, ask.one(f"Select the region that holds {name}.", f"Which region holds {name}?",
            f"Choose the part with {name}."),
        right, ask.rng.sample([q for q in quarters if q != right], 3),
    )  # fmt: skip
    return Draft(asked, answer, ("grounding", "existence"), (thing.label,), "region_selection", found(thing))


def missing_object(ask: Ask) -> Draft | None:
    """Which of some objects is not there."""
    scene = ask.scene
    if not scene.complete or not (ask.thing.shape or ask.thing.digit):
        return None
    present = [f"digit {t.digit}" if t.digit else f"{t.color} {t.shape}" for t in scene.things]
    present += [phrase for t in scene.things if t.shape for phrase in (f"{t.color} shape", t.shape)]
    if ask.thing.digit:
        absent = [f"digit {d}" for d in DIGIT_WORDS if not scene.has(digit=d)]
    else:
        absent = [f"{c} {s}" for c in COLOR_WORDS for s in SHAPE_WORDS if not scene.has(color=c, shape=s)]
    known = list(dict.fromkeys(present))
    question = ask.one(
        "Which of these is not in the picture?", "Which object is missing from the picture?",
        "What can you not see here?",
        "Select the object that is missing.",
    )  # fmt: skip
    asked, answer = _choice(
        ask, question, ask.rng.choice(absent), ask.rng.sample(known, min(len(known), ask.rng.choice((1, 2, 3))))
    )
    return Draft(asked, answer, ("existence",), (ask.thing.label,), "missing_object_selection", found(ask.thing))


def text_image(ask: Ask) -> Draft | None:
    """Whether a sentence fits the picture, balanced."""
    thing, truth = ask.thing, ask.coin()
    words = {"color": thing.color, "shape": thing.shape, "digit": thing.digit, "side": thing.side, "half": thing.half}
    choices = {
        "color": COLOR_WORDS,
        "shape": SHAPE_WORDS,
        "digit": DIGIT_WORDS,
        "side": ("left", "right"),
        "half": ("top", "bottom"),
    }
    said = [kind for kind, value in words.items() if value]
    if len(ask.scene.things) != 1 or not (thing.shape or thing.digit):
        return None
    if not truth:
        wrong = ask.rng.choice(said)
        words[wrong] = ask.other(choices[wrong], words[wrong])
    what = f"digit {words['digit']}" if thing.digit else f"{words['color']} {words['shape']}"
    where = " ".join(words[kind] for kind in ("half", "side") if words[kind])
    sentence = f"a {what} in the {where} part" if where else f"a {what}"
    question = ask.one(
        "Does this text fit the picture: {s}?", "Do picture and text match? Text: {s}.", "Is this right: {s}?"
    )
    draft = Draft(question.format(s=sentence), yes_no(truth), ("existence", "context understanding"), (thing.label,),
                  "text_image_matching", looked_at(thing))  # fmt: skip
    return hinted(ask, draft, YES_NO_HINTS)


def object_region(ask: Ask) -> Draft | None:
    """Whether a region holds an object, balanced."""
    thing, truth = ask.thing, ask.coin()
    if not thing.box or not (thing.shape or thing.digit):
        return None
    right = f"digit {thing.digit}" if thing.digit else f"{thing.color} {thing.shape}"
    if truth:
        shown = right
    elif thing.digit:
        shown = f"digit {ask.other(DIGIT_WORDS, thing.digit)}"
    else:
        shown = (
            f"{ask.other(COLOR_WORDS, thing.color)} {thing.shape}"
            if ask.coin()
            else f"{thing.color} {ask.other(SHAPE_WORDS, thing.shape)}"
        )
    box = box_text(thing.box)
    question = ask.one(
        "Does the region {b} hold a {s}?", "Do the region {b} and the object {s} match?", "Is the object in {b} a {s}?"
    )
    steps = ((f"referring_1({box})->tgt_1", "Look at the region."),)
    draft = Draft(question.format(b=box, s=shown), yes_no(truth), ("referencing", "existence"), (thing.label,),
                  "object_region_matching", steps)  # fmt: skip
    return hinted(ask, draft, YES_NO_HINTS)
