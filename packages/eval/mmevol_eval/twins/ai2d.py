"""AI2D twin: questions about diagrams, four options. The diagrams are the tiny world's pictures.

File: `AI2D_TEST.tsv` with index, image, question, A, B, C, D, answer, category. AI2D asks about labelled parts,
shapes, places and counts; here the one part of a diagram is its object.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from mmevol_eval.twins.choices import CORNER_NAMES, Ask, Choice, Fits, Kind, anything, placed, three, write_choices
from mmevol_eval.twins.scene import COLORS, CORNERS, WORDS, Scene, is_digit, is_shape


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write about `count` questions; return how many."""
    return write_choices("AI2D_TEST", KINDS, scenes, root, count, seed)


def _shown(scene: Scene, rng: random.Random) -> Choice:
    kinds = ("circle", "rectangle", "triangle", "number")
    right = scene.shape or "number"
    return "What is shown in the diagram?", right, three(rng, kinds, right)


def _color(scene: Scene, rng: random.Random) -> Choice:
    return "Which color does the figure in the diagram have?", scene.color, three(rng, COLORS, scene.color)


def _corners(scene: Scene, rng: random.Random) -> Choice:
    right = str(CORNERS[scene.shape])
    return "How many corners does the figure in this diagram have?", right, three(rng, ("0", "3", "4", "6"), right)


def _where(scene: Scene, rng: random.Random) -> Choice:
    return f"In which part of the diagram is the {scene.thing}?", scene.corner, three(rng, CORNER_NAMES, scene.corner)


def _label(scene: Scene, rng: random.Random) -> Choice:
    right = WORDS[scene.digit or 0]
    return "Which number is given in the diagram?", right, three(rng, WORDS, right)


def _kind(category: str, fits: Fits, ask: Ask) -> Kind:
    return Kind({"category": category}, fits, ask)


KINDS = (
    _kind("typesOf", anything, _shown),
    _kind("partsOfA", is_shape, _color),
    _kind("shapes", is_shape, _corners),
    _kind("atomStructure", placed, _where),
    _kind("moonPhaseEquinox", is_digit, _label),
)
