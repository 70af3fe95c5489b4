"""What a picture's annotations say: things with colour, shape, digit, place and size."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmevol_dataengine.tiny_world import COLORS, COLUMNS, LARGE, ROWS, SMALL, place

Corners = tuple[float, float, float, float]

COLOR_WORDS = tuple(COLORS.values())
SHAPE_WORDS = ("circle", "rectangle", "triangle")
SIZE_WORDS = ("small", "medium", "large")
DIGIT_WORDS = tuple("0123456789")
COLUMN_WORDS, ROW_WORDS = COLUMNS, ROWS
_SHAPE = re.compile(rf"\b({'|'.join(COLOR_WORDS)}) ({'|'.join(SHAPE_WORDS)})\b")
_DIGIT = re.compile(r"\bdigit (\d)\b")
_BACKGROUND = re.compile(r"\b(\w+) background\b")
EDGE = 0.04  # a centre this close to a dividing line is on no side of it, share of the image


@dataclass(frozen=True, slots=True)
class Thing:
    """One annotated object; `box` is left, top, right, bottom in 0..1, None when only words speak of it."""

    label: str
    box: Corners | None
    color: str = ""
    shape: str = ""
    digit: str = ""

    @property
    def kind(self) -> str:
        """The plainest noun for it."""
        return "shape" if self.shape else "digit" if self.digit else self.label

    @property
    def center(self) -> tuple[float, float] | None:
        """Centre of the box, (x, y) in 0..1."""
        return ((self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2) if self.box else None

    @property
    def area(self) -> float:
        """Share of the image its box covers; 0 without a box."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1]) if self.box else 0.0

    @property
    def column(self) -> str:
        """The third of the picture across ("" near a line between two, or without a box)."""
        return place(self.box)[0] if self.box and self.center and _clear(self.center[0], 1 / 3, 2 / 3) else ""

    @property
    def row(self) -> str:
        """The third of the picture down ("" near a line between two, or without a box)."""
        return place(self.box)[1] if self.box and self.center and _clear(self.center[1], 1 / 3, 2 / 3) else ""

    @property
    def side(self) -> str:
        """The left or right half ("" near the middle line)."""
        return ("left" if self.center[0] < 0.5 else "right") if self.center and _clear(self.center[0], 0.5) else ""

    @property
    def half(self) -> str:
        """The top or bottom half ("" near the middle line)."""
        return ("top" if self.center[1] < 0.5 else "bottom") if self.center and _clear(self.center[1], 0.5) else ""

    @property
    def size(self) -> str:
        """Small, medium or large ("" within a tenth of a limit, or without a box)."""
        clear = self.box and all(abs(self.area - limit) > limit / 10 for limit in (SMALL, LARGE))
        return place(self.box)[2] if self.box and clear else ""


def _clear(value: float, *lines: float) -> bool:
    return all(abs(value - line) > EDGE for line in lines)


@dataclass(frozen=True, slots=True)
class Scene:
    """All things of one picture, the texts in it, and the background colour when it is told."""

    caption: str
    things: tuple[Thing, ...]
    background: str = ""

    @property
    def boxed(self) -> tuple[Thing, ...]:
        """Things with a box."""
        return tuple(thing for thing in self.things if thing.box)

    @property
    def complete(self) -> bool:
        """Whether the boxes are all there is, so that counting and "there is no X" can be answered."""
        return bool(self.things) and len(self.boxed) == len(self.things)

    def names(self, thing: Thing, hide: str = "") -> list[str]:
        """Noun phrases that fit this thing alone and keep silent about `hide` (color, shape or digit)."""
        options = {"color": (thing.color, "shape"), "shape": ("", thing.shape), "both": (thing.color, thing.shape)}
        if thing.digit:
            found = ["digit", "number"] if sum(bool(t.digit) for t in self.things) == 1 else []
            unique = hide != "digit" and sum(t.digit == thing.digit for t in self.things) == 1
            return [*found, thing.label] if unique else found
        if not thing.shape:
            return [thing.label] if sum(t.label == thing.label for t in self.things) == 1 else []
        found = ["shape"] if sum(bool(t.shape) for t in self.things) == 1 else []
        for shown, words in options.items():
            if hide and shown in (hide, "both"):
                continue
            if sum(_fits(other, *words) for other in self.things) == 1:
                found.append(" ".join(word for word in words if word))
        return found

    def has(self, *, color: str = "", shape: str = "", digit: str = "") -> bool:
        """Whether some thing has all the given properties."""
        return self.count(color=color, shape=shape, digit=digit) > 0

    def count(self, *, color: str = "", shape: str = "", digit: str = "") -> int:
        """How many things have all the given properties."""
        return sum(
            (not color or thing.color == color) and (not shape or thing.shape == shape)
            and (not digit or thing.digit == digit)
            for thing in self.things
        )  # fmt: skip


def _fits(thing: Thing, color: str, shape: str) -> bool:
    return bool(thing.shape) and (not color or thing.color == color) and (shape in ("", "shape", thing.shape))


def scene_of(data: Mapping[str, Any]) -> Scene:
    """Read the INPUT object of a prompt; what the boxes do not tell, texts and caption do."""
    caption = str(data.get("caption") or "")
    things = [_thing(str(box["label"]), _corners(box.get("bbox"))) for box in data.get("boxes") or []]
    if not things:
        things = [_thing(f"digit {text['text']}", _corners(text.get("bbox"))) for text in data.get("ocr") or []
                  if str(text["text"]) in DIGIT_WORDS]  # fmt: skip
    if not things:
        words = [" ".join(found) for found in _SHAPE.findall(caption.lower())]
        words += [f"digit {digit}" for digit in _DIGIT.findall(caption.lower())]
        things = [_thing(word, None) for word in words[:1]]
    told = _BACKGROUND.search(caption.lower())
    return Scene(caption, tuple(things), told.group(1) if told and told.group(1) in (*COLOR_WORDS, "white") else "")


def _thing(label: str, box: Corners | None) -> Thing:
    shape, digit = _SHAPE.search(label.lower()), _DIGIT.search(label.lower())
    if shape:
        return Thing(label, box, color=shape.group(1), shape=shape.group(2))
    return Thing(label, box, digit=digit.group(1)) if digit else Thing(label, box)


def _corners(value: Sequence[Any] | None) -> Corners | None:
    if value is None or len(value) != 4:
        return None
    left, top, right, bottom = (float(edge) for edge in value)
    return left, top, right, bottom


def box_text(box: Corners) -> str:
    """A box as the answers write it: two decimals."""
    return "[" + ", ".join(f"{edge:.2f}" for edge in box) + "]"
