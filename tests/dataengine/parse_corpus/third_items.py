"""What the third corpus is made of: sound items, and a case that names the values a careful reader may return.

The corpus was written from the written rules alone, before the parser was looked at, by someone who wanted it to fail.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One raw reply. The first accepted value is the expected one; more than one marks a case the rules leave open."""

    name: str
    kind: str
    raw: str
    accepted: tuple[Items | None, ...]

    @property
    def open(self) -> bool:
        return len(self.accepted) > 1


def qas(name: str, raw: str, *accepted: Items | None) -> Case:
    return Case(name, "qas", raw, accepted)


def score(name: str, raw: str, *accepted: Items | None) -> Case:
    return Case(name, "score", raw, accepted)


def step(manipulation: str, description: str) -> dict[str, str]:
    return {"manipulation": manipulation, "description": description}


def dumps(value: Any, indent: int | None = 4) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def but(item: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**item, **changes}


def without(item: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in keys}


DOG: dict[str, Any] = {
    "objects": ["dog", "bench"],
    "skills": ["Grounding Ability", "Context Understanding Ability"],
    "format": "open-ended",
    "question": "What is the dog lying on, and why might it have chosen that place?",
    "steps": [
        step("grounding_1(dog)->bbx_1", "Locate the dog and return bbx_1."),
        step("referring_1(bbx_1)->tgt_1", "Look at what is below bbx_1."),
    ],
    "answer": "It lies on a wooden bench, most likely because the shade of the tree falls there.",
}
BUS: dict[str, Any] = {
    "objects": ["bus", "sign"],
    "skills": ["OCR Ability"],
    "format": "multi_choice",
    "question": "Which number does the bus show? A. 12 B. 21 C. 112",
    "steps": [step("ocr_1(bus)->txt_1", "Read the display of the bus.")],
    "answer": "B. 21",
}
CUP: dict[str, Any] = {
    "objects": [],
    "skills": ["Calculating Ability", "Existence Ability"],
    "format": "fill_in_the_blank",
    "question": "There are ____ cups on the table.",
    "steps": [step("calculate_1(cup)->res_1", "Count the cups: 2 + 1 = 3.")],
    "answer": "3",
}
GOOD: dict[str, Any] = {"improved": "yes", "score": 8, "reason": "Adds a second object and a causal question."}
POOR: dict[str, Any] = {"improved": "no", "score": 2, "reason": "The same question in other words."}
FAIR: dict[str, Any] = {"improved": "yes", "score": 6.5, "reason": "Needs the image, but only one step."}

TWO, THREE = [DOG, BUS], [DOG, BUS, CUP]
PAIR, TRIO = [GOOD, POOR], [GOOD, POOR, FAIR]
