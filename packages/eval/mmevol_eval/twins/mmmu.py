"""MMMU twin: six disciplines, one or two pictures named in the text, some questions without options.

File: `MMMU_DEV_VAL.tsv` with index, image (a list), question (with `<image n>`), A to D (empty in open questions),
answer, category (subject), l2-category (discipline), question_type, split (one dev row for six of validation, as in
the original). The subjects are names only: what can be asked is the colour, place and kind of shapes and arithmetic
with digits.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.twins.choices import CORNER_NAMES, LETTERS, Choice, place_options, placed, three
from mmevol_eval.twins.scene import COLORS, CORNERS, WORDS, Deck, Scene, is_digit, is_shape
from mmevol_eval.twins.writing import base64_image

Ask = Callable[[tuple[Scene, ...], random.Random], Choice]
DEV_EVERY = 7
OPEN_EVERY = 10


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write about `count` questions (a multiple of the subjects); return how many."""
    rng = random.Random(f"MMMU:{seed}")
    deck = Deck(scenes, rng)
    rows: list[dict[str, str]] = []
    placed_options = Counter[int]()  # questions with options so far, by kind: the right letter goes round within each
    for _ in range(max(1, round(count / len(KINDS)))):
        for place, (discipline, subject, images, fits, ask) in enumerate(KINDS):
            shown = tuple(deck.deal(fits, f"MMMU {subject}") for _ in range(images))
            question, right, wrong = ask(shown, rng)
            number = len(rows)
            is_open = number % OPEN_EVERY == OPEN_EVERY - 1
            letter = LETTERS[(placed_options[place] + place) % (len(wrong) + 1)]
            placed_options[place] += not is_open
            options = dict.fromkeys(LETTERS, "") if is_open else place_options(right, wrong, letter)
            row = {
                "index": str(number),
                "image": str([base64_image(scene.path) for scene in shown]),
                "question": question,
                **options,
                "answer": right if is_open else letter,
                "category": subject,
                "l2-category": discipline,
                "question_type": "open" if is_open else "multiple-choice",
                "split": "dev" if number % DEV_EVERY == 0 else "validation",
            }
            rows.append(row)
    return write_tsv(root / "MMMU_DEV_VAL.tsv", rows)


def _color(shown: tuple[Scene, ...], rng: random.Random) -> Choice:
    right = shown[0].color
    return "<image 1> Which color did the artist use for the object?", right, three(rng, COLORS, right)


def _sales(shown: tuple[Scene, ...], rng: random.Random) -> Choice:
    price, sold = rng.randint(2, 5), shown[0].digit or 0
    totals = [str(price * n) for n in range(10)]
    question = f"The number of units sold is given in <image 1>. Each unit costs {price} dollars. What is the revenue?"
    return question, str(price * sold), three(rng, totals, str(price * sold))


def _polygon(shown: tuple[Scene, ...], rng: random.Random) -> Choice:
    right = str(CORNERS[shown[0].shape])
    return "How many vertices does the figure in <image 1> have?", right, three(rng, ("0", "3", "4", "5"), right)


def _larger(shown: tuple[Scene, ...], rng: random.Random) -> Choice:
    first, second = (scene.digit or 0 for scene in shown)
    right = str(first + second)
    sums = [str(n) for n in range(19)]
    return "Add the number in <image 1> to the number in <image 2>. What is the result?", right, three(rng, sums, right)


def _finding(shown: tuple[Scene, ...], rng: random.Random) -> Choice:
    right = shown[0].corner
    return "<image 1> Where in the scan is the finding located?", right, three(rng, CORNER_NAMES, right)


def _word(shown: tuple[Scene, ...], rng: random.Random) -> Choice:
    right = WORDS[shown[0].digit or 0]
    return "Which English word stands for the numeral in <image 1>?", right, three(rng, WORDS, right)


def _output(shown: tuple[Scene, ...], rng: random.Random) -> Choice:
    step, digit = rng.randint(1, 9), shown[0].digit or 0
    outputs = [str(n + step) for n in range(10)]
    question = f"The variable x has the value shown in <image 1>. What is printed by print(x + {step})?"
    return question, str(digit + step), three(rng, outputs, str(digit + step))


KINDS: tuple[tuple[str, str, int, Callable[[Scene], bool], Ask], ...] = (
    ("Art & Design", "Art", 1, is_shape, _color),
    ("Business", "Accounting", 1, is_digit, _sales),
    ("Science", "Geometry", 1, is_shape, _polygon),
    ("Science", "Math", 2, is_digit, _larger),
    ("Health & Medicine", "Diagnostics_and_Laboratory_Medicine", 1, placed, _finding),
    ("Humanities & Social Science", "Literature", 1, is_digit, _word),
    ("Tech & Engineering", "Computer_Science", 1, is_digit, _output),
)
