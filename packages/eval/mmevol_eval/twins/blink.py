"""BLINK twin: its fourteen tasks, one to three pictures a question.

File: `BLINK.tsv` with index, image (a list), question, A to D (empty when absent), answer, category. What stands for
each task: the same form (Art_Style), counts (Counting), the odd picture out (Forensic_Detection), as many corners
(Functional_Correspondence), the next number (IQ_Test), the other half (Jigsaw), how a picture was flipped
(Multi-view_Reasoning), boxes (Object_Localization), sizes (Relative_Depth), bright and dark (Relative_Reflectance),
the same kind (Semantic_Correspondence), sides (Spatial_Relation), the same corner (Visual_Correspondence), the same
colour (Visual_Similarity).
"""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.twins.choices import LETTERS, place_options, three
from mmevol_eval.twins.scene import SHAPES, Deck, Scene, is_digit, is_shape, other
from mmevol_eval.twins.writing import base64_image

DARK, BRIGHT = ("black", "blue", "brown"), ("yellow", "green")
ORDINALS = ("the second image", "the third image")


@dataclass(frozen=True)
class Made:
    """A question with its pictures (base64) and options."""

    images: tuple[str, ...]
    question: str
    right: str
    wrong: tuple[str, ...]


Make = Callable[[Deck, random.Random], Made]


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write about `count` questions (a multiple of 14); return how many."""
    rng = random.Random(f"BLINK:{seed}")
    deck = Deck(scenes, rng)
    rows: list[dict[str, str]] = []
    for number in range(max(1, round(count / len(TASKS)))):
        for task, make in TASKS.items():
            made = make(deck, rng)
            letter = LETTERS[number % (len(made.wrong) + 1)]
            row = {
                "index": str(len(rows)),
                "image": str(list(made.images)),
                "question": made.question,
                **place_options(made.right, made.wrong, letter),
                "answer": letter,
                "category": task,
            }
            rows.append(row)
    return write_tsv(root / "BLINK.tsv", rows)


def _matching(key: Callable[[Scene], object], fits: Callable[[Scene], bool], question: str) -> Make:
    """Three pictures; one of the last two agrees with the first in `key`."""

    def make(deck: Deck, rng: random.Random) -> Made:
        first = deck.deal(fits, question)
        same = deck.deal(lambda s: fits(s) and s.name != first.name and key(s) == key(first), question)
        unlike = deck.deal(lambda s: fits(s) and key(s) != key(first), question)
        place = rng.randrange(2)
        pair = (same, unlike) if place == 0 else (unlike, same)
        images = tuple(base64_image(scene.path) for scene in (first, *pair))
        return Made(images, question, ORDINALS[place], (ORDINALS[1 - place],))

    return make


def _counting(deck: Deck, rng: random.Random) -> Made:
    scene = deck.deal(is_shape, "Counting")
    shape = rng.choice([scene.shape, other(rng, SHAPES, scene.shape)])
    right = str(int(shape == scene.shape))
    return Made(_one(scene), f"How many {shape}s are in the image?", right, three(rng, ("0", "1", "2", "3"), right))


def _forensic(deck: Deck, rng: random.Random) -> Made:
    odd_digit = rng.random() < 0.5
    odd = deck.deal(is_digit if odd_digit else is_shape, "Forensic_Detection")
    rest = [deck.deal(is_shape if odd_digit else is_digit, "Forensic_Detection") for _ in range(2)]
    place = rng.randrange(3)
    rest.insert(place, odd)
    names = ("the first image", *ORDINALS)
    images = tuple(base64_image(scene.path) for scene in rest)
    wrong = tuple(name for name in names if name != names[place])
    return Made(images, "Which image is of another kind than the others?", names[place], wrong)


def _next_number(deck: Deck, rng: random.Random) -> Made:
    scene = deck.deal(is_digit, "IQ_Test")
    right = str((scene.digit or 0) + 1)
    values = [str(n) for n in range(1, 11)]
    return Made(_one(scene), "Which number comes next after the one in the image?", right, three(rng, values, right))


def _jigsaw(deck: Deck, rng: random.Random) -> Made:
    def cut(scene: Scene) -> bool:
        left, _, right, _ = scene.xyxy
        return bool(scene.shape) and left < 0.42 and right > 0.58

    first = deck.deal(cut, "Jigsaw")
    foreign = deck.deal(lambda s: cut(s) and s.color != first.color, "Jigsaw")
    halves = (_half(first, 1), _half(foreign, 1))
    place = rng.randrange(2)
    images = (_half(first, 0), *(halves if place == 0 else halves[::-1]))
    question = "The first image is the left half of a picture. Which image is its right half?"
    return Made(images, question, ORDINALS[place], (ORDINALS[1 - place],))


def _flipped(deck: Deck, rng: random.Random) -> Made:
    scene = deck.deal(lambda s: bool(s.corner), "Multi-view_Reasoning")
    ways = {"left to right": Image.Transpose.FLIP_LEFT_RIGHT, "top to bottom": Image.Transpose.FLIP_TOP_BOTTOM}
    right, wrong = rng.sample(sorted(ways), 2)
    with Image.open(scene.path) as picture:
        turned = _encoded(picture.convert("RGB").transpose(ways[right]))
    question = "The second image is the first one after a flip. In which direction was it flipped?"
    return Made((base64_image(scene.path), turned), question, right, (wrong,))


def _box(deck: Deck, rng: random.Random) -> Made:
    scene = deck.deal(lambda s: bool(s.side), "Object_Localization")
    left, top, right, bottom = scene.xyxy
    mirrored = (1 - right, top, 1 - left, bottom)
    texts = ["[" + ", ".join(f"{edge:.2f}" for edge in box) + "]" for box in (scene.xyxy, mirrored)]
    question = f"Which bounding box, as shares of width and height, holds the {scene.thing}?"
    return Made(_one(scene), question, texts[0], (texts[1],))


def _ordered(fits: tuple[Callable[[Scene], bool], Callable[[Scene], bool]], question: str) -> Make:
    """Two pictures of the same kind of shape; the right one fits the first test, the wrong one the second."""
    names = ("the first image", "the second image")

    def make(deck: Deck, rng: random.Random) -> Made:
        right = deck.deal(lambda s: is_shape(s) and fits[0](s), question)
        wrong = deck.deal(lambda s: is_shape(s) and fits[1](s), question)
        place = rng.randrange(2)
        pair = (right, wrong) if place == 0 else (wrong, right)
        return Made(tuple(base64_image(s.path) for s in pair), question, names[place], (names[1 - place],))

    return make


def _spatial(deck: Deck, rng: random.Random) -> Made:
    scene = deck.deal(lambda s: bool(s.side), "Spatial_Relation")
    asked = rng.choice(("left", "right"))
    right, wrong = ("Yes", "No") if asked == scene.side else ("No", "Yes")
    return Made(_one(scene), f"Is the {scene.thing} on the {asked} side of the image?", right, (wrong,))


def _area(scene: Scene) -> float:
    left, top, right, bottom = scene.xyxy
    return (right - left) * (bottom - top)


def _one(scene: Scene) -> tuple[str, ...]:
    return (base64_image(scene.path),)


def _half(scene: Scene, side: int) -> str:
    with Image.open(scene.path) as picture:
        width = picture.width // 2
        return _encoded(picture.convert("RGB").crop((side * width, 0, (side + 1) * width, picture.height)))


def _encoded(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _corner(scene: Scene) -> bool:
    return bool(scene.corner)


TASKS: dict[str, Make] = {
    "Art_Style": _matching(is_digit, lambda s: True, "Which image has the same form as the first image?"),
    "Counting": _counting,
    "Forensic_Detection": _forensic,
    "Functional_Correspondence": _matching(
        lambda s: s.shape, is_shape, "Which image shows a figure with as many corners as that of the first image?"
    ),
    "IQ_Test": _next_number,
    "Jigsaw": _jigsaw,
    "Multi-view_Reasoning": _flipped,
    "Object_Localization": _box,
    "Relative_Depth": _ordered(
        (lambda s: _area(s) > 0.1, lambda s: _area(s) < 0.08), "Which image shows the larger object?"
    ),
    "Relative_Reflectance": _ordered(
        (lambda s: s.color in DARK, lambda s: s.color in BRIGHT), "Which image shows the darker object?"
    ),
    "Semantic_Correspondence": _matching(
        lambda s: s.digit, is_digit, "Which image shows the same number as the first image?"
    ),
    "Spatial_Relation": _spatial,
    "Visual_Correspondence": _matching(
        lambda s: s.corner, _corner, "In which image is the object at the same place as in the first image?"
    ),
    "Visual_Similarity": _matching(
        lambda s: s.color, is_shape, "Which image shows an object of the same color as the first image?"
    ),
}
