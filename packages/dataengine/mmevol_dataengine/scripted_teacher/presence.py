"""Presence: is there one, is there none, how many are there."""

from __future__ import annotations

from mmevol_dataengine.scripted_teacher.draft import YES_NO_HINTS, Ask, Draft, found, hinted, yes_no
from mmevol_dataengine.scripted_teacher.scene import COLOR_WORDS, DIGIT_WORDS, SHAPE_WORDS, Scene, Thing


def existence(ask: Ask) -> Draft | None:
    """Is there an X, balanced; X is a colour, a shape, both, or a digit."""
    claim = _claim(ask)
    if claim is None:
        return None
    name, truth = claim
    article = "an" if name[0] in "aeiou" else "a"
    question = ask.one(
        "Is there {a} {x} in the picture?", "Do you see {a} {x}?", "Can you see {a} {x}?",
        "Does the picture show {a} {x}?",
        "Is {a} {x} visible?", "Is {a} {x} present here?", "Is there any {x}?", "Does the image have {a} {x}?",
    )  # fmt: skip
    if question.startswith("Is there"):  # a plain question of this form is machine-checked against the labels' words
        name = name.replace(" shape", " object")
    draft = Draft(question.format(a=article, x=name), yes_no(truth), ("existence",), (ask.thing.label,), "norm",
                  found(ask.thing))  # fmt: skip
    return hinted(ask, draft, YES_NO_HINTS)


def absence(ask: Ask) -> Draft | None:
    """Negation: the answer is yes when the X is not there."""
    claim = _claim(ask)
    if claim is None:
        return None
    name, truth = claim
    question = ask.one(
        "Is it true that there is no {x}?", "Is the picture without a {x}?", "Is there no {x} here?",
        "Is it right that no {x} can be seen?", "Is a {x} missing from the picture?",
    )  # fmt: skip
    draft = Draft(
        question.format(x=name), yes_no(not truth), ("existence",), (ask.thing.label,), "norm", found(ask.thing)
    )
    return hinted(ask, draft, YES_NO_HINTS)


def _claim(ask: Ask) -> tuple[str, bool] | None:
    """A description that fits some thing of the scene, or none, by a fair coin; None where words alone decide."""
    thing, truth = ask.thing, ask.coin()
    if not ask.scene.complete:
        return None
    for _ in range(20):
        name, actual = _candidate(ask, thing, truth)
        if name and actual == truth:
            return name, truth
    return None


def _candidate(ask: Ask, thing: Thing, truth: bool) -> tuple[str, bool]:
    scene = ask.scene
    if thing.digit:
        value = thing.digit if truth else ask.other(DIGIT_WORDS, thing.digit)
        return f"digit {value}", scene.has(digit=value)
    if not thing.shape:
        return "", False
    part = ask.one("color", "shape", "both", "both")
    hue = thing.color if truth or (part == "both" and ask.coin()) else ask.other(COLOR_WORDS, thing.color)
    form = thing.shape if truth or (part == "both" and hue != thing.color) else ask.other(SHAPE_WORDS, thing.shape)
    if part == "color":
        return f"{hue} shape", scene.has(color=hue)
    return (form, scene.has(shape=form)) if part == "shape" else (f"{hue} {form}", scene.has(color=hue, shape=form))


def counting(ask: Ask) -> Draft | None:
    """How many things of a kind."""
    if not ask.scene.complete or not (ask.thing.shape or ask.thing.digit):
        return None
    kinds = _kinds(ask.scene) if ask.coin(0.7) else _absent_kinds(ask)
    name, number = ask.rng.choice(kinds)
    question = ask.one(
        "How many {x} are there?", "How many {x} can you see?", "Count the {x}.", "What is the number of {x} here?",
        "How many {x} does the picture show?",
    ).format(x=name)  # fmt: skip
    return hinted(ask, Draft(question, str(number), ("calculating",), (ask.thing.label,), "norm", found(ask.thing)))


def _kinds(scene: Scene) -> list[tuple[str, int]]:
    kinds: dict[str, int] = {}
    for thing in scene.things:
        if thing.shape:
            kinds["shapes"] = sum(bool(t.shape) for t in scene.things)
            kinds[f"{thing.color} shapes"] = scene.count(color=thing.color)
            kinds[f"{thing.shape}s"] = scene.count(shape=thing.shape)
        if thing.digit:
            kinds["digits"] = sum(bool(t.digit) for t in scene.things)
    return list(kinds.items())


def _absent_kinds(ask: Ask) -> list[tuple[str, int]]:
    absent = [(f"{word}s", 0) for word in SHAPE_WORDS if not ask.scene.has(shape=word)]
    return absent or _kinds(ask.scene)
