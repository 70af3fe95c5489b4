"""Harder again: reasoning over more steps, for items that already take several."""

from __future__ import annotations

from mmevol_dataengine.scripted_teacher.draft import Ask, Draft, Maker, calculated, looked_at, yes_no
from mmevol_dataengine.scripted_teacher.reasoning import PARTNER, SIDES, reasoned
from mmevol_dataengine.scripted_teacher.scene import COLOR_WORDS, DIGIT_WORDS, SHAPE_WORDS

FROM_STEPS = 2  # an item with so many steps is combined further


def chain(ask: Ask) -> Draft | None:
    """Two operations on the digit, one after the other; results are 0 to 20."""
    if not ask.thing.digit or len(ask.scene.things) != 1:
        return None
    value, first, second = int(ask.thing.digit), ask.rng.randint(1, 6), ask.rng.randint(1, 5)
    middle = value + first
    word, result = ("plus", middle + second) if ask.coin() else ("minus", middle - second)
    if not 0 <= result <= 20:
        return None
    question = ask.one(
        "Take the digit plus {a}, then {w} {b}. What do you get?", "What is the digit plus {a}, and then {w} {b}?",
        "What is the number in the picture plus {a} {w} {b}?",
    ).format(a=first, b=second, w=word)  # fmt: skip
    thought = f"The digit is {value}. {value} plus {first} is {middle}. {middle} {word} {second} is {result}."
    formula = f"{value}+{first}{'+' if word == 'plus' else '-'}{second}"
    return reasoned(ask, question, thought, str(result), ("ocr", "calculating"), calculated(ask.thing, formula))


def sum_property(ask: Ask) -> Draft | None:
    """Whether a sum is even or odd, or larger than a number."""
    if not ask.thing.digit or len(ask.scene.things) != 1:
        return None
    value, other = int(ask.thing.digit), ask.rng.randint(1, 9)
    total = value + other
    thought = f"The digit is {value}, and {value} plus {other} is {total}"
    steps = calculated(ask.thing, f"{value}+{other}")
    if ask.coin():
        parity = "odd" if total % 2 else "even"
        question = f"Is the digit plus {other} even or odd?"
        return reasoned(ask, question, f"{thought}, an {parity} number.", parity, ("ocr", "calculating"), steps)
    truth = ask.coin()
    limit = ask.rng.randint(max(0, total - 4), total - 1) if truth else ask.rng.randint(total, total + 4)
    question = ask.one("Is the digit plus {n} larger than {m}?", "Is the number shown plus {n} larger than {m}?")
    return reasoned(ask, question.format(n=other, m=limit), f"{thought}.", yes_no(truth), ("ocr", "calculating"), steps)


def side_count(ask: Ask) -> Draft | None:
    """More or fewer straight sides than a number, balanced."""
    thing, names = ask.thing, ask.scene.names(ask.thing, "shape")
    if not thing.shape or not names:
        return None
    number, truth = SIDES[thing.shape], ask.coin()
    claims = [("more", n) for n in range(6) if (number > n) == truth]
    claims += [("fewer", n) for n in range(1, 6) if (number < n) == truth]
    word, limit = ask.rng.choice(claims)
    question = f"Does the {ask.rng.choice(names)} have {word} than {limit} straight sides?"
    thought = f"It is a {thing.shape}, and a {thing.shape} has {number} straight sides."
    skills = ("knowledge integration", "calculating")
    return reasoned(ask, question, thought, yes_no(truth), skills, calculated(thing, f"{number}>{limit}"))


def three_properties(ask: Ask) -> Draft | None:
    """What it is and both halves it lies in, balanced yes/no; a false claim is wrong in one of the three."""
    thing = ask.thing
    if len(ask.scene.things) != 1 or not (thing.shape or thing.digit) or not (thing.side and thing.half):
        return None
    what = {"color": thing.color, "shape": thing.shape} if thing.shape else {"digit": thing.digit}
    claimed, truth = {**what, "half": thing.half, "side": thing.side}, ask.coin()
    if not truth:
        wrong = ask.rng.choice(list(claimed))
        words = {"color": COLOR_WORDS, "shape": SHAPE_WORDS, "digit": DIGIT_WORDS}.get(wrong)
        claimed[wrong] = ask.other(words, claimed[wrong]) if words else PARTNER[claimed[wrong]]
    noun = "shape" if thing.shape else "number"
    name = f"a {claimed['color']} {claimed['shape']}" if thing.shape else f"the digit {claimed['digit']}"
    question = ask.one(
        "Is the {o} {n}, in the {h} half and in the {s} half?", "Is the {o} {n} and does it lie at the {h} {s}?"
    ).format(o=noun, n=name, h=claimed["half"], s=claimed["side"])
    thought = f"It is {'a' if thing.shape else 'the'} {thing.label} at the {thing.half} {thing.side}."
    return reasoned(ask, question, thought, yes_no(truth), ("context understanding", "existence"), looked_at(thing))


MAKERS: tuple[tuple[Maker, int], ...] = ((chain, 6), (sum_property, 5), (side_count, 5), (three_properties, 6))
