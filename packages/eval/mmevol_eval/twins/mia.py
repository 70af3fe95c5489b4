"""MIA-Bench twin: one instruction of several components, and the scripted judge that grades it.

File: `MIA-Bench.tsv` with index, image, question (the instruction), type, num_of_component, components,
component_weight (sum 10), component_type. Components are machine-checkable, so the default judge at tiny scale is a
program; it is named `scripted` wherever its scores stand, and it is no stand-in for a judge that reads.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import CALL_FAILED, Question
from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.twins.scene import Deck, Scene
from mmevol_eval.twins.writing import base64_image

NAME = "scripted"
Component = tuple[str, str, str]  # what the instruction says, what the judge is told, type
LISTED = re.compile(r"^\d+\. \((\d+) points\) (.+)$", re.MULTILINE)
KINDS = {2: "basic", 3: "intermediate", 4: "advanced"}


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write `count` instructions of two to four components; return how many."""
    rng = random.Random(f"MIA:{seed}")
    deck = Deck(scenes, rng)
    rows: list[dict[str, str]] = []
    for number in range(count):
        scene = deck.deal(lambda one: bool(one.side), "MIA-Bench")
        size = 2 + number % 3
        parts = [*rng.sample(_contents(scene), size - 1), rng.choice(_forms(rng))]
        weights = [10 // size] * size
        weights[0] += 10 - sum(weights)
        wanted = ", ".join(said for said, _, _ in parts[:-1])
        row = {
            "index": str(number),
            "image": base64_image(scene.path),
            "question": f"Describe the object in the image: {wanted}, and {parts[-1][0]}.",
            "type": KINDS[size],
            "num_of_component": str(size),
            "components": str([check for _, check, _ in parts]),
            "component_weight": str(weights),
            "component_type": str([type_ for _, _, type_ in parts]),
        }
        rows.append(row)
    return write_tsv(root / "MIA-Bench.tsv", rows)


def _contents(scene: Scene) -> list[Component]:
    kind = ("say what number it is", f"Mention the word {scene.digit}", "mention")
    if scene.shape:
        kind = ("name its shape", f"Mention the word {scene.shape}", "mention")
    color = scene.color or "black"  # ink of the digits
    return [
        kind,
        ("mention its color", f"Mention the word {color}", "describe"),
        ("say on which side it is", f"Mention the word {scene.side}", "perspective"),
    ]


def _forms(rng: random.Random) -> list[Component]:
    words = rng.randint(6, 12)
    return [
        (f"use at most {words} words", f"Use at most {words} words", "length_limit"),
        ("end with a period", "End with a period", "grammar"),
        ("start with a capital letter", "Start with a capital letter", "linguistics"),
    ]


class ScriptedJudge:
    """Grades the twin's components by rule; for every other benchmark it is a judge that does not answer."""

    name = NAME
    concurrency = 1

    def ask(self, question: Question) -> str:
        """The sentence that the official parser reads; full or no points for each component."""
        listed = [(int(weight), text) for weight, text in LISTED.findall(question.prompt.partition("\n\nReply: ")[0])]
        if not listed:
            return CALL_FAILED
        points = [weight * follows(text, question.reply) for weight, text in listed]
        parts = [
            f"score of component {n}: {got}/{of[0]}" for n, (got, of) in enumerate(zip(points, listed, strict=True), 1)
        ]
        return ", ".join([*parts, f"total score: {sum(points)}/10"]) + "."


def follows(component: str, reply: str) -> bool:
    """Whether a reply follows a component, as this file words them; an empty reply follows none.

    Raises:
        UserError: for a component that this file did not write.
    """
    text = reply.strip()
    for start, test in CHECKS.items():
        if component.startswith(start):
            return bool(text) and test(component.removeprefix(start).split(), text)
    raise UserError(
        f"the scripted judge does not know the component {component!r}: it grades the MIA-Bench twin only; "
        "for published data give a judge's YAML or replay:FILE.jsonl"
    )


CHECKS: dict[str, Callable[[list[str], str], bool]] = {
    "Mention the word ": lambda rest, text: rest[0] in re.findall(r"[a-z0-9]+", text.lower()),
    "Use at most ": lambda rest, text: len(text.split()) <= int(rest[0]),
    "End with a period": lambda rest, text: text.endswith("."),
    "Start with a capital letter": lambda rest, text: text[0].isupper(),
}
