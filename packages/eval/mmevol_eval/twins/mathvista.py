"""MathVista twin: arithmetic and geometry about a picture, half with options and half with whole numbers as answers.

File: `MathVista_MINI.tsv` with index, image, question (hint, question, choices), answer, question_type, answer_type,
choices (a list), answer_option, task, skills (a list). No answer is 0 and none is a text without options: the official
rules cannot settle those without a judge, and the twin is scored without one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.twins.choices import LETTERS, three
from mmevol_eval.twins.scene import CORNERS, Deck, Scene, is_digit
from mmevol_eval.twins.writing import base64_image

HINTS = {
    "multi_choice": "Hint: Answer with the letter of the correct choice, for example A.",
    "free_form": "Hint: Answer with a whole number, for example 4.",
}
Asked = tuple[str, int, tuple[int, ...]]  # question, answer, values that wrong choices are drawn from
Ask = Callable[[Scene, random.Random], Asked]


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write about `count` questions (a multiple of the kinds, each in both forms); return how many."""
    rng = random.Random(f"MathVista:{seed}")
    deck = Deck(scenes, rng)
    rows: list[dict[str, str]] = []
    for number in range(max(1, round(count / (2 * len(KINDS))))):
        for task, skill, fits, ask in KINDS:
            for form in HINTS:
                scene = deck.deal(fits, f"MathVista {task}")
                question, answer, values = ask(scene, rng)
                letter = LETTERS[(number + len(rows)) % 4]
                rows.append(_row(len(rows), scene, form, question, answer, _choices(answer, values, letter, rng)))
                rows[-1] |= {"task": task, "skills": str([skill])}
    return write_tsv(root / "MathVista_MINI.tsv", rows)


def _row(index: int, scene: Scene, form: str, question: str, answer: int, choices: list[str]) -> dict[str, str]:
    chosen = form == "multi_choice"
    lines = [HINTS[form], f"Question: {question}"]
    if chosen:
        lines += ["Choices:", *(f"({letter}) {text}" for letter, text in zip(LETTERS, choices, strict=True))]
    return {
        "index": str(index),
        "image": base64_image(scene.path),
        "question": "\n".join(lines),
        "answer": str(answer),
        "question_type": form,
        "answer_type": "text" if chosen else "integer",
        "choices": str(choices) if chosen else "",
        "answer_option": LETTERS[choices.index(str(answer))] if chosen else "",
    }


def _choices(answer: int, values: tuple[int, ...], letter: str, rng: random.Random) -> list[str]:
    texts = list(three(rng, [str(value) for value in values], str(answer)))
    texts.insert(LETTERS.index(letter), str(answer))
    return texts


def _sum(scene: Scene, rng: random.Random) -> Asked:
    addend = rng.randint(1, 9)
    question = f"What is the sum of the number in the figure and {addend}?"
    return question, (scene.digit or 0) + addend, tuple(n + addend for n in range(10))


def _less(scene: Scene, rng: random.Random) -> Asked:
    start = rng.randint(10, 15)
    question = f"There were {start} apples, and as many as the figure shows were eaten. How many are left?"
    return question, start - (scene.digit or 0), tuple(start - n for n in range(10))


def _corners(scene: Scene, rng: random.Random) -> Asked:
    return "How many angles does the figure have?", CORNERS[scene.shape], (2, 3, 4, 5, 6)


def _read(scene: Scene, rng: random.Random) -> Asked:
    return "Which number is written in the image?", scene.digit or 0, tuple(range(1, 10))


def _angles(scene: Scene, rng: random.Random) -> Asked:
    sums = {3: 180, 4: 360}
    return "What is the sum of the figure's angles in degrees?", sums[CORNERS[scene.shape]], (90, 180, 270, 360, 540)


def _polygon(scene: Scene) -> bool:
    return CORNERS.get(scene.shape, 0) > 0


KINDS: tuple[tuple[str, str, Callable[[Scene], bool], Ask], ...] = (
    ("figure question answering", "arithmetic reasoning", is_digit, _sum),
    ("math word problem", "arithmetic reasoning", is_digit, _less),
    ("geometry problem solving", "geometry reasoning", _polygon, _corners),
    ("visual question answering", "numeric commonsense", lambda scene: bool(scene.digit), _read),
    ("textbook question answering", "geometry reasoning", _polygon, _angles),
)
