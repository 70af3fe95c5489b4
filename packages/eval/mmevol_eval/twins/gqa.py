"""GQA twin: short answers over five structural types, in the official question file.

Files: `GQA/testdev_balanced_questions.json` ({question id: {imageId, question, answer, fullAnswer, isBalanced, types,
groups, semantic, semanticStr, entailed, equivalent}}) and `GQA/images/<imageId>.jpg`. Structural types: query (open),
verify (yes/no), choose (one of two), logical (and, or), compare (the digit against a number, width against height).
Yes and no, left and right and so on are balanced inside each kind of question.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmevol_core.files import write_json
from mmevol_eval.twins.scene import COLORS, SHAPES, Deck, Scene, is_digit, is_shape, other
from mmevol_eval.twins.writing import write_jpeg

FOLDER, QUESTIONS = "GQA", "testdev_balanced_questions.json"
Ask = Callable[[Scene, random.Random, bool], tuple[str, str]]  # the flag turns the answer: yes/no, order of options


@dataclass(frozen=True)
class Kind:
    """One kind of question with GQA's own labels for it."""

    structural: str
    semantic: str
    detailed: str
    fits: Callable[[Scene], bool]
    ask: Ask


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write `count` questions, the kinds in turn; return how many."""
    rng = random.Random(f"GQA:{seed}")
    deck = Deck(scenes, rng)
    questions: dict[str, object] = {}
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        scene = deck.deal(kind.fits, f"GQA {kind.detailed}")
        question, answer = kind.ask(scene, rng, number // len(KINDS) % 2 == 0)
        write_jpeg(scene.path, root / FOLDER / "images" / f"{scene.name}.jpg")
        questions[f"20{number:07d}"] = _record(kind, scene, question, answer)
    write_json(root / FOLDER / QUESTIONS, questions)
    return len(questions)


def _record(kind: Kind, scene: Scene, question: str, answer: str) -> dict[str, object]:
    operations = [
        {"operation": "select", "dependencies": [], "argument": scene.thing},
        {"operation": kind.structural, "dependencies": [0], "argument": kind.semantic},
    ]
    return {
        "imageId": scene.name,
        "question": question,
        "answer": answer,
        "fullAnswer": f"The answer for the {scene.thing} is {answer}.",
        "isBalanced": True,
        "types": {"structural": kind.structural, "semantic": kind.semantic, "detailed": kind.detailed},
        "groups": {"global": scene.thing, "local": f"{kind.detailed}-{scene.thing}"},
        "semantic": operations,
        "semanticStr": f"select: {scene.thing}->{kind.structural}: {kind.semantic} [0]",
        "entailed": [],
        "equivalent": [],
    }


def _yes_no(template: str, right: str, wrong: str, yes: bool) -> tuple[str, str]:
    return template.format(right if yes else wrong), "yes" if yes else "no"


def _options(template: str, right: str, wrong: str, first: bool) -> tuple[str, str]:
    return template.format(*((right, wrong) if first else (wrong, right))), right


def _what_color(scene: Scene, rng: random.Random, turn: bool) -> tuple[str, str]:
    return (
        f"What color is the {scene.shape}?" if turn else f"Which color do you think the {scene.shape} is?"
    ), scene.color


def _what_shape(scene: Scene, rng: random.Random, turn: bool) -> tuple[str, str]:
    return ("What shape is it?" if turn else f"What shape is the {scene.color} object?"), scene.shape


def _which_side(scene: Scene, rng: random.Random, turn: bool) -> tuple[str, str]:
    return f"On which side of the photo is the {scene.thing}?", scene.side


def _is_color(scene: Scene, rng: random.Random, turn: bool) -> tuple[str, str]:
    return _yes_no(f"Does the {scene.shape} look {{}}?", scene.color, other(rng, COLORS, scene.color), turn)


def _is_there(scene: Scene, rng: random.Random, turn: bool) -> tuple[str, str]:
    return _yes_no("Do you see any {}s in the photo?", scene.shape, other(rng, SHAPES, scene.shape), turn)


def _is_on_side(scene: Scene, rng: random.Random, turn: bool) -> tuple[str, str]:
    wrong = "right" if scene.side == "left" else "left"
    return _yes_no(f"Is the {scene.thing} on the {{}} side of the image?", scene.side, wrong, turn)


def _choose_color(scene: Scene, rng: random.Random, turn: bool) -> tuple[str, str]:
    wrong = other(rng, COLORS, scene.color)
    return _options(f"Which color is the {scene.shape}, {{}} or {{}}?", scene.color, wrong, turn)


def _choose_level(scene: Scene, rng: random.Random, turn: bool) -> tuple[str, str]:
    wrong = "bottom" if scene.level == "top" else "top"
    return _options(f"Is the {scene.thing} at the {{}} or at the {{}} of the picture?", scene.level, wrong, turn)


def _or(scene: Scene, rng: random.Random, turn: bool) -> tuple[str, str]:
    absent = f"{other(rng, COLORS, scene.color)} {other(rng, SHAPES, scene.shape)}"
    decoy = f"{other(rng, COLORS, scene.color)} {scene.shape}"
    shown = (scene.label if turn else decoy, absent)
    first, second = shown if rng.random() < 0.5 else shown[::-1]
    return f"Is there either a {first} or a {second} in the image?", "yes" if turn else "no"


def _and(scene: Scene, rng: random.Random, turn: bool) -> tuple[str, str]:
    color, shape = scene.color, scene.shape
    if not turn and rng.random() < 0.5:
        color = other(rng, COLORS, color)
    elif not turn:
        shape = other(rng, SHAPES, shape)
    return f"Is the object both {color} and a {shape}?", "yes" if turn else "no"


def _bigger(scene: Scene, rng: random.Random, turn: bool) -> tuple[str, str]:
    digit = scene.digit or 0
    rivals = [n for n in range(10) if n != digit and (digit > n) == turn]
    rival = rng.choice(rivals or [n for n in range(10) if n != digit])
    return f"Is the number larger than {rival}?", "yes" if digit > rival else "no"


def _wider(scene: Scene, rng: random.Random, turn: bool) -> tuple[str, str]:
    left, top, right, bottom = scene.xyxy
    wide = right - left > bottom - top
    words = ("wider", "taller") if wide else ("taller", "wider")
    first, second = ("wide", "tall") if words[turn] == "wider" else ("tall", "wide")
    return f"Is the {scene.shape} more {first} than {second}?", "no" if turn else "yes"


def _oblong(scene: Scene) -> bool:
    left, top, right, bottom = scene.xyxy
    return scene.shape == "rectangle" and abs((right - left) - (bottom - top)) > 0.1


KINDS = (
    Kind("query", "attr", "color", is_shape, _what_color),
    Kind("verify", "attr", "verifyColor", is_shape, _is_color),
    Kind("choose", "attr", "chooseColor", is_shape, _choose_color),
    Kind("logical", "obj", "existOr", is_shape, _or),
    Kind("compare", "attr", "compareNumber", is_digit, _bigger),
    Kind("query", "cat", "categoryThis", is_shape, _what_shape),
    Kind("verify", "obj", "exist", is_shape, _is_there),
    Kind("choose", "rel", "choosePlace", lambda scene: bool(scene.level), _choose_level),
    Kind("logical", "attr", "verifyAttrsAnd", is_shape, _and),
    Kind("compare", "attr", "compareExtent", _oblong, _wider),
    Kind("query", "rel", "positionQuery", lambda scene: bool(scene.side), _which_side),
    Kind("verify", "rel", "positionVerify", lambda scene: bool(scene.side), _is_on_side),
)
