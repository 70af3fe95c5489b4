"""RealWorldQA twin: practical questions about what is where, two to four options.

File: `RealWorldQA.tsv` with index, image, question, A, B, C, D (empty when absent), answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from mmevol_eval.twins.choices import Choice, Kind, three, write_choices
from mmevol_eval.twins.scene import COLORS, SHAPES, Scene, is_digit, is_shape


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write about `count` questions; return how many."""
    return write_choices("RealWorldQA", KINDS, scenes, root, count, seed)


def _side(scene: Scene, rng: random.Random) -> Choice:
    wrong = "right" if scene.side == "left" else "left"
    return f"On which side of the image is the {scene.thing}?", scene.side, (wrong,)


def _level(scene: Scene, rng: random.Random) -> Choice:
    wrong = "bottom" if scene.level == "top" else "top"
    return f"Is the {scene.thing} closer to the top or to the bottom of the image?", scene.level, (wrong,)


def _object(scene: Scene, rng: random.Random) -> Choice:
    wrong = tuple(rng.sample([shape for shape in SHAPES if shape != scene.shape], 2))
    return "What kind of object can be seen?", scene.shape, wrong


def _color(scene: Scene, rng: random.Random) -> Choice:
    return f"What is the color of the {scene.shape} in this image?", scene.color, three(rng, COLORS, scene.color)


def _sign(scene: Scene, rng: random.Random) -> Choice:
    right = str(scene.digit)
    return "What is the number on the sign?", right, three(rng, [str(n) for n in range(10)], right)


def _presence(scene: Scene, rng: random.Random) -> Choice:
    shape = scene.shape if rng.random() < 0.5 else rng.choice([shape for shape in SHAPES if shape != scene.shape])
    right = "Yes" if shape == scene.shape else "No"
    return f"Is there a {shape} ahead?", right, ("No" if right == "Yes" else "Yes",)


KINDS = (
    Kind({}, lambda scene: bool(scene.side), _side),
    Kind({}, is_shape, _color),
    Kind({}, lambda scene: bool(scene.level), _level),
    Kind({}, is_shape, _object),
    Kind({}, is_digit, _sign),
    Kind({}, is_shape, _presence),
)
