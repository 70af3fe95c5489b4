"""Multiple-choice questions about one picture, and the writer of their TSV files."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.twins.scene import COLORS, CORNERS, SHAPES, WORDS, Deck, Scene, other
from mmevol_eval.twins.writing import base64_image

LETTERS = "ABCD"
CORNER_NAMES = ("top left", "top right", "bottom left", "bottom right")
Choice = tuple[str, str, tuple[str, ...]]  # question, right option, wrong ones
Ask = Callable[[Scene, random.Random], Choice]
Fits = Callable[[Scene], bool]


@dataclass(frozen=True)
class Kind:
    """One kind of question: pictures that fit, how to ask, and the row's own columns (category and so on)."""

    columns: Mapping[str, str]
    fits: Fits
    ask: Ask


def write_choices(name: str, kinds: Sequence[Kind], scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write `NAME.tsv`: the kinds in turn until there are about `count` rows.

    The right letter goes round within each kind, so that neither a letter nor a kind tells anything about the answer.
    """
    rng = random.Random(f"{name}:{seed}")
    deck = Deck(scenes, rng)
    rows: list[dict[str, str]] = []
    for number in range(max(1, round(count / len(kinds)))):
        for place, kind in enumerate(kinds):
            scene = deck.deal(kind.fits, f"{name} {next(iter(kind.columns.values()), '')}")
            question, right, wrong = kind.ask(scene, rng)
            letter = LETTERS[(number + place) % (len(wrong) + 1)]
            row = {"index": str(len(rows)), "image": base64_image(scene.path), "question": question}
            rows.append({**row, **place_options(right, wrong, letter), "answer": letter, **kind.columns})
    return write_tsv(root / f"{name}.tsv", rows)


def place_options(right: str, wrong: Sequence[str], letter: str) -> dict[str, str]:
    """Option columns A to D with the right option at `letter`; all options must differ, absent ones are empty."""
    if len({right, *wrong}) != len(wrong) + 1:
        raise ValueError(f"options are not distinct: {right!r}, {wrong!r}")
    options = list(wrong)
    options.insert(LETTERS.index(letter), right)
    return dict(zip(LETTERS, [*options, "", "", ""], strict=False))


def three(rng: random.Random, values: Sequence[str], right: str) -> tuple[str, ...]:
    """Three different wrong values."""
    return tuple(rng.sample([value for value in values if value != right], 3))


def placed(scene: Scene) -> bool:
    """Whether the object lies clearly in one corner."""
    return bool(scene.corner)


def anything(scene: Scene) -> bool:
    """Any picture."""
    return True


def main_object(scene: Scene, rng: random.Random) -> Choice:
    """What kind of thing is shown."""
    kinds = ("circle", "rectangle", "triangle", "number")
    right = scene.shape or "number"
    return "What is the main object in the image?", right, three(rng, kinds, right)


def which_digit(scene: Scene, rng: random.Random) -> Choice:
    """The digit as a word."""
    right = WORDS[scene.digit or 0]
    return "Which number does the image show?", right, three(rng, WORDS, right)


def color(scene: Scene, rng: random.Random) -> Choice:
    """The colour of the shape."""
    return f"What is the color of the {scene.shape}?", scene.color, three(rng, COLORS, scene.color)


def location(scene: Scene, rng: random.Random) -> Choice:
    """The corner."""
    question = f"Where in the image is the {scene.thing} located?"
    return question, scene.corner, three(rng, CORNER_NAMES, scene.corner)


def description(scene: Scene, rng: random.Random) -> Choice:
    """The description with the right colour and shape."""
    color, shape = other(rng, COLORS, scene.color), other(rng, SHAPES, scene.shape)
    wrong = (f"a {color} {scene.shape}", f"a {scene.color} {shape}", f"a {color} {shape}")
    question = "Which of the following descriptions fits the object in the image?"
    return question, f"a {scene.label}", tuple(rng.sample(wrong, 3))


def conclusion(scene: Scene, rng: random.Random) -> Choice:
    """The statement that follows from colour and shape."""
    color, shape = other(rng, COLORS, scene.color), other(rng, SHAPES, scene.shape)
    right = f"it is {scene.color} and not a {shape}"
    wrong = (
        f"it is {scene.color} and not a {scene.shape}",
        f"it is {color} and not a {shape}",
        f"it is {color} and not a {scene.shape}",
    )
    return "Which statement about the object in the image is correct?", right, tuple(rng.sample(wrong, 3))


def mirrored(scene: Scene, rng: random.Random) -> Choice:
    """The corner after a flip."""
    right = f"{scene.level} {'right' if scene.side == 'left' else 'left'}"
    question = f"The image is flipped from left to right. Where is the {scene.thing} then?"
    return question, right, three(rng, CORNER_NAMES, right)


def total(scene: Scene, rng: random.Random) -> Choice:
    """A sum with the digit."""
    addend, digit = rng.randint(1, 9), scene.digit or 0
    right = str(digit + addend)
    totals = [str(n + addend) for n in range(10)]
    return f"What is the sum of the number in the image and {addend}?", right, three(rng, totals, right)


def comparison(scene: Scene, rng: random.Random) -> Choice:
    """The value equal to the digit."""
    right = str(scene.digit)
    digits = [str(n) for n in range(10)]
    return "Which of these values is equal to the number in the image?", right, three(rng, digits, right)


def corners(scene: Scene, rng: random.Random) -> Choice:
    """How many corners the shape has."""
    right = str(CORNERS[scene.shape])
    return "How many corners does the shape in the image have?", right, three(rng, ("0", "3", "4", "5"), right)


def program(scene: Scene, rng: random.Random) -> Choice:
    """What a line of Python prints."""
    factor, digit = rng.randint(2, 5), scene.digit or 0
    right = str(digit * factor)
    outputs = [str(n * factor) for n in range(10)]
    question = f"The image shows the value of x. What does the code print(x * {factor}) print?"
    return question, right, three(rng, outputs, right)
