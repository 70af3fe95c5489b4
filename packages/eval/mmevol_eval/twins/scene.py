"""What is known about one held-out picture, derived from its record alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mmevol_core.errors import UserError
from mmevol_core.sample import Sample, read_samples

COLORS = ("blue", "teal", "green", "red", "brown", "black", "yellow", "gray")
SHAPES = ("circle", "rectangle", "triangle")
CORNERS = {"circle": 0, "triangle": 3, "rectangle": 4}
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLEAR = 0.08  # a centre nearer to the middle line than this has no side worth asking for
SMALL, LARGE = 0.045, 0.13  # share of the picture that a box covers; in between, size is not asked for

T = TypeVar("T")


@dataclass(frozen=True)
class Scene:
    """One picture with one object. `color` and `shape` are empty for digits, `digit` is None for shapes."""

    name: str  # file name without suffix
    path: Path
    color: str
    shape: str
    digit: int | None
    xyxy: tuple[float, float, float, float]

    @property
    def center(self) -> tuple[float, float]:
        """Centre of the box, shares of the picture."""
        left, top, right, bottom = self.xyxy
        return (left + right) / 2, (top + bottom) / 2

    @property
    def side(self) -> str:
        """`left` or `right`, empty when the centre is too near to the middle."""
        return _half(self.center[0], "left", "right")

    @property
    def level(self) -> str:
        """`top` or `bottom`, empty when the centre is too near to the middle."""
        return _half(self.center[1], "top", "bottom")

    @property
    def corner(self) -> str:
        """`top left` and so on, empty unless both halves are clear."""
        return f"{self.level} {self.side}" if self.level and self.side else ""

    @property
    def size(self) -> str:
        """`small` or `large`, empty in between."""
        left, top, right, bottom = self.xyxy
        area = (right - left) * (bottom - top)
        return "small" if area < SMALL else "large" if area > LARGE else ""

    @property
    def thing(self) -> str:
        """The object's name without its colour: `circle`, `digit`."""
        return self.shape or "digit"

    @property
    def label(self) -> str:
        """The object's full name: `red circle`, `digit 7`."""
        return f"{self.color} {self.shape}" if self.shape else f"digit {self.digit}"


def _half(value: float, low: str, high: str) -> str:
    return "" if abs(value - 0.5) <= CLEAR else low if value < 0.5 else high


def read_scenes(held_out: Path) -> list[Scene]:
    """Scenes of a held-out folder (`annotations.jsonl`, `images/`), in file order.

    Raises:
        UserError: a record without exactly one known object, or without its picture.
    """
    return [_scene(sample, held_out) for sample in read_samples(held_out / "annotations.jsonl")]


def _scene(sample: Sample, held_out: Path) -> Scene:
    where = f"{held_out / 'annotations.jsonl'} record {sample.id}"
    path = held_out / "images" / sample.images[0]
    if not path.is_file():
        raise UserError(f"{where}: picture not found: {path}; run stage seed again")
    label = sample.boxes[0].label if len(sample.boxes) == 1 else ""
    first, _, second = label.partition(" ")
    if first == "digit" and second.isdigit():
        return Scene(path.stem, path, "", "", int(second), sample.boxes[0].xyxy)
    if first in COLORS and second in SHAPES:
        return Scene(path.stem, path, first, second, None, sample.boxes[0].xyxy)
    labels = [box.label for box in sample.boxes]
    raise UserError(f"{where}: twins need one box labelled 'COLOR SHAPE' or 'digit N', got {labels}")


class Deck:
    """Deals scenes without repeating one until all that fit were dealt, so that few pictures serve many items."""

    def __init__(self, scenes: Sequence[Scene], rng: random.Random) -> None:
        self._scenes, self._rng = list(scenes), rng
        self._rng.shuffle(self._scenes)
        self._dealt: dict[str, int] = {}

    def deal(self, fits: Callable[[Scene], bool], what: str) -> Scene:
        """The least used scene that fits; UserError when none does."""
        best = min(
            (scene for scene in self._scenes if fits(scene)),
            key=lambda scene: self._dealt.get(scene.name, 0),
            default=None,
        )
        if best is None:
            raise UserError(f"held_out has no picture for {what}; the seed stage must keep test pictures of each kind")
        self._dealt[best.name] = self._dealt.get(best.name, 0) + 1
        return best


def is_shape(scene: Scene) -> bool:
    """Whether the picture shows a coloured shape."""
    return bool(scene.shape)


def is_digit(scene: Scene) -> bool:
    """Whether the picture shows a handwritten digit."""
    return scene.digit is not None


def other(rng: random.Random, values: Sequence[T], *not_these: T) -> T:
    """A value that is none of the given ones."""
    return rng.choice([value for value in values if value not in not_these])
