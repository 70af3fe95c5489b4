"""Interaction: the same knowledge asked for in other formats."""

from __future__ import annotations

from dataclasses import replace

from mmevol_dataengine.scripted_teacher import options
from mmevol_dataengine.scripted_teacher.draft import YES_NO_HINTS, Ask, Draft, Maker, found, hinted, looked_at, yes_no
from mmevol_dataengine.scripted_teacher.facts import fact_question, facts, named

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def fill_in(ask: Ask) -> Draft | None:
    """A sentence with a gap."""
    known = [fact for fact in facts(ask) if fact.gaps]
    if not known:
        return None
    fact = ask.rng.choice(known)
    lead = ask.one("Fill in the blank: ", "Complete the sentence: ", "Which word fits the gap? ", "")
    question = lead + named(ask, fact, ask.rng.choice(fact.gaps))
    draft = Draft(question, fact.value, (fact.skill,), (ask.thing.label,), "fill_in_the_blank", looked_at(ask.thing))
    return hinted(ask, draft, share=0.2)


def text_detection(ask: Ask) -> Draft | None:
    """Text in the picture: which, or whether there is any."""
    thing = ask.thing
    steps = looked_at(thing)
    if thing.digit and ask.coin(0.6) and len(ask.scene.things) == 1:
        question = ask.one(
            "What text is in the picture?", "Which characters can you read?", "Read the text in the picture."
        )
        return hinted(ask, Draft(question, thing.digit, ("ocr",), (thing.label,), "text_detection", steps))
    if not ask.scene.complete or not (thing.digit or thing.shape):
        return None
    truth = any(t.digit for t in ask.scene.things)
    question = ask.one("Can any number be read in the picture?", "Does the picture hold a written number?")
    if ask.coin():
        question, truth = (
            ask.one("Is the picture free of numbers?", "Does the picture show nothing to read?"),
            not truth,
        )
    draft = Draft(question, yes_no(truth), ("ocr", "existence"), (thing.label,), "text_detection", steps)
    return hinted(ask, draft, YES_NO_HINTS)


def text_translation(ask: Ask) -> Draft | None:
    """The digit as a word."""
    if not ask.thing.digit or len(ask.scene.things) != 1:
        return None
    question = ask.one("Write the digit as an English word.", "Spell the number in letters.", "Say the digit in words.")
    word = DIGIT_NAMES[int(ask.thing.digit)]
    return Draft(
        question, word, ("ocr", "knowledge integration"), (ask.thing.label,), "text_translation", looked_at(ask.thing)
    )


def instruction(ask: Ask) -> Draft | None:
    """An order about the form of the answer."""
    pair = fact_question(ask)
    if pair is None:
        return None
    fact, question = pair
    thing = ask.thing
    orders = [
        ("Answer twice, with a comma between.", f"{fact.value}, {fact.value}"),
        ("Begin the answer with the word answer.", f"answer {fact.value}"),
        ("End the answer with the word done.", f"{fact.value} done"),
    ]
    if fact.kind != "digit":
        orders += [
            ("Answer in capital letters.", fact.value.upper()),
            ("Use capital letters only.", fact.value.upper()),
        ]
        orders += [("Answer with the first letter only.", fact.value[0])]
    order, answer = ask.rng.choice(orders)
    asked = f"{question} {order}"
    if thing.color and len(ask.scene.things) == 1 and ask.coin(0.4):
        asked, answer = ask.rng.choice([
            ("Reply with exactly two words: color then shape.", f"{thing.color} {thing.shape}"),
            ("Reply with exactly two words: shape then color.", f"{thing.shape} {thing.color}"),
            ("Describe the object in two words, color first.", f"{thing.color} {thing.shape}"),
        ])  # fmt: skip
    return Draft(
        asked, answer, (fact.skill, "context understanding"), (thing.label,), "instruction_following", looked_at(thing)
    )


def rationale(ask: Ask) -> Draft | None:
    """Why a true statement holds."""
    thing = ask.thing
    name = ask.name()
    reasons = []
    if thing.side:
        reasons.append(
            (f"{name} is in the {thing.side} half", f"Its center lies {thing.side} of the middle of the picture.")
        )
    if thing.half:
        way = "above" if thing.half == "top" else "below"
        reasons.append((f"{name} is in the {thing.half} half", f"Its center lies {way} the middle of the picture."))
    if thing.shape and (f"{thing.color} shape" in ask.scene.names(thing)):
        why = {"circle": "It is round and has no corners.", "triangle": "It has three straight sides.",
               "rectangle": "It has four straight sides."}[thing.shape]  # fmt: skip
        reasons.append((f"the {thing.color} shape is a {thing.shape}", why))
    if not reasons or name is None:
        return None
    fact, why = ask.rng.choice(reasons)
    question = ask.one("Why can we say that {f}?", "Give a reason: {f}.", "How can you tell that {f}?").format(f=fact)
    return Draft(question, why, ("context understanding", "knowledge integration"), (thing.label,),
        "rationales_generation",
                 found(thing))  # fmt: skip


def distance(ask: Ask) -> Draft | None:
    """Which edge of the picture is nearer."""
    name, box = ask.name(), ask.thing.box
    if not box or name is None:
        return None
    across = ask.coin()
    near, far = (box[0], 1 - box[2]) if across else (box[1], 1 - box[3])
    if abs(near - far) < 0.06:
        return None
    first, second = ("left", "right") if across else ("top", "bottom")
    question = ask.one(
        "Is {x} nearer to the {a} edge or to the {b} edge?", "Which edge is closer to {x}, {a} or {b}?",
        "To which edge is {x} closer: {a} or {b}?",
    ).format(x=name, a=first, b=second)  # fmt: skip
    answer = first if near < far else second
    draft = Draft(
        question,
        answer,
        ("relationship description", "grounding"),
        (ask.thing.label,),
        "relative_distance",
        found(ask.thing),
    )
    return hinted(ask, draft)


def coreference(ask: Ask) -> Draft | None:
    """A pronoun to resolve."""
    known = facts(ask)
    if len(known) < 2:
        return None
    fact = ask.rng.choice(known)
    name = ask.rng.choice(ask.scene.names(ask.thing, fact.hide))
    article = "an" if name[0] in "aeiou" else "a"
    lead = ask.one("The picture shows {a} {x}. ", "Here is {a} {x}. ", "Look at the {x}. ").format(a=article, x=name)
    question = lead + ask.rng.choice(fact.questions).replace("{x}", "it")
    draft = Draft(question, fact.value, (fact.skill, "context understanding"), (ask.thing.label,),
        "coreference_resolution",
                  looked_at(ask.thing))  # fmt: skip
    return hinted(ask, draft, share=0.2)


def completeness(ask: Ask) -> Draft | None:
    """What a description leaves out."""
    thing = ask.thing
    if not thing.shape or len(ask.scene.things) != 1:
        return None
    said, missing = ask.rng.choice([(f"a {thing.shape}", "color"), (f"a {thing.color} thing", "shape")])
    question = ask.one(
        "A friend says the picture shows {s}. What is left out, color or shape?",
        "The answer was: {s}. Which part is missing, the color or the shape?",
    ).format(s=said)  # fmt: skip
    if ask.coin(0.6):
        question, missing = f"{question} Add it in one word.", thing.color if missing == "color" else thing.shape
    return Draft(
        question, missing, ("context understanding",), (thing.label,), "completeness_of_response", looked_at(thing)
    )


def creative(ask: Ask) -> Draft | None:
    """A short line that says nothing but facts."""
    thing = ask.thing
    what = f"{thing.color} {thing.shape}".strip() or thing.label
    if len(ask.scene.things) != 1:
        return None
    where = f" in the {thing.half} half" if thing.half else ""
    question, answer = ask.rng.choice([
        ("Write a short title for the picture.", f"The {what}"),
        ("Write one line of a story about the picture.", f"Once there was a {what}{where}."),
        ("Give the picture a name.", f"The {what}"),
        ("Write a short line about the picture.", f"Here is a {what}{where}."),
        ("Make up a sign for this picture.", f"Look, a {what}!"),
    ])  # fmt: skip
    return Draft(
        question, answer, ("context understanding",), (thing.label,), "creative_content_generation", found(thing)
    )


def style(ask: Ask) -> Draft | None:
    """Handwriting or a plain drawing, by what the things are."""
    if not ask.scene.complete or len({bool(thing.digit) for thing in ask.scene.things}) > 1:
        return None
    if not (ask.thing.digit or ask.thing.shape):
        return None
    right, wrong = ("handwriting", "drawing") if ask.thing.digit else ("drawing", "handwriting")
    question = ask.one("Is this a drawing or handwriting?", "What do you see: handwriting or a drawing of a shape?")
    draft = Draft(
        question, right, ("context understanding",), (ask.thing.label,), "image_style_classification", found(ask.thing)
    )
    if ask.coin(0.4):
        lines, letter = options.lettered(ask, right, [wrong])
        return replace(draft, question=f"Which kind of picture is this?\n{lines}", answer=letter)
    return draft


MAKERS: tuple[tuple[Maker, int], ...] = (  # with weights
    (options.multi_choice, 8), (options.region_selection, 2), (options.missing_object, 3), (options.text_image, 3),
    (options.object_region, 2), (fill_in, 4), (text_detection, 2), (text_translation, 1), (instruction, 3),
    (rationale, 1), (distance, 2), (coreference, 3), (completeness, 1), (creative, 1), (style, 1),
)  # fmt: skip
