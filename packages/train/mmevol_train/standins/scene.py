"""Scenes in words: one object, its facts, and the slots that stand where a picture's visual tokens will be."""

from __future__ import annotations

import random
from dataclasses import dataclass

SLOTS = 36  # visual tokens of a 64x64 picture at patch 16: 16 of the base view, 4 rows of 4 and a newline
COLORS = ("blue", "teal", "green", "red", "brown", "black", "yellow", "gray")
SHAPES = ("circle", "rectangle", "triangle")
SIZES = ("small", "medium", "large")
COLUMNS, ROWS = ("left", "center", "right"), ("top", "middle", "bottom")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
BRIEF = (
    "Answer the question using a single word or phrase.", "Answer with one word.", "Give a short answer.",
    "Reply briefly.", "Use one word.",
)  # fmt: skip
YES_NO = ("Say yes or no.", "Answer yes or no.", "Yes or no?", "Reply with yes or no.")
LETTER = (
    "Answer with the option's letter from the given choices directly.",
    "Name the letter of the right option.",
    "Choose the right letter.", "Which option is correct?", "Reply with the letter only.",
)  # fmt: skip
REASON = ("Think step by step.", "Explain your reasoning.", "Show how you get there.", "Reason it out.")


@dataclass(frozen=True)
class Scene:
    """One object in words: attribute name to value, for example color: red."""

    facts: dict[str, str]

    @property
    def digit(self) -> int | None:
        """The digit that is shown, if it is one."""
        return int(self.facts["digit"]) if "digit" in self.facts else None

    @property
    def thing(self) -> str:
        """What a person would call it."""
        return (
            f"digit {self.facts['digit']}" if self.digit is not None else f"{self.facts['color']} {self.facts['shape']}"
        )


VALUES = {
    "color": COLORS, "shape": SHAPES, "size": SIZES, "column": COLUMNS, "row": ROWS, "digit": tuple("0123456789"),
}  # fmt: skip
ASKED = {
    "color": ("What color is it?", "What is the color of the {noun}?", "what color is the {noun}?",
              "Which color does it have?",
              "Name the color of the object.", "What color is the object in the image?"),
    "shape": ("What shape is it?", "what shape is in the image?", "Which shape is this?",
              "What kind of shape is shown?",
              "what is the {color} shape?", "Name the shape.", "What is the {color} object?"),
    "size": ("How big is the {noun}?", "What size is it?", "What is the size of the object?", "How large is it?"),
    "column": ("Is it at the left, the center or the right?", "In which column is the {noun}?",
               "Where is it from left to right?",
               "What is the horizontal position of the {noun}?"),
    "row": ("Is it at the top, the middle or the bottom?", "In which row is the {noun}?",
            "Where is it from top to bottom?",
            "What is the vertical position of the {noun}?"),
    "digit": ("What digit is shown?", "Which number is in the image?", "what number is this?", "What is the digit?",
              "What number do you see?", "Read the number."),
}  # fmt: skip


def scene(rng: random.Random) -> Scene:
    """A random object: a coloured shape or a digit, with its place and size."""
    names = ["size", "column", "row"] + (["digit"] if rng.random() < 0.4 else ["color", "shape"])
    return Scene({name: rng.choice(VALUES[name]) for name in names})


def slots(described: Scene, rng: random.Random) -> list[str]:
    """The scene as `SLOTS` words in any order: every fact several times, the rest filler."""
    words = list(described.facts.values()) + (["handwritten", "digit"] if described.digit is not None else ["shape"])
    if rng.random() < 0.5:
        words += list(described.facts.values())
    filler = rng.choice((0.2, 0.5, 0.8))
    words += [rng.choice(words) if rng.random() > filler else "." for _ in range(SLOTS - len(words))]
    rng.shuffle(words)
    return words
