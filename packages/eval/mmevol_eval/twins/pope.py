"""POPE twin: is this object in the image? Six questions a picture, three settings of negatives.

File: `POPE.tsv` with index, image, question, answer, category. Objects are the shapes with their colours and the
digits. Negatives, from the statistics of all held-out pictures: `random` draws from the objects' own frequency, so
that the text alone says nothing; `popular` takes the commonest absent objects; `adversarial` the objects that share
an attribute with the one shown (its colour, its shape; for digits the ones beside it in value), which stands for
POPE's co-occurrence, as one object a picture has no company.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.twins.scene import COLORS, SHAPES, Deck, Scene, is_digit, is_shape, other
from mmevol_eval.twins.writing import base64_image

SETTINGS = ("random", "popular", "adversarial")
POPULAR = 8  # so many of the commonest objects count as popular


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write about `count` questions (a multiple of 6): per picture and setting one yes and one no."""
    rng = random.Random(f"POPE:{seed}")
    deck = Deck(scenes, rng)
    frequency = Counter(scene.label for scene in scenes)
    rows: list[dict[str, str]] = []
    for number in range(max(1, round(count / (2 * len(SETTINGS))))):
        scene = deck.deal(is_digit if number % 3 == 2 else is_shape, "POPE")
        for setting in SETTINGS:
            for label, answer in ((scene.label, "Yes"), (_absent(scene, setting, frequency, rng), "No")):
                row = {
                    "index": str(len(rows)),
                    "image": base64_image(scene.path),
                    "question": f"Is there a {label} in the image?",
                    "answer": answer,
                    "category": setting,
                }
                rows.append(row)
    return write_tsv(root / "POPE.tsv", rows)


def _absent(scene: Scene, setting: str, frequency: Counter[str], rng: random.Random) -> str:
    """An object of the same family that the picture does not show."""
    same_family = {label: n for label, n in frequency.items() if _family(label) == _family(scene.label)}
    same_family.pop(scene.label, None)
    if setting == "adversarial":
        return _relative(scene, rng)
    if setting == "popular":
        ranked = sorted(same_family, key=lambda label: (-same_family[label], label))
        return rng.choice(ranked[:POPULAR])
    return rng.choices(list(same_family), list(same_family.values()))[0]


def _relative(scene: Scene, rng: random.Random) -> str:
    if scene.digit is not None:
        return f"digit {rng.choice([n for n in (scene.digit - 1, scene.digit + 1) if 0 <= n <= 9])}"
    if rng.random() < 0.5:
        return f"{scene.color} {other(rng, SHAPES, scene.shape)}"
    return f"{other(rng, COLORS, scene.color)} {scene.shape}"


def _family(label: str) -> str:
    return "digit" if label.startswith("digit") else "shape"
