"""MME twin: fourteen categories, two yes/no questions a picture, one of each answer.

File: `MME.tsv` with index, image, question, answer, category, image_path. What the world has in place of what MME asks:

existence, color, position, OCR: as in MME. count: "a total of one" or "zero" of a shape (both texts have both
answers). posters: the picture's title. celebrity: what the one in the bounding box is called. scene: kind of
picture. landmark: the corner that the picture is taken of. artwork: the form of the work. numerical_calculation:
sums with the digit. text_translation: the digit as an English word. commonsense_reasoning: parity of a digit,
corners of a shape. code_reasoning: what a line of Python prints when x is the digit.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.twins.scene import COLORS, CORNERS, SHAPES, WORDS, Deck, Scene, is_digit, is_shape, other
from mmevol_eval.twins.writing import base64_image

SUFFIX = " Please answer yes or no."
Pair = tuple[str, str]  # the question whose answer is yes, then the one whose answer is no
Ask = Callable[[Scene, random.Random], Pair]
Fits = Callable[[Scene], bool]


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write about `count` questions (a multiple of 28: every category has as many pictures); return how many."""
    rng = random.Random(f"MME:{seed}")
    deck = Deck(scenes, rng)
    rows: list[dict[str, str]] = []
    for category, (fits, ask) in CATEGORIES.items():
        for number in range(max(1, round(count / (2 * len(CATEGORIES))))):
            scene = deck.deal(fits[number % len(fits)], f"MME {category}")
            pair = list(zip(ask(scene, rng), ("Yes", "No"), strict=True))
            rng.shuffle(pair)
            for question, answer in pair:
                row = {
                    "index": str(len(rows)),
                    "image": base64_image(scene.path),
                    "question": question + SUFFIX,
                    "answer": answer,
                    "category": category,
                    "image_path": f"{category}/{number:04d}_{scene.name}.png",
                }
                rows.append(row)
    return write_tsv(root / "MME.tsv", rows)


def _pair(template: str, yes: object, no: object) -> Pair:
    return template.format(yes), template.format(no)


def _existence(scene: Scene, rng: random.Random) -> Pair:
    return _pair("Is there a {} in this image?", scene.shape, other(rng, SHAPES, scene.shape))


def _count(scene: Scene, rng: random.Random) -> Pair:
    absent = other(rng, SHAPES, scene.shape)
    if rng.random() < 0.5:
        return _pair("Is there a total of one {} in the image?", scene.shape, absent)
    return _pair("Is there a total of zero {}s in the image?", absent, scene.shape)


def _position(scene: Scene, rng: random.Random) -> Pair:
    if rng.random() < 0.5:
        sides = (scene.side, "right" if scene.side == "left" else "left")
        return _pair(f"Is the {scene.thing} on the {{}} side of the image?", *sides)
    levels = (scene.level, "bottom" if scene.level == "top" else "top")
    return _pair(f"Is the {scene.thing} at the {{}} of the image?", *levels)


def _color(scene: Scene, rng: random.Random) -> Pair:
    return _pair(f"Is there a {{}} {scene.shape} in the image?", scene.color, other(rng, COLORS, scene.color))


def _posters(scene: Scene, rng: random.Random) -> Pair:
    if scene.digit is not None:
        return _pair("Is this picture titled {}?", *(WORDS[n] for n in (scene.digit, _wrong(scene, rng))))
    wrong = f"{other(rng, COLORS, scene.color)} {other(rng, SHAPES, scene.shape)}"
    return _pair("Is this picture titled {}?", scene.label, wrong)


def _celebrity(scene: Scene, rng: random.Random) -> Pair:
    box = "[" + ", ".join(f"{edge:.2f}" for edge in scene.xyxy) + "]"
    names = (scene.shape, other(rng, SHAPES, scene.shape))
    return _pair(f"Is the object inside the bounding box {box} called a {{}}?", *names)


def _scene(scene: Scene, rng: random.Random) -> Pair:
    kinds = ("a handwritten digit", "a colored shape")
    return _pair("Does this image show {}?", *(kinds if is_digit(scene) else reversed(kinds)))


def _landmark(scene: Scene, rng: random.Random) -> Pair:
    corners = [f"{level} {side}" for level in ("top", "bottom") for side in ("left", "right")]
    return _pair(
        f"Is this a photo of a {scene.thing} in the {{}} corner?", scene.corner, other(rng, corners, scene.corner)
    )


def _artwork(scene: Scene, rng: random.Random) -> Pair:
    forms = ("handwriting", "a geometric drawing")
    return _pair("Does this artwork exist in the form of {}?", *(forms if is_digit(scene) else reversed(forms)))


def _ocr(scene: Scene, rng: random.Random) -> Pair:
    return _pair('Is the number in the image "{}"?', scene.digit, _wrong(scene, rng))


def _calculation(scene: Scene, rng: random.Random) -> Pair:
    addend, digit = rng.randint(1, 9), scene.digit or 0
    totals = (digit + addend, _wrong(scene, rng) + addend)
    return _pair(f"Is the sum of the number in the image and {addend} equal to {{}}?", *totals)


def _translation(scene: Scene, rng: random.Random) -> Pair:
    words = (WORDS[n] for n in (scene.digit or 0, _wrong(scene, rng)))
    return _pair("Is it appropriate to translate the digit in the image into the English word '{}'?", *words)


def _commonsense(scene: Scene, rng: random.Random) -> Pair:
    if scene.digit is not None:
        kinds = ("even", "odd") if scene.digit % 2 == 0 else ("odd", "even")
        return _pair("Is the number in the image an {} number?", *kinds)
    corners = list(CORNERS.values())
    right = CORNERS[scene.shape]
    return _pair("Does the object in the image have {} corners?", right, other(rng, corners, right))


def _code(scene: Scene, rng: random.Random) -> Pair:
    step, digit = rng.randint(1, 9), scene.digit or 0
    outputs = (digit + step, _wrong(scene, rng) + step)
    return _pair(
        f"The image shows the value of x. Is the output of the Python code 'print(x + {step})' {{}}?", *outputs
    )


def _wrong(scene: Scene, rng: random.Random) -> int:
    return other(rng, range(10), scene.digit or 0)


def _sided(scene: Scene) -> bool:
    return bool(scene.corner)


CATEGORIES: dict[str, tuple[tuple[Fits, ...], Ask]] = {  # pictures are dealt from the kinds in turn
    "OCR": ((is_digit,), _ocr),
    "artwork": ((is_shape, is_digit), _artwork),
    "celebrity": ((is_shape,), _celebrity),
    "code_reasoning": ((is_digit,), _code),
    "color": ((is_shape,), _color),
    "commonsense_reasoning": ((is_shape, is_digit), _commonsense),
    "count": ((is_shape,), _count),
    "existence": ((is_shape,), _existence),
    "landmark": ((_sided,), _landmark),
    "numerical_calculation": ((is_digit,), _calculation),
    "position": ((_sided,), _position),
    "posters": ((is_shape, is_digit), _posters),
    "scene": ((is_shape, is_digit), _scene),
    "text_translation": ((is_digit,), _translation),
}
