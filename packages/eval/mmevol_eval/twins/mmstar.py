"""MMStar twin: four options, six core capabilities.

File: `MMStar.tsv` with index, image, question, A, B, C, D, answer, category, l2_category. The right letter goes
round (A, B, C, D, A, ...), wrong options are drawn from the same values as right ones. coarse perception: what the
picture shows; fine-grained perception: colour and place; instance reasoning: the description that fits; logical
reasoning: what follows about the object, and what changes when it is moved; math: arithmetic with the digit;
science & technology: corners, and what a program prints.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.twins.scene import COLORS, CORNERS, SHAPES, WORDS, Deck, Scene, is_digit, is_shape, other
from mmevol_eval.twins.writing import base64_image

LETTERS = "ABCD"
CORNER_NAMES = ("top left", "top right", "bottom left", "bottom right")
Choice = tuple[str, str, tuple[str, ...]]  # question, right option, three wrong ones
Ask = Callable[[Scene, random.Random], Choice]
Fits = Callable[[Scene], bool]


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write about `count` questions (a multiple of the kinds of question); return how many."""
    rng = random.Random(f"MMStar:{seed}")
    deck = Deck(scenes, rng)
    rows: list[dict[str, str]] = []
    for number in range(max(1, round(count / len(KINDS)))):
        for category, detail, fits, ask in KINDS:
            scene = deck.deal(fits, f"MMStar {detail}")
            question, right, wrong = ask(scene, rng)
            letter = LETTERS[(len(rows) + number) % 4]
            row = {
                "index": str(len(rows)),
                "image": base64_image(scene.path),
                "question": question,
                **place_options(right, wrong, letter),
                "answer": letter,
                "category": category,
                "l2_category": detail,
            }
            rows.append(row)
    return write_tsv(root / "MMStar.tsv", rows)


def place_options(right: str, wrong: Sequence[str], letter: str) -> dict[str, str]:
    """Option columns with the right option at `letter`; all options must differ."""
    if len({right, *wrong}) != len(wrong) + 1:
        raise ValueError(f"options are not distinct: {right!r}, {wrong!r}")
    options = list(wrong)
    options.insert(LETTERS.index(letter), right)
    return dict(zip(LETTERS, options, strict=False))


def three(rng: random.Random, values: Sequence[str], right: str) -> tuple[str, ...]:
    """Three different wrong values."""
    return tuple(rng.sample([value for value in values if value != right], 3))


def _main_object(scene: Scene, rng: random.Random) -> Choice:
    kinds = ("circle", "rectangle", "triangle", "number")
    right = scene.shape or "number"
    return "What is the main object in the image?", right, three(rng, kinds, right)


def _which_digit(scene: Scene, rng: random.Random) -> Choice:
    right = WORDS[scene.digit or 0]
    return "Which number does the image show?", right, three(rng, WORDS, right)


def _color(scene: Scene, rng: random.Random) -> Choice:
    return f"What is the color of the {scene.shape}?", scene.color, three(rng, COLORS, scene.color)


def _location(scene: Scene, rng: random.Random) -> Choice:
    question = f"Where in the image is the {scene.thing} located?"
    return question, scene.corner, three(rng, CORNER_NAMES, scene.corner)


def _description(scene: Scene, rng: random.Random) -> Choice:
    color, shape = other(rng, COLORS, scene.color), other(rng, SHAPES, scene.shape)
    wrong = (f"a {color} {scene.shape}", f"a {scene.color} {shape}", f"a {color} {shape}")
    question = "Which of the following descriptions fits the object in the image?"
    return question, f"a {scene.label}", tuple(rng.sample(wrong, 3))


def _conclusion(scene: Scene, rng: random.Random) -> Choice:
    color, shape = other(rng, COLORS, scene.color), other(rng, SHAPES, scene.shape)
    right = f"it is {scene.color} and not a {shape}"
    wrong = (
        f"it is {scene.color} and not a {scene.shape}",
        f"it is {color} and not a {shape}",
        f"it is {color} and not a {scene.shape}",
    )
    return "Which statement about the object in the image is correct?", right, tuple(rng.sample(wrong, 3))


def _mirrored(scene: Scene, rng: random.Random) -> Choice:
    right = f"{scene.level} {'right' if scene.side == 'left' else 'left'}"
    question = f"The image is flipped from left to right. Where is the {scene.thing} then?"
    return question, right, three(rng, CORNER_NAMES, right)


def _sum(scene: Scene, rng: random.Random) -> Choice:
    addend, digit = rng.randint(1, 9), scene.digit or 0
    right = str(digit + addend)
    totals = [str(n + addend) for n in range(10)]
    return f"What is the sum of the number in the image and {addend}?", right, three(rng, totals, right)


def _comparison(scene: Scene, rng: random.Random) -> Choice:
    right = str(scene.digit)
    digits = [str(n) for n in range(10)]
    return "Which of these values is equal to the number in the image?", right, three(rng, digits, right)


def _corners(scene: Scene, rng: random.Random) -> Choice:
    right = str(CORNERS[scene.shape])
    return "How many corners does the shape in the image have?", right, three(rng, ("0", "3", "4", "5"), right)


def _program(scene: Scene, rng: random.Random) -> Choice:
    factor, digit = rng.randint(2, 5), scene.digit or 0
    right = str(digit * factor)
    outputs = [str(n * factor) for n in range(10)]
    question = f"The image shows the value of x. What does the code print(x * {factor}) print?"
    return question, right, three(rng, outputs, right)


def _placed(scene: Scene) -> bool:
    return bool(scene.corner)


def _anything(scene: Scene) -> bool:
    return True


KINDS: tuple[tuple[str, str, Fits, Ask], ...] = (
    ("coarse perception", "image scene and topic", _anything, _main_object),
    ("coarse perception", "image style & quality", is_digit, _which_digit),
    ("fine-grained perception", "attribute & celebrity recognition", is_shape, _color),
    ("fine-grained perception", "localization", _placed, _location),
    ("instance reasoning", "single-instance reasoning", is_shape, _description),
    ("instance reasoning", "cross-instance attribute comparison", is_digit, _comparison),
    ("logical reasoning", "common reasoning", is_shape, _conclusion),
    ("logical reasoning", "diagram reasoning", _placed, _mirrored),
    ("math", "numeric commonsense and calculation", is_digit, _sum),
    ("math", "geometry", is_shape, _corners),
    ("science & technology", "engineering", is_digit, _program),
    ("science & technology", "natural science", is_shape, _corners),
)
