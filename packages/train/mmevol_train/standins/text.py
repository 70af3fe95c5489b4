"""Text that teaches a tiny language model what any instruct model can already do.

Scenes are described in words laid out like the visual tokens of one picture (36 slots, in any order), followed by
chat turns: look something up, say yes or no, pick the letter of an option, small arithmetic, follow a format.
There is no image and no benchmark item here, and every arm of an experiment starts from the same model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from importlib.resources import files

from mmevol_train.standins.scene import (
    ASKED,
    BRIEF,
    LETTER,
    NUMBERS,
    REASON,
    VALUES,
    YES_NO,
    Scene,
    scene,
    slots,
)

Turn = tuple[str, str]  # question, answer


def _fill(text: str, described: Scene) -> str:
    noun = "digit" if described.digit is not None else described.facts["shape"]
    return text.format(noun=noun, color=described.facts.get("color", ""))


def _hint(text: str, hints: tuple[str, ...], rng: random.Random, share: float = 0.5) -> str:
    return f"{text}\n{rng.choice(hints)}" if rng.random() < share else text


def look_up(described: Scene, rng: random.Random) -> Turn:
    """Name one fact of the scene."""
    name = rng.choice(list(described.facts))
    return _hint(_fill(rng.choice(ASKED[name]), described), BRIEF, rng), described.facts[name]


def _claim(described: Scene, rng: random.Random) -> tuple[str, bool]:
    """A noun phrase about the scene, and whether it is true."""
    facts, true = described.facts, rng.random() < 0.5
    if described.digit is not None:
        number = facts["digit"] if true else rng.choice([d for d in VALUES["digit"] if d != facts["digit"]])
        return rng.choice((number, f"digit {number}", f"number {number}")), true
    wanted = rng.choice((("color",), ("shape",), ("color", "shape"), ("size", "color", "shape")))
    values = {name: facts[name] for name in wanted}
    if not true:
        name = rng.choice(wanted)
        values[name] = rng.choice([value for value in VALUES[name] if value != facts[name]])
    return " ".join(values.get(name, "shape") for name in (*[n for n in wanted if n != "shape"], "shape")), true


def yes_no(described: Scene, rng: random.Random) -> Turn:
    """Is it there, is it not there."""
    phrase, true = _claim(described, rng)
    asked = rng.choice((
        "Is there a {}?", "is there a {} in the image?", "Is this a {}?", "does the image contain a {}?",
        "Does it show a {}?",
        "is a {} present?", "Do you see a {}?", "Is a {} in the picture?",
    ))  # fmt: skip
    if rng.random() < 0.25:
        asked = rng.choice((
            "is there not a {}?", "is there not a {} in the image?", "is no {} present?",
            "does the image not contain a {}?",
            "is this not a {}?",
        ))  # fmt: skip
        true = not true
    return _hint(asked.format(phrase), YES_NO, rng), "yes" if true else "no"


def same(described: Scene, rng: random.Random) -> Turn:
    """The easier half of yes and no: are two words the same."""
    values = VALUES[rng.choice(list(VALUES))]
    a = rng.choice(values)
    b = a if rng.random() < 0.5 else rng.choice([value for value in values if value != a])
    asked = rng.choice(("Is {} the same as {}?", "Are {} and {} the same word?", "Is {} equal to {}?"))
    return _hint(asked.format(a, b), YES_NO, rng), "yes" if a == b else "no"


def attribute_yes_no(described: Scene, rng: random.Random) -> Turn:
    """Does one attribute have this value."""
    name = rng.choice([n for n in described.facts if n != "digit"])
    true = rng.random() < 0.5
    value = described.facts[name] if true else rng.choice([v for v in VALUES[name] if v != described.facts[name]])
    where = {"column": "Is it at the {}?", "row": "Is it at the {} of the image?"}.get(name)
    asked = where or rng.choice(
        ("Is the {noun} {}?", "Is it {}?", "Is the object {}?", "Is the {noun} in the image {}?")
    )
    if name == "shape":
        asked = rng.choice(("Is it a {}?", "Is the shape a {}?", "Is the object a {}?"))
    noun = "digit" if described.digit is not None else described.facts["shape"] if name != "shape" else "shape"
    return _hint(asked.format(value, noun=noun), YES_NO, rng), "yes" if true else "no"


def one_or_other(described: Scene, rng: random.Random) -> Turn:
    """Choose between two values named in the question."""
    name = rng.choice(list(described.facts))
    pair = [described.facts[name], rng.choice([v for v in VALUES[name] if v != described.facts[name]])]
    rng.shuffle(pair)
    asked = rng.choice(
        ("Is it {} or {}?", "Which is right, {} or {}?", "Is the object {} or {}?", "Which one, {} or {}?")
    )
    return _hint(asked.format(*pair), BRIEF, rng), described.facts[name]


def side(described: Scene, rng: random.Random) -> Turn:
    """Left or right, top or bottom."""
    name = rng.choice(("column", "row"))
    value = described.facts[name]
    if value in ("center", "middle"):
        return look_up(described, rng)
    words = ("left", "right") if name == "column" else ("top", "bottom")
    asked = rng.choice((
        "Which side of the image is the {noun} on, {a} or {b}?", "Is the {noun} on the {a} or the {b}?",
        "Is it on the {a} side or on the {b} side?", "Is the {noun} at the {a} or at the {b} of the picture?",
    ))  # fmt: skip
    noun = "digit" if described.digit is not None else described.facts["shape"]
    return _hint(asked.format(noun=noun, a=words[0], b=words[1]), BRIEF, rng), value


def _options(right: str, wrong: list[str], rng: random.Random) -> tuple[str, str]:
    """Option lines and the letter of the right one."""
    values = [right, *rng.sample(wrong, min(len(wrong), rng.choice((1, 2, 3, 3, 3))))]
    rng.shuffle(values)
    return "\n".join(f"{letter}. {value}" for letter, value in zip("ABCD", values, strict=False)), "ABCD"[
        values.index(right)
    ]


def choice(described: Scene, rng: random.Random) -> Turn:
    """Multiple choice with the options as lines; the answer is the letter."""
    name = rng.choice(list(described.facts))
    lines, letter = _options(described.facts[name], [v for v in VALUES[name] if v != described.facts[name]], rng)
    asked = _fill(rng.choice(ASKED[name]), described)
    layout = rng.choice(("{q}\n{o}", "Question: {q}\nOptions:\n{o}", "{q}\nOptions:\n{o}", "{q}\nChoices:\n{o}"))
    return _hint(layout.format(q=asked, o=lines), LETTER, rng, 0.8), letter


def letter_of(described: Scene, rng: random.Random) -> Turn:
    """The easier half of multiple choice: which letter stands before a given value, and what a letter stands for."""
    values = VALUES[rng.choice(list(VALUES))]
    right = rng.choice(values)
    lines, letter = _options(right, [value for value in values if value != right], rng)
    if rng.random() < 0.3:
        return f"{lines}\nWhat is option {letter}?", right
    return f"{lines}\n" + rng.choice(("Which letter is {}?", "Which option says {}?", "Find {}.")).format(right), letter


def _sum(a: int, rng: random.Random) -> tuple[str, str, int]:
    """Operation in words and in signs with the number `a`, result at least 0."""
    b = rng.randint(0, 9)
    if rng.random() < 0.6 or b > a:
        return f"plus {b}", f"{a} + {b}", a + b
    return f"minus {b}", f"{a} - {b}", a - b


def arithmetic(described: Scene, rng: random.Random) -> Turn:
    """Small sums, with the digit of the scene or with given numbers."""
    digit = described.digit
    shown = digit is not None and rng.random() < 0.8
    a = digit if digit is not None and shown else rng.randint(0, 9)
    words, signs, result = _sum(a, rng)
    if not shown:
        return _hint(rng.choice((f"What is {a} {words}?", f"{signs} =", f"How much is {signs}?")), BRIEF, rng), str(
            result
        )
    asked = rng.choice(
        ("What is the digit {}?", "What is the number in the image {}?", "Take the digit {}. What is the result?")
    )
    if rng.random() < 0.3:
        return (
            f"{asked.format(words)} {rng.choice(REASON)}",
            f"The digit is {a}. {signs} = {result}. So the answer is {result}.",
        )
    return _hint(asked.format(words), BRIEF, rng), str(result)


def compare(described: Scene, rng: random.Random) -> Turn:
    """Larger, smaller, even, odd, next, before, in words."""
    digit = described.digit
    a = digit if digit is not None else rng.randint(0, 9)
    subject = rng.choice(("the digit", "the number shown")) if digit is not None else str(a)
    b = rng.choice([n for n in range(10) if n != a])
    kind = rng.randrange(5)
    if kind == 0:
        word = rng.choice(("larger", "greater", "smaller", "less"))
        true = (a > b) == (word in ("larger", "greater"))
        return _hint(f"Is {subject} {word} than {b}?", YES_NO, rng), "yes" if true else "no"
    if kind == 1:
        word = rng.choice(("even", "odd"))
        return _hint(f"Is {subject} {word}?", YES_NO, rng), "yes" if (a % 2 == 0) == (word == "even") else "no"
    if kind == 2:
        return _hint(f"Is {subject} even or odd?", BRIEF, rng), "even" if a % 2 == 0 else "odd"
    if kind == 3:
        return _hint(f"How is {subject} written in words?", BRIEF, rng), NUMBERS[a]
    word, result = rng.choice((("after", a + 1), ("before", a - 1)))
    return _hint(f"Which number comes {word} {subject}?", BRIEF, rng) if result >= 0 else "What is 0 plus 0?", str(
        max(result, 0)
    )


def count(described: Scene, rng: random.Random) -> Turn:
    """There is one object; another kind is not there."""
    phrase, true = _claim(described, rng)
    if rng.random() < 0.5:
        phrase, true = rng.choice(("object", "thing")), True
    return _hint(
        rng.choice(("How many {}s are there?", "Count the {}s.", "How many {}s are in the image?")).format(phrase),
        BRIEF,
        rng,
    ), str(int(true))


def fill_in(described: Scene, rng: random.Random) -> Turn:
    """Complete a sentence."""
    name = rng.choice(list(described.facts))
    asked = rng.choice(("The {} is ___.", "Fill in the blank: the {} is ___.", "Complete: its {} is"))
    return _hint(asked.format(name), BRIEF, rng), described.facts[name]


def describe(described: Scene, rng: random.Random) -> Turn:
    """One sentence, or a few named facts in a given order."""
    facts = described.facts
    if rng.random() < 0.5:
        names = rng.sample(list(facts), 2)
        return f"Name the {names[0]} and the {names[1]}.", f"{facts[names[0]]} {facts[names[1]]}"
    where = "center" if (facts["row"], facts["column"]) == ("middle", "center") else f"{facts['row']} {facts['column']}"
    return "Describe the picture.", f"A {facts['size']} {described.thing} in the {where}."


def repeat(described: Scene, rng: random.Random) -> Turn:
    """Copy a region given as four numbers."""
    edges = ", ".join(f"{rng.randint(0, 99) / 100:.2f}" for _ in range(4))
    return f"{rng.choice(('Repeat', 'Copy', 'Say'))}: [{edges}]", f"[{edges}]"


Task = Callable[[Scene, random.Random], Turn]
MIXES = ("easy", "matching", "all")
TASKS: dict[Task, tuple[float, float, float]] = {  # weights in the three mixes
    same: (3, 1, 0.5), look_up: (4, 1, 2), letter_of: (4, 2, 1.5), yes_no: (3, 3, 4), attribute_yes_no: (3, 5, 3),
    one_or_other: (1, 1, 1.5), side: (1, 0.5, 1.5), choice: (1, 6, 4), arithmetic: (1, 0.5, 2), compare: (0.5, 0.5, 2),
    count: (0.3, 0.3, 0.5), fill_in: (1, 0.5, 0.7), describe: (1, 0.5, 0.7), repeat: (0.2, 0.1, 0.2),
}  # fmt: skip


def mixed(begin: str, end: str, progress: float) -> list[float]:
    """Weights of the tasks `progress` (0..1) of the way from one of `MIXES` to another."""
    first, last = MIXES.index(begin), MIXES.index(end)
    return [weights[first] + (weights[last] - weights[first]) * progress for weights in TASKS.values()]


def conversation(rng: random.Random, weights: list[float], turns: int = 6) -> tuple[list[str], list[Turn]]:
    """Slots of a scene and `turns` questions about it, drawn by the `weights` of the tasks."""
    described = scene(rng)
    chosen = rng.choices(list(TASKS), weights, k=turns)
    return slots(described, rng), [task(described, rng) for task in chosen]


def corpus(seed: int, count: int) -> Iterator[str]:
    """Plain text for the tokenizer: everyday words of visual question answering, and `count` conversations."""
    words = files("mmevol_train.standins").joinpath("words.txt").read_text(encoding="utf-8").split()
    for word in words * 20:
        yield f" {word} {word} {word}"
    for word in words * 5:
        yield f"{word.capitalize()} {word.capitalize()}\n{word}"
    rng = random.Random(seed)
    for _ in range(count):
        words, turns = conversation(rng, mixed("all", "all", 1.0))
        yield " ".join(["", *words]) + "\n" + "\n".join(f"{question}\n{answer}" for question, answer in turns)
