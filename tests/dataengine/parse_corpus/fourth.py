"""The fourth corpus: sound replies, written in a random style, wrapped at random and spoiled once or twice at random.

Written after the third and before it was run once; what each spoiling does to the meaning is known, so the values are.
"""

from __future__ import annotations

import json
import random
from typing import Any

from third_items import BUS, DOG, GOOD, Case, Items, dumps

TEXTS = [
    "The cyclist is waiting because the light is red.",
    "Two: the mug and the glass, both left of the laptop.",
    'The board reads "SALE", and below it "50% off".',
    'A so-called "food truck"; its menu says "tacos" (3 kinds).',
    "It's the waiter's tray, isn't it? The guests' plates are empty.",
    "First look at [0.1, 0.2, 0.5, 0.9]; then at {the sign}, i.e. bbx_2.",
    "1. Find the tram.\n2. Read its number: 21.\n3. Compare, then answer.",
    "See https://example.org/a//b?c=1#d, page 3/10.",
    "图中有一只狗，它在「长椅」上：因为那里有树荫。",
    "The word “BANK” isn’t on the shop’s door – it’s on the café’s.",
    r"The area is \frac{1}{2} \times 3 \cdot \theta, so $\alpha = 2$.",
    "```python\nprint('x')  # ok\n```",
    "A. 12, B. 21, C. 112 // choose one",
    "Yes.",
    "21",
    "Why does the woman in the red coat hold an umbrella although it does not rain? Explain step by step.",
    "He is 6'2\" tall, she is 5'11\".",
    "The answer: none of them, null, or N/A.",
    "😀 Both smile; the boy (left) more than the girl.",
    "Path: C:/data/img_01.png → folder 'img'.",
]
WORDS = ["dog", "traffic light", "café table", "woman's hat", "bench", "bbx_1", "狗", "bicycle"]
SKILLS = ["OCR Ability", "Grounding Ability", "Behavior Prediction", "Context Understanding"]
FORMATS = ["open-ended", "multi_choice", "fill_in_the_blank", "relative_distance"]


def item(rng: random.Random) -> dict[str, Any]:
    return {
        "objects": rng.sample(WORDS, rng.randint(0, 3)),
        "skills": rng.sample(SKILLS, rng.randint(1, 2)),
        "format": rng.choice(FORMATS),
        "question": rng.choice(TEXTS) + f" (item {rng.random():.6f})",
        "steps": [
            {"manipulation": f"ocr_{i}(dog)->txt_{i}", "description": rng.choice(TEXTS)}
            for i in range(rng.randint(1, 3))
        ],
        "answer": rng.choice(TEXTS),
    }


def judgement(rng: random.Random) -> dict[str, Any]:
    number = rng.choice([rng.randint(0, 10), rng.randint(0, 19) / 2])
    return {"improved": rng.choice(["yes", "no"]), "score": number, "reason": rng.choice(TEXTS)}


class Style:
    """How one reply is written: its marks, its white space and the faults of its grammar."""

    def __init__(self, rng: random.Random, faults: list[str]) -> None:
        self.rng, self.faults = rng, faults
        self.newline = rng.random() < 0.7
        self.left = rng.randint(1, 3)  # how often a fault that strikes single places may strike

    def strikes(self, fault: str, chance: float = 0.3) -> bool:
        if fault not in self.faults or self.left == 0 or self.rng.random() > chance:
            return False
        self.left -= 1
        return True

    def text(self, value: str) -> str:
        if "single quotes" in self.faults:
            return repr(value)
        if "smart quotes" in self.faults:
            return "“" + json.dumps(value, ensure_ascii=False)[1:-1] + "”"
        body = json.dumps(value, ensure_ascii="ascii" in self.faults)[1:-1]
        if '"' in value and "5'11" not in value and self.strikes("inner quotes", 1):
            body = body.replace('\\"', '"')
        if "\n" in value and self.strikes("raw newlines", 1):
            body = body.replace("\\n", "\n")
        if "\\f" in value and self.strikes("single backslashes", 1):
            body = body.replace("\\\\", "\\")
        return f'"{body}"'

    def key(self, name: str) -> str:
        if "bare keys" in self.faults:
            return name
        return self.text(name.capitalize() if "capital keys" in self.faults else name)

    def join(self, parts: list[str], pad: str, ends: tuple[str, str]) -> str:
        """PARTS between the brackets ENDS, each on a line indented by PAD when the style has lines."""
        gap = f"\n{pad}" if self.newline else " "
        out = ends[0]
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            comma = "，" if "fullwidth" in self.faults else ","
            if last:
                comma = "," if self.strikes("trailing comma") else ""
            elif self.newline and self.strikes("missing comma"):
                comma = ""
            elif self.strikes("double comma", 0.1):
                comma = ",,"
            note = self.rng.choice(['// it\'s "ok"', "# note: {x}"]) + "\n" if self.newline else "/* it's [1] */"
            out += gap + part + comma + (f" {note}" if self.strikes("comment") else "")
        return out + (f"\n{pad[:-2]}" if self.newline else "") + ends[1]

    def value(self, value: Any, pad: str = "  ") -> str:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            colon = "：" if "fullwidth" in self.faults else ": "
            parts = [self.key(name) + colon + self.value(part, pad + "  ") for name, part in value.items()]
            return self.join(parts, pad, ("{", "}"))
        if isinstance(value, list):
            return self.join([self.value(part, pad + "  ") for part in value], pad, ("[", "]")) if value else "[]"
        return str(value)


SPOILINGS = [
    "single quotes", "smart quotes", "ascii", "inner quotes", "raw newlines", "single backslashes", "bare keys",
    "capital keys", "trailing comma", "missing comma", "double comma", "comment", "fullwidth", "none",
]  # fmt: skip
EXCLUSIVE = {"single quotes", "smart quotes", "ascii", "inner quotes", "raw newlines", "single backslashes"}
LAYOUTS = ["list", "list", "list", "wrapper", "deep wrapper", "lines", "fences", "side by side", "headings"]
WRAPS = [
    "nothing",
    "fence",
    "bare fence",
    "prose",
    "think",
    "think and fence",
    "answer tag",
    "form echoed",
    "CRLF",
    "draft",
]


def body(style: Style, layout: str, truth: Items) -> tuple[str, list[int]]:
    """The items laid out, and where each ends."""
    parts = [style.value(each, "    ") for each in truth]
    if layout in ("list", "wrapper", "deep wrapper"):
        before = {"list": "[", "wrapper": '{"items": [', "deep wrapper": '{"status": "ok", "data": {"samples": ['}[
            layout
        ]
        after = {"list": "\n]", "wrapper": "]}", "deep wrapper": "]}}"}[layout]
        between = ",\n  " if style.newline else ", "
    else:
        before, between, after = {
            "lines": ("", "\n", ""),
            "fences": ("```json\n", "\n```\n\n```json\n", "\n```"),
            "side by side": ("", "", ""),
            "headings": ("### 1\n", "\n\n### Next\n", ""),
        }[layout]
    out, ends = before, []
    for number, part in enumerate(parts):
        out += (between if number else "") + part
        ends.append(len(out))
    return out + after, ends


def wrap(rng: random.Random, kind: str, draft: str) -> tuple[str, str]:
    """Text before and after."""
    form = dumps([{key: "..." for key in (DOG if "question" in draft else {"improved", "score", "reason"})}], None)
    return {
        "nothing": ("", ""),
        "CRLF": ("\ufeff", "\r\n"),
        "fence": ("Here it is:\n```json\n", "\n```\nDone."),
        "bare fence": ("```\n", "\n```"),
        "prose": ("Sure, I've kept [all] the boxes. Result:\n\n", '\n\nTell me if that\'s "fine".'),
        "think": (f"<think>\nPerhaps {draft}? No.\n</think>\n\n", ""),
        "think and fence": (f"Perhaps {draft}? No.\n</think>\n```json\n", "\n```"),
        "answer tag": ("<answer>", "</answer>"),
        "form echoed": (f"Required form: {form}\n\nMy answer:\n", ""),
        "draft": (f"First draft:\n{draft}\n\nFinal version:\n", ""),
    }[kind]


def make(seed: int) -> Case:
    rng = random.Random(seed)
    kind = "qas" if rng.random() < 0.7 else "score"
    truth: Items = [item(rng) if kind == "qas" else judgement(rng) for _ in range(rng.randint(1, 4))]
    faults = rng.sample(SPOILINGS, 2)
    if len(EXCLUSIVE & set(faults)) == 2:
        faults = faults[:1]
    layout, wrapping = rng.choice(LAYOUTS), rng.choice(WRAPS)
    if layout in ("fences", "headings") and wrapping in ("fence", "bare fence", "think and fence"):
        wrapping = "prose"
    lost = kind == "qas" and rng.random() < 0.15 and rng.randrange(len(truth)) + 1
    written = [dict(each) for each in truth]
    if lost:
        del written[lost - 1][rng.choice(["answer", "steps", "question", "format"])]
    raw, ends = body(Style(rng, faults), layout, written)
    good = [[each] if number + 1 != lost else [] for number, each in enumerate(truth)]
    expected = [each for found in good for each in found]
    draft = dumps([{**BUS, "answer": "?"} if kind == "qas" else {**GOOD, "reason": "?"}], None)
    before, after = wrap(rng, wrapping, draft)
    accepted: list[Items | None] = [expected or None]
    cut = rng.random() < 0.2
    if cut:
        at = rng.randrange(1, len(raw))
        raw, after = raw[:at], ""
        whole = [each for end, found in zip(ends, good, strict=True) if end <= at for each in found]
        accepted = [whole or None]
        if raw.rstrip()[-1:] in "\"”'0123456789" and len(whole) < len(expected):
            accepted.append(expected[: len(whole) + 1])  # only its last brace may be lacking
    text = before + raw + after
    if wrapping == "CRLF" and "raw newlines" not in faults:
        text = text.replace("\n", "\r\n")
    name = (
        f"{seed}: {layout}, {wrapping}, {' and '.join(faults)}{', cut' if cut else ''}{', field lost' if lost else ''}"
    )
    return Case(name, kind, text, tuple(accepted))


def cases() -> list[Case]:
    return [make(seed) for seed in range(500)]
