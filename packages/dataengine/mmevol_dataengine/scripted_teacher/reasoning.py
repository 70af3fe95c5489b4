"""Cognitive reasoning: more steps than before, a cue to reason, and a short line of thought in the answer."""

from __future__ import annotations

from mmevol_dataengine.scripted_teacher.draft import Ask, Draft, Maker, calculated, found, looked_at, yes_no
from mmevol_dataengine.scripted_teacher.scene import COLOR_WORDS, SHAPE_WORDS, Thing

CUES = (
    "Think step by step.", "Explain how you know.", "Reason in one sentence, then answer.", "Show your working.",
    "Think first, then answer.", "Say why.", "Explain your answer.", "Work it out step by step.",
)  # fmt: skip
SIDES = {"circle": 0, "triangle": 3, "rectangle": 4}
PARTNER = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
Steps = tuple[tuple[str, str], ...]


def reasoned(ask: Ask, question: str, thought: str, answer: str, skills: tuple[str, ...], steps: Steps) -> Draft:
    """A question with a cue, and an answer that thinks in a few words and ends in the bare result."""
    end = ask.one(
        "So the answer is {a}.", "The answer is {a}.", "Therefore the answer is {a}.", "My answer is {a}."
    ).format(a=answer)
    return Draft(f"{question} {ask.rng.choice(CUES)}", f"{thought} {end}", skills, (ask.thing.label,), "norm", steps)


def _digit(ask: Ask) -> int | None:
    alone = len(ask.scene.things) == 1 and ask.thing.digit
    return int(ask.thing.digit) if alone else None


def arithmetic(ask: Ask) -> Draft | None:
    """The digit plus, minus or times a small number; results are 0 to 20."""
    value = _digit(ask)
    if value is None:
        return None
    word, sign = ask.one("plus +", "plus +", "minus -", "minus -", "times *").split()
    other = ask.rng.randint(1, {"plus": 9, "minus": max(value, 1), "times": 2 if value > 5 else 3}[word])
    if word == "minus" and other > value:
        return None
    result = {"plus": value + other, "minus": value - other, "times": value * other}[word]
    question = ask.one(
        "What is the digit {w} {n}?", "How much is the number in the picture {w} {n}?",
        "Take the digit {w} {n}. What do you get?",
        "What is the result of the digit {w} {n}?", "If you take the number shown {w} {n}, what is it?",
    ).format(w=word, n=other)  # fmt: skip
    thought = ask.one(
        "The digit is {v}, and {v} {w} {n} is {r}.",
        "I read {v}; {v} {w} {n} is {r}.",
        "It shows {v}. {v} {w} {n} is {r}.",
    )
    return reasoned(ask, question, thought.format(v=value, w=word, n=other, r=result), str(result),
                    ("ocr", "calculating"), calculated(ask.thing, f"{value}{sign}{other}"))  # fmt: skip


def comparison(ask: Ask) -> Draft | None:
    """The digit against a number: larger or smaller, balanced."""
    value, truth = _digit(ask), ask.coin()
    word = ask.one("larger", "smaller")
    if value is None:
        return None
    others = [n for n in range(10) if n != value and (n < value if word == "larger" else n > value) == truth]
    if not others:
        return _compare_open(ask, value)
    other = ask.rng.choice(others)
    question = ask.one(
        "Is the digit {w} than {n}?", "Is the number in the picture {w} than {n}?", "Is the number shown {w} than {n}?"
    )
    actual = "larger" if value > other else "smaller"
    return reasoned(ask, question.format(w=word, n=other),
        f"The digit is {value}, and {value} is {actual} than {other}.",
                    yes_no(truth), ("ocr", "calculating"), calculated(ask.thing, f"{value}>{other}"))  # fmt: skip


def _compare_open(ask: Ask, value: int) -> Draft:
    other = ask.rng.choice([n for n in range(10) if n != value])
    question = ask.one("Which is larger, the digit or {n}?", "Which number is larger: the digit or {n}?").format(
        n=other
    )
    return reasoned(ask, question, f"The digit is {value}, and the other number is {other}.", str(max(value, other)),
                    ("ocr", "calculating"), calculated(ask.thing, f"max({value}, {other})"))  # fmt: skip


def parity(ask: Ask) -> Draft | None:
    """Even or odd, open or yes/no."""
    value = _digit(ask)
    if value is None:
        return None
    actual = "odd" if value % 2 else "even"
    thought = ask.one("The digit is {v}, and {v} is {a}.", "It shows {v}; {v} is an {a} number.").format(
        v=value, a=actual
    )
    steps = calculated(ask.thing, f"{value} mod 2")
    if ask.coin():
        question = ask.one("Is the digit even or odd?", "Even or odd: which is the number shown?")
        return reasoned(ask, question, thought, actual, ("ocr", "knowledge integration"), steps)
    truth = ask.coin()
    shown = actual if truth else ("even" if value % 2 else "odd")
    question = ask.one("Is the digit {s}?", "Is the number in the picture an {s} number?").format(s=shown)
    return reasoned(ask, question, thought, yes_no(truth), ("ocr", "knowledge integration"), steps)


def neighbor(ask: Ask) -> Draft | None:
    """The number after or before, or two after."""
    value = _digit(ask)
    if value is None:
        return None
    phrase, change = ask.rng.choice((("right after", 1), ("right before", -1), ("two after", 2)))
    if value + change < 0:
        return None
    question = ask.one("Which number comes {p} the digit?", "When you count, which number is {p} the one shown?")
    return reasoned(ask, question.format(p=phrase), f"The digit is {value}, so count on from {value}." if change > 0
                    else f"The digit is {value}, so count back from {value}.", str(value + change),
                    ("ocr", "knowledge integration"), calculated(ask.thing, f"{value}{change:+d}"))  # fmt: skip


def sides(ask: Ask) -> Draft | None:
    """How many straight sides the shape has, with a small sum."""
    thing, names = ask.thing, ask.scene.names(ask.thing, "shape")
    if not thing.shape or not names:
        return None
    number, other = SIDES[thing.shape], ask.rng.choice((0, 0, 1, 2, 3))
    tail = f" plus {other}" if other else ""
    question = ask.one(
        "What is the number of straight sides of {x}{t}?", "Count the straight sides of {x}{t}. What do you get?"
    )
    many = "no straight sides" if not number else f"{number} straight sides"
    thought = f"It is a {thing.shape}, and a {thing.shape} has {many}."
    if other:
        thought += f" {number} plus {other} is {number + other}."
    return reasoned(ask, question.format(x=f"the {ask.rng.choice(names)}", t=tail), thought, str(number + other),
                    ("knowledge integration", "calculating"), calculated(thing, f"{number}+{other}"))  # fmt: skip


def condition(ask: Ask) -> Draft | None:
    """If it has one property answer this, otherwise that."""
    pair = _known_pair(ask.thing)
    names = ask.scene.names(ask.thing, pair[0][0]) if pair else []
    if pair is None or not names:
        return None
    (_, value, words, first), (kind, answer), (other_kind, other_answer) = pair
    truth = ask.coin()
    shown = value if truth else ask.other(words, value)
    wanted, other = (
        ((kind, answer), (other_kind, other_answer)) if ask.coin() else ((other_kind, other_answer), (kind, answer))
    )
    question = ask.one(
        "If {x} {f} {s}, name its {w}; otherwise name its {o}. What do you answer?",
        "When {x} {f} {s}, tell me the {w}, otherwise the {o}. Which is it?",
    ).format(x=f"the {ask.rng.choice(names)}", f=first, s=shown, w=wanted[0], o=other[0])  # fmt: skip
    chosen = wanted if truth else other
    thought = f"It {first} {value}{'' if truth else f', not {shown}'}, so I name its {chosen[0].split(',')[0]}."
    return reasoned(
        ask, question, thought, chosen[1], ("context understanding", "relationship description"), looked_at(ask.thing)
    )


def _known_pair(thing: Thing) -> tuple[tuple[str, str, tuple[str, ...], str], tuple[str, str], tuple[str, str]] | None:
    """A property to test and two others to answer with, where all are known."""
    if not (thing.side and thing.half):
        return None
    places = ("side, left or right", thing.side), ("half, top or bottom", thing.half)
    if thing.shape:
        return ("color", thing.color, COLOR_WORDS, "is"), ("form", thing.shape), places[0]
    if thing.digit:
        digits = tuple(str(number) for number in range(10))
        return ("digit", thing.digit, digits, "is"), places[1], places[0]
    return None


def both(ask: Ask) -> Draft | None:
    """Two properties at once, balanced yes/no."""
    thing = ask.thing
    names = ask.scene.names(thing, "shape" if thing.shape else "digit")
    first, words = (thing.shape, SHAPE_WORDS) if thing.shape else (thing.digit, tuple("0123456789"))
    place, kind = (thing.side, "half") if thing.side and (ask.coin() or not thing.half) else (thing.half, "half")
    if not first or not place or not names or not (thing.shape or len(ask.scene.things) == 1):
        return None
    truth = ask.coin()
    wrong = "" if truth else ask.one("first", "place")
    shown = ask.other(words, first) if wrong == "first" else first
    where = PARTNER[place] if wrong == "place" else place
    a = f"a {shown}" if thing.shape else f"the digit {shown}"
    question = ask.one("Is {x} {a} and in the {w} half?", "Is it true that {x} is {a} and lies in the {w} half?")
    actual = f"a {first}" if thing.shape else f"the digit {first}"
    return reasoned(ask, question.format(x=f"the {ask.rng.choice(names)}", a=a, w=where),
                    f"It is {actual} in the {place} {kind}.", yes_no(truth),
                    ("context understanding", "existence"), looked_at(thing))  # fmt: skip


def mirror(ask: Ask) -> Draft | None:
    """Where the thing would be after flipping the picture."""
    across = bool(ask.thing.side) and (ask.coin() or not ask.thing.half)
    place, name = ask.thing.side if across else ask.thing.half, ask.name()
    if not place or name is None:
        return None
    way = (
        ask.one("mirrored left to right", "flipped from left to right")
        if across
        else ask.one("turned upside down", "flipped from top to bottom")
    )
    choice = "left or right" if across else "top or bottom"
    question = ask.one(
        "If the picture is {m}, in which half is {x}, {c}?", "The picture gets {m}. Where is {x} then, {c}?"
    )
    if "upside" in way:
        way = "flipped upside down"
    return reasoned(ask, question.format(m=way, x=name, c=choice),
        f"Now it is in the {place} half, and the flip swaps the halves.",
                    PARTNER[place], ("grounding", "behavior prediction"), found(ask.thing))  # fmt: skip


def larger(ask: Ask) -> Draft | None:
    """Which of two things covers more of the picture (pairs and mosaics)."""
    things = sorted((t for t in ask.scene.boxed if ask.scene.names(t)), key=lambda thing: -thing.area)
    if len(things) < 2 or things[0].area < 1.2 * things[1].area:
        return None
    first, second = things[0], things[1]
    a, b = ask.rng.sample([ask.scene.names(first)[-1], ask.scene.names(second)[-1]], 2)
    steps = (
        (f"grounding_1({first.label})->bbx_1", "Find one."),
        (f"grounding_2({second.label})->bbx_2", "Find the other."),
    )
    question = ask.one("Which is larger, the {a} or the {b}?", "Compare the {a} and the {b}. Which one is larger?")
    draft = reasoned(ask, question.format(a=a, b=b),
        f"The {first.label} covers more of the picture than the {second.label}.",
                     f"the {ask.scene.names(first)[-1]}", ("relationship description", "grounding"), steps)  # fmt: skip
    return Draft(draft.question, draft.answer, draft.skills, (first.label, second.label), draft.format, draft.steps)


def total(ask: Ask) -> Draft | None:
    """The sum of two digits (pairs and mosaics)."""
    digits = [thing for thing in ask.scene.boxed if thing.digit]
    if len(digits) != 2:
        return None
    a, b = (int(thing.digit) for thing in digits)
    question = ask.one("What is the sum of the two digits?", "Add the two digits. What do you get?")
    steps = (
        *((f"grounding_{n}({t.label})->bbx_{n}", "Find a digit.") for n, t in enumerate(digits, 1)),
        (f"calculate_1({a}+{b})->res_1", "Add them."),
    )
    return reasoned(
        ask,
        question,
        f"The digits are {a} and {b}, and {a} plus {b} is {a + b}.",
        str(a + b),
        ("ocr", "calculating"),
        steps,
    )


MAKERS: tuple[tuple[Maker, int], ...] = (  # with weights
    (arithmetic, 4), (comparison, 3), (parity, 2), (neighbor, 2), (sides, 2), (condition, 3), (both, 3), (mirror, 2),
    (larger, 3), (total, 3),
)  # fmt: skip
