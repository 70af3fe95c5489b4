"""Pictures described for the scripted teacher, and an oracle that answers its questions without its code."""

from __future__ import annotations

import json
import random
import re
from typing import Any

COLORS = ["blue", "teal", "green", "red", "brown", "black", "yellow", "gray"]
SHAPES = ["circle", "rectangle", "triangle"]
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SIDES = {"circle": 0, "triangle": 3, "rectangle": 4}
SWAP = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


def picture(rng: random.Random) -> dict[str, Any]:
    """INPUT of a picture with one shape or digit, boxes as the tiny world writes them."""
    left, top = rng.uniform(0, 0.7), rng.uniform(0, 0.7)
    box = [round(edge, 2) for edge in (left, top, left + rng.uniform(0.13, 0.3), top + rng.uniform(0.13, 0.3))]
    digit = str(rng.randrange(10)) if rng.random() < 0.4 else ""
    label = f"digit {digit}" if digit else f"{rng.choice(COLORS)} {rng.choice(SHAPES)}"
    ocr = [{"text": digit, "bbox": box}] if digit else []
    return {"caption": f"There is a {label} in the picture.", "boxes": [{"label": label, "bbox": box}], "ocr": ocr}


def seed_items(given: dict[str, Any], count: int = 4) -> list[dict[str, Any]]:
    """Plain seed questions about a picture."""
    label = given["boxes"][0]["label"]
    color, shape = ("", "") if label.startswith("digit") else label.split()
    pairs = [
        ("what color is the shape?", color),
        ("is there a red shape?", _yes(color == "red")),
        ("what shape is in the image?", shape),
        ("is a circle present?", _yes(shape == "circle")),
    ]
    if not color:
        pairs = [
            ("what digit is shown?", label[6:]),
            ("is this a 3?", _yes(label[6:] == "3")),
            ("what is the digit?", label[6:]),
            ("is this not a 4?", _yes(label[6:] != "4")),
        ]
    plain = {"objects": [label], "skills": ["existence"], "format": "norm", "steps": []}
    return [{"id": f"i{n}", "question": q, "answer": a, **plain} for n, (q, a) in enumerate(pairs[:count])]


def evolve_prompt(given: dict[str, Any], direction: str, items: list[dict[str, Any]]) -> str:
    """A prompt as ARCHITECTURE.md describes it."""
    data = json.dumps({**given, "items": items})
    return f"Rewrite the items.\n\nTASK: evolve\nDIRECTION: {direction}\nINPUT:\n{data}"


class Oracle:
    """Knows one picture of one thing; `check` says whether an item's answer is right, None when it does not know."""

    def __init__(self, given: dict[str, Any]) -> None:
        label, box = given["boxes"][0]["label"], given["boxes"][0]["bbox"]
        left, top, right, bottom = self.box = box
        self.label = label
        self.color, self.shape = ("", "") if label.startswith("digit") else label.split()
        self.digit = label[6:] if not self.color else ""
        x, y, area = (left + right) / 2, (top + bottom) / 2, (right - left) * (bottom - top)
        self.side, self.half = "left" if x < 0.5 else "right", "top" if y < 0.5 else "bottom"
        self.column, self.row = ("left", "center", "right")[int(x * 3)], ("top", "middle", "bottom")[int(y * 3)]
        self.size = "small" if area < 0.05 else "large" if area > 0.12 else "medium"
        self.true_words = {self.color, self.shape, self.digit, self.side, self.half, self.size} - {""}

    def check(self, item: dict[str, Any]) -> bool | None:
        question, answer = item["question"], item["answer"]
        options = dict(re.findall(r"^([A-D])\. (.+)$", question, re.MULTILINE))
        asked = question.split("\n")[0]
        if options:
            chosen = options[answer[0]]
            if len(answer) > 1 and answer != f"{answer[0]}. {chosen}":
                return False
            if "not" in asked or "missing" in asked:
                return [text for text in options.values() if not self._present(text)] == [chosen]
            wanted = self.answer(asked, options.values())
            return None if wanted is None else chosen == wanted
        if item["format"] == "instruction_following":
            return self._obeys(asked, answer)
        if item["format"] == "creative_content_generation":
            return self._only_true(answer)
        if item["format"] == "rationales_generation":
            return self._only_true(question) and self._reason(question, answer)
        wanted = self.answer(asked)
        said = answer.rstrip(".").split(" is ")[-1] if answer.endswith(".") else answer
        return None if wanted is None else said == wanted

    def _present(self, text: str) -> bool:
        return all(word in (self.color, self.shape, self.digit, "shape", "digit") for word in text.split())

    def _only_true(self, text: str) -> bool:
        words = re.findall(r"\w+", text.lower())
        return all(word in self.true_words for word in words if word in {*COLORS, *SHAPES, *SWAP, *"0123456789"})

    def _reason(self, question: str, answer: str) -> bool:
        if "half" in question:
            lies = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}
            where = re.search(r"in the (\w+) half", question)
            return bool(where) and lies[where.group(1)] in answer
        sides = {"circle": "round", "triangle": "three", "rectangle": "four"}
        return sides[self.shape] in answer

    def _obeys(self, asked: str, answer: str) -> bool | None:
        if "hape then color" in asked or "color first" in asked or "olor then shape" in asked:
            return answer == (f"{self.shape} {self.color}" if "hape then" in asked else f"{self.color} {self.shape}")
        question, _, order = asked.partition("? ")
        value = self.answer(question + "?")
        forms = {"capital": str.upper, "first letter": lambda v: v[0], "twice": lambda v: f"{v}, {v}",
                 "Begin": lambda v: f"answer {v}", "End": lambda v: f"{v} done"}  # fmt: skip
        form = next((form for word, form in forms.items() if word in order), None)
        return None if value is None or form is None else answer == form(value)

    def answer(self, asked: str, options: Any = ()) -> str | None:
        """What the question's answer must be."""
        q = asked.lower()
        for rule in (
            self._flipped,
            self._conditional,
            self._number,
            self._whole,
            self._claim,
            self._place,
            self._property,
        ):
            found = rule(q, set(options))
            if found is not None:
                return found
        return None

    def _flipped(self, q: str, options: set[str]) -> str | None:
        if "flipped" in q or "mirrored" in q or "upside" in q:
            return SWAP[self.side if "left or right" in q else self.half]
        return None

    def _conditional(self, q: str, options: set[str]) -> str | None:
        found = re.search(
            r"(?:if|when) the .+? is (\w+), (?:name its|tell me the) (.+?)[,;] otherwise (?:name its|the) (.+?)[.?]", q
        )
        if not found:
            return None
        chosen = found.group(2) if found.group(1) in (self.color, self.digit) else found.group(3)
        return {"s": self.side, "h": self.half, "f": self.shape}[chosen[0]]

    def _number(self, q: str, options: set[str]) -> str | None:
        compared = re.search(r"(more|fewer) than (\d) straight sides", q)
        if compared:
            more, less = SIDES[self.shape] > int(compared.group(2)), SIDES[self.shape] < int(compared.group(2))
            return _yes(more if compared.group(1) == "more" else less)
        if "straight sides" in q:
            extra = re.search(r"plus (\d)", q)
            return str(SIDES[self.shape] + (int(extra.group(1)) if extra else 0))
        operations = re.findall(r"(plus|minus|times) (\d+)", q)
        value = int(self.digit or 0)
        for word, number in operations:
            value = {"plus": value + int(number), "minus": value - int(number), "times": value * int(number)}[word]
        for words, change in (("right after", 1), ("right before", -1), ("two after", 2)):
            if words in q:
                return str(int(self.digit) + change)
        found = re.search(r"(larger|smaller) than (\d+)", q)
        if found:
            return _yes(value > int(found.group(2)) if found.group(1) == "larger" else value < int(found.group(2)))
        found = re.search(r"which (?:number )?is larger.* or (\d)", q)
        if found:
            return str(max(value, int(found.group(1))))
        if "even or odd" in q:
            return "odd" if value % 2 else "even"
        found = re.search(r"\b(even|odd)\b", q)
        if found:
            return _yes(value % 2 == (found.group(1) == "odd"))
        return str(value) if operations else None

    def _whole(self, q: str, options: set[str]) -> str | None:
        found = re.match(
            r"(?:how many|count the|what is the number of) (?:(\w+) )?(shape|digit|circle|rectangle|triangle)s\b", q
        )
        if found:
            color, noun = found.groups()
            fits = noun in (self.shape, "shape" if self.shape else "digit") and color in (None, self.color)
            return str(int(fits))
        box = "[" + ", ".join(f"{edge:.2f}" for edge in self.box) + "]"
        if re.search(r"bounding box|give its box|which box|coordinates|^locate", q):
            return box
        if "free of numbers" in q or "nothing to read" in q:
            return _yes(not self.digit)
        if "any number be read" in q or "hold a written number" in q:
            return _yes(bool(self.digit))
        if re.search(r"handwriting|kind of picture", q):
            return "handwriting" if self.digit else "drawing"
        if box in q and not re.match("is|does|do ", q):
            return self.label
        if "english word" in q or "in letters" in q or "in words" in q:
            return NAMES[int(self.digit)]
        if "left out" in q or "part is missing" in q:
            kind = "shape" if "thing" in q else "color"
            return str(getattr(self, kind)) if "add it" in q else kind
        return None

    def _claim(self, q: str, options: set[str]) -> str | None:
        """Yes/no: every property the question claims must hold; negated, it must not."""
        if not re.match(r"(is|do|does|can|would) ", q) or re.search(r"\bor\b", q):
            return None
        wrong = "without" in q or "missing" in q or " no " in q
        body = re.sub(r"\[.*?\]", "", re.sub(r"right: |is this right|is it right|can you see|on the|part", "", q))
        claimed = [
            word for word in re.findall(r"\w+", body) if word in {*COLORS, *SHAPES, *SWAP, "small", "medium", "large"}
        ]
        claimed += re.findall(r"\b\d\b", body)
        return _yes(all(word in self.true_words for word in claimed) != wrong) if claimed else None

    def _place(self, q: str, options: set[str]) -> str | None:
        quarter = f"{self.half} {self.side}"
        if re.search(r"quarter|corner|bottom left|region holds|part with|part of the picture holds", q):
            return quarter
        if "region that holds" in q:
            return quarter
        if re.search(r"edge", q):
            left, top, right, bottom = self.box
            return ("left" if left < 1 - right else "right") if "left" in q else "top" if top < 1 - bottom else "bottom"
        if re.search(r"center|from left to right", q):
            return self.column
        if re.search(r"middle|from top to bottom", q):
            return self.row
        if re.search(r"\bleft\b|which side", q):
            return self.side
        return self.half if re.search(r"\btop\b", q) else None

    def _property(self, q: str, options: set[str]) -> str | None:
        if re.search(r"\bcolor\b", q):
            return self.color
        if re.search(r"small|large|size|big", q):
            return self.size
        if self.digit:
            return self.digit if re.search(r"digit|number|read|text|characters|say", q) else None
        return self.shape if re.search(r"shape|form|circle|what is the \w+ shape", q) else None


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"
