"""HallusionBench twin: sets of two figures and two questions whose answers turn with the figure.

File: `HallusionBench.tsv`, index `<VD|VS>_<sub>_<visual>_<set>_<figure>_<question>`, image, question, answer (Yes/No),
category (VD, VS), l2-category. Figure 0 and figure 1 differ in exactly what is asked, so whoever answers from the
question alone is right on one figure and wrong on the other. The subcategories keep their names: illusion asks for
colour, figure for shape, math and table for sums, ocr for the number, video for the side, chart for size order of the
number, map for the corner.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.twins.scene import WORDS, Deck, Scene, is_digit, is_shape
from mmevol_eval.twins.writing import base64_image

Value = Callable[[Scene], str]  # what two figures of a set differ in
Ask = Callable[[Scene, str], str]  # question about a value


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write about `count` questions (four a set); return how many."""
    rng = random.Random(f"HallusionBench:{seed}")
    deck = Deck(scenes, rng)
    rows: list[dict[str, str]] = []
    for number in range(max(1, round(count / 4))):
        category, sub, fits, value, ask = KINDS[number % len(KINDS)]
        first = deck.deal(fits, f"HallusionBench {sub}")
        second = deck.deal(_differing(first, fits, value), f"HallusionBench {sub}, a second figure")
        for figure, scene in enumerate((first, second)):
            for question, about in enumerate((first, second)):
                row = {
                    "index": f"{category}_{sub}_1_{number}_{figure}_{question}",
                    "image": base64_image(scene.path),
                    "question": ask(first, value(about)),
                    "answer": "Yes" if figure == question else "No",
                    "category": category,
                    "l2-category": sub,
                }
                rows.append(row)
    return write_tsv(root / "HallusionBench.tsv", rows)


def _differing(first: Scene, fits: Callable[[Scene], bool], value: Value) -> Callable[[Scene], bool]:
    """A figure of the same kind with another value; for questions about colour and place the same thing."""

    def differs(scene: Scene) -> bool:
        same_thing = value is _thing or value is _digit or scene.thing == first.thing
        return fits(scene) and value(scene) != value(first) and same_thing

    return differs


def _thing(scene: Scene) -> str:
    return scene.thing


def _digit(scene: Scene) -> str:
    return str(scene.digit)


KINDS: tuple[tuple[str, str, Callable[[Scene], bool], Value, Ask], ...] = (
    ("VD", "illusion", is_shape, lambda scene: scene.color, lambda scene, v: f"Is the {scene.thing} in the image {v}?"),
    ("VD", "figure", is_shape, _thing, lambda scene, v: f"Does the figure show a {v}?"),
    ("VD", "math", is_digit, _digit, lambda scene, v: f"Is {int(v) + 3} the sum of the number in the image and 3?"),
    ("VD", "ocr", is_digit, _digit, lambda scene, v: f"Is the number in the image {v}?"),
    (
        "VD",
        "video",
        lambda scene: bool(scene.side),
        lambda scene: scene.side,
        lambda scene, v: f"Is the {scene.thing} on the {v} of the frame?",
    ),
    ("VS", "chart", is_digit, _digit, lambda scene, v: f"Is the value shown in the chart equal to {v}?"),
    (
        "VS",
        "map",
        lambda scene: bool(scene.corner),
        lambda scene: scene.corner,
        lambda scene, v: f"Is the {scene.thing} in the {v} part of the map?",
    ),
    ("VS", "ocr", is_digit, _digit, lambda scene, v: f"Does the image show the number {WORDS[int(v)]}?"),
    ("VS", "table", is_digit, _digit, lambda scene, v: f"Is twice the number in the image {2 * int(v)}?"),
)
