"""Fine-grained perception: new targets at about the same difficulty."""

from __future__ import annotations

from mmevol_dataengine.scripted_teacher.draft import YES_NO_HINTS, Ask, Draft, Maker, found, hinted, looked_at, yes_no
from mmevol_dataengine.scripted_teacher.presence import absence, counting, existence
from mmevol_dataengine.scripted_teacher.scene import (
    COLOR_WORDS,
    DIGIT_WORDS,
    SHAPE_WORDS,
    SIZE_WORDS,
    Thing,
    box_text,
)


def _word(ask: Ask, thing: Thing, hide: str, answer: str, skills: tuple[str, ...], *wordings: str) -> Draft | None:
    """An open question with a one-word answer; {x} in a wording stands for the thing."""
    names = ask.scene.names(thing, hide)
    if not names or not answer:
        return None
    question = ask.one(*wordings).format(x=f"the {ask.rng.choice(names)}")
    steps = looked_at(thing) if hide else found(thing)
    return hinted(ask, Draft(question, answer, skills, (thing.label,), "norm", steps))


def color(ask: Ask) -> Draft | None:
    """The colour of a shape."""
    return _word(
        ask, ask.thing, "color", ask.thing.color, ("referencing",), "What color is {x}?", "Which color does {x} have?",
        "What is the color of {x} in the picture?", "Of which color is {x}?", "Name the color of {x}.",
        "In which color is {x} drawn?", "Look at {x}. What color is it?",
    )  # fmt: skip


def shape(ask: Ask) -> Draft | None:
    """The kind of a shape."""
    return _word(
        ask, ask.thing, "shape", ask.thing.shape, ("referencing",), "What kind of shape is {x}?", "Which shape is {x}?",
        "Is {x} a circle, a rectangle or a triangle?", "What form does {x} have?", "What is the shape of {x}?",
        "Look at {x}. Which shape is it?",
    )  # fmt: skip


def digit(ask: Ask) -> Draft | None:
    """The value of a digit."""
    if len(ask.scene.things) > 1:
        return None
    return _word(
        ask, ask.thing, "digit", ask.thing.digit, ("ocr",), "Which digit do you see?", "What number is written here?",
        "Read {x}. What is it?", "What is {x} in the picture?", "Which number is shown?", "Which digit is written?",
        "What does {x} say?",
    )  # fmt: skip


def side(ask: Ask) -> Draft | None:
    """Left or right half."""
    return _word(
        ask, ask.thing, "", ask.thing.side, ("grounding",), "On which side of the picture is {x}, left or right?",
        "Is {x} on the left or on the right?", "Which half holds {x}, the left or the right?",
        "Where do you see {x}, left or right?", "Is {x} in the left half or in the right half?",
    )  # fmt: skip


def half(ask: Ask) -> Draft | None:
    """Top or bottom half."""
    return _word(
        ask, ask.thing, "", ask.thing.half, ("grounding",), "Is {x} in the top half or in the bottom half?",
        "Which half holds {x}, the top or the bottom?", "Is {x} at the top or at the bottom?",
        "Where is {x}, top or bottom?", "In which half of the image is {x}, top or bottom?",
    )  # fmt: skip


def column(ask: Ask) -> Draft | None:
    """Left, center or right third."""
    return _word(
        ask, ask.thing, "", ask.thing.column, ("grounding",), "Is {x} on the left, in the center or on the right?",
        "Which third of the picture holds {x}: left, center or right?", "Where is {x}: left, center or right?",
        "From left to right, where is {x}: left, center or right?",
    )  # fmt: skip


def row(ask: Ask) -> Draft | None:
    """Top, middle or bottom third."""
    return _word(
        ask, ask.thing, "", ask.thing.row, ("grounding",), "Is {x} at the top, in the middle or at the bottom?",
        "Which third of the picture holds {x}: top, middle or bottom?", "How high is {x}: top, middle or bottom?",
        "Where is {x}: top, middle or bottom?",
    )  # fmt: skip


def corner(ask: Ask) -> Draft | None:
    """The quarter of the picture, two words."""
    thing = ask.thing
    answer = f"{thing.half} {thing.side}" if thing.half and thing.side else ""
    return _word(
        ask, thing, "", answer, ("grounding",), "In which quarter of the picture is {x}?",
        "Which corner is {x} nearest to?", "Is {x} at the top left, top right, bottom left or bottom right?",
        "Where is {x}? Name the quarter.",
    )  # fmt: skip


def size(ask: Ask) -> Draft | None:
    """Small, medium or large."""
    return _word(
        ask, ask.thing, "", ask.thing.size, ("context understanding",), "Is {x} small, medium or large?",
        "What size is {x}: small, medium or large?", "How large is {x}: small, medium or large?",
        "How big is {x}: small, medium or large?", "What is the size of {x}: small, medium or large?",
    )  # fmt: skip


def background(ask: Ask) -> Draft | None:
    """The background's colour, where the caption tells it."""
    if not ask.scene.background:
        return None
    question = ask.one("What color is the background?", "What is the color behind {x}?", "Which color is around {x}?")
    name = ask.name() or f"the {ask.thing.label}"
    draft = Draft(question.format(x=name), ask.scene.background, ("context understanding",), (ask.thing.label,))
    return hinted(ask, draft)


def attribute(ask: Ask) -> Draft | None:
    """A balanced yes/no about place, size, colour or shape of one thing."""
    thing, truth = ask.thing, ask.coin()
    options = [
        ("color", thing.color, COLOR_WORDS, "Is {x} {v}?", "Is {v} the color of {x}?"),
        ("shape", thing.shape, SHAPE_WORDS, "Is {x} a {v}?", "Does {x} have the form of a {v}?"),
        ("digit", thing.digit, DIGIT_WORDS, "Is {x} the number {v}?", "Does {x} say {v}?"),
        ("", thing.size, SIZE_WORDS, "Is {x} {v} in size?", "Would you call {x} {v}?"),
        ("", thing.side, ("left", "right"), "Is {x} in the {v} half?", "Do you see {x} on the {v} side?"),
        (
            "",
            thing.half,
            ("top", "bottom"),
            "Is {x} in the {v} half of the picture?",
            "Do you see {x} in the {v} half?",
        ),
    ]
    hide, value, words, *wordings = ask.rng.choice([option for option in options if option[1]] or [options[0]])
    names = ask.scene.names(thing, str(hide))
    if not value or not names:
        return None
    shown = str(value) if truth else ask.other([str(word) for word in words], str(value))
    question = ask.one(*[str(wording) for wording in wordings]).format(x=f"the {ask.rng.choice(names)}", v=shown)
    draft = Draft(question, yes_no(truth), ("existence",), (thing.label,), "norm", looked_at(thing))
    return hinted(ask, draft, YES_NO_HINTS)


def grounding(ask: Ask) -> Draft | None:
    """The box of a named thing."""
    name = ask.name()
    if not ask.thing.box or name is None:
        return None
    question = ask.one(
        "Give the bounding box of {x}.", "Where is {x}? Give its box.", "Which box holds {x}?",
        "Find {x} and give its box.",
        "What are the coordinates of {x}?", "Locate {x}.",
    ).format(x=name)  # fmt: skip
    return Draft(question, box_text(ask.thing.box), ("grounding",), (ask.thing.label,), "norm", found(ask.thing))


def referencing(ask: Ask) -> Draft | None:
    """What a given box holds."""
    if not ask.thing.box:
        return None
    question = ask.one(
        "What is inside the region {b}?", "What do you see in the box {b}?", "What is at {b}?",
        "Name the object in {b}.",
        "Which object is in the region {b}?",
    ).format(b=box_text(ask.thing.box))  # fmt: skip
    steps = ((f"referring_1({box_text(ask.thing.box)})->tgt_1", "Look at the region."),)
    return Draft(question, ask.thing.label, ("referencing",), (ask.thing.label,), "norm", steps)


def relation(ask: Ask) -> Draft | None:
    """Two things: which side of the other one is on (pairs and mosaics)."""
    pairs = [(a, b) for a in ask.scene.boxed for b in ask.scene.boxed if a is not b]
    ask.rng.shuffle(pairs)
    for a, b in pairs:
        if not (a.center and b.center and ask.scene.names(a) and ask.scene.names(b)):
            continue
        across, down = a.center[0] - b.center[0], a.center[1] - b.center[1]
        if abs(across) < 0.1 and abs(down) < 0.1:
            continue
        names = {"x": ask.rng.choice(ask.scene.names(a)), "y": ask.rng.choice(ask.scene.names(b))}
        if abs(across) >= abs(down):
            question, answer = "Is the {x} left or right of the {y}?", "left" if across < 0 else "right"
        else:
            question, answer = "Is the {x} above or below the {y}?", "above" if down < 0 else "below"
        steps = (
            (f"grounding_1({a.label})->bbx_1", "Find the first."),
            (f"grounding_2({b.label})->bbx_2", "Find the second."),
        )
        draft = Draft(
            question.format(**names), answer, ("relationship description",), (a.label, b.label), "norm", steps
        )
        return hinted(ask, draft)
    return None


MAKERS: tuple[tuple[Maker, int], ...] = (  # with weights
    (color, 2), (shape, 2), (digit, 2), (side, 2), (half, 2), (column, 1), (row, 1), (corner, 2), (size, 2),
    (background, 1), (existence, 4), (absence, 2), (attribute, 4), (counting, 2), (grounding, 1), (referencing, 1),
    (relation, 2),
)  # fmt: skip
