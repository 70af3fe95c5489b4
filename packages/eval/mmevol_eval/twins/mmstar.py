"""MMStar twin: four options, six core capabilities.

File: `MMStar.tsv` with index, image, question, A, B, C, D, answer, category, l2_category. The right letter goes
round (A, B, C, D, A, ...), wrong options are drawn from the same values as right ones. coarse perception: what the
picture shows; fine-grained perception: colour and place; instance reasoning: the description that fits; logical
reasoning: what follows about the object, and what changes when it is moved; math: arithmetic with the digit;
science & technology: corners, and what a program prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmevol_eval.twins import choices
from mmevol_eval.twins.choices import Ask, Fits, Kind, anything, placed, write_choices
from mmevol_eval.twins.scene import Scene, is_digit, is_shape


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write about `count` questions (a multiple of the kinds of question); return how many."""
    return write_choices("MMStar", KINDS, scenes, root, count, seed)


def _kind(category: str, detail: str, fits: Fits, ask: Ask) -> Kind:
    return Kind({"category": category, "l2_category": detail}, fits, ask)


KINDS = (
    _kind("coarse perception", "image scene and topic", anything, choices.main_object),
    _kind("coarse perception", "image style & quality", is_digit, choices.which_digit),
    _kind("fine-grained perception", "attribute & celebrity recognition", is_shape, choices.color),
    _kind("fine-grained perception", "localization", placed, choices.location),
    _kind("instance reasoning", "single-instance reasoning", is_shape, choices.description),
    _kind("instance reasoning", "cross-instance attribute comparison", is_digit, choices.comparison),
    _kind("logical reasoning", "common reasoning", is_shape, choices.conclusion),
    _kind("logical reasoning", "diagram reasoning", placed, choices.mirrored),
    _kind("math", "numeric commonsense and calculation", is_digit, choices.total),
    _kind("math", "geometry", is_shape, choices.corners),
    _kind("science & technology", "engineering", is_digit, choices.program),
    _kind("science & technology", "natural science", is_shape, choices.corners),
)
