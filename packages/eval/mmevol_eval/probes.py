"""Probes of the tiny world: does the model see, bind a place, bind a letter? Gates, not benchmarks.

seed_type: the held-out pictures' own questions, real minus blind. letter_binding: four options as lines, each question
under all four rotations. cell_binding: pictures pasted side by side or two by two, the object of a named one asked.
"""

from __future__ import annotations

import io
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mmevol_core.sample import Sample, read_samples
from mmevol_eval.benchmark import Message
from mmevol_eval.predictions import Answers, Ask
from mmevol_eval.twins.scene import Scene, read_scenes

NAME = "probe"
LETTERS = "ABCD"
SHORT = "Answer the question using a single word or phrase."
LETTER = "Please select the correct answer from the options above."
LAYOUTS = {2: ("left", "right"), 4: ("top left", "top right", "bottom left", "bottom right")}
SIDE = 64  # pixels of a pasted picture


@dataclass(frozen=True)
class Expected:
    """What a probe's question should be answered with; `others` are the answers of the other cells or options."""

    probe: str
    index: str
    answer: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Probes:
    """All questions of the probes and what is expected."""

    asks: tuple[Ask, ...]
    expected: tuple[Expected, ...]


def prepare(held_out: Path, count: int, seed: int) -> Probes:
    """Questions of all probes; about `count` of each."""
    scenes = read_scenes(held_out)
    samples = [sample for sample in read_samples(held_out / "annotations.jsonl") if sample.rounds and sample.rounds[0]]
    parts = [
        _seed_type(samples, held_out / "images", count, random.Random(f"seed_type:{seed}")),
        _letters([s for s in scenes if s.shape], count // 4, random.Random(f"letters:{seed}")),
        *(_cells(scenes, cells, count // 2, random.Random(f"cells:{cells}:{seed}")) for cells in LAYOUTS),
    ]
    return Probes(tuple(ask for asks, _ in parts for ask in asks), tuple(one for _, found in parts for one in found))


def measure(probes: Probes, answers: Answers) -> dict[str, Any]:
    """Readings of the probes, shares 0..1; a probe without questions is left out."""
    by_probe: dict[str, list[Expected]] = {}
    for expected in probes.expected:
        by_probe.setdefault(expected.probe, []).append(expected)
    readings: dict[str, Any] = {}
    if "seed_type" in by_probe:
        readings["seed_type"] = _measure_seed_type(by_probe["seed_type"], answers)
    if "letter_binding" in by_probe:
        readings["letter_binding"] = _measure_letters(by_probe["letter_binding"], answers)
    for cells in LAYOUTS:
        if f"cells_{cells}" in by_probe:
            readings[f"cell_binding_{cells}"] = _measure_cells(by_probe[f"cells_{cells}"], answers)
    return readings


def normal(text: str) -> str:
    """Lower case, letters and digits only, single spaces."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _seed_type(
    samples: Sequence[Sample], images: Path, count: int, rng: random.Random
) -> tuple[list[Ask], list[Expected]]:
    """One of a picture's own questions, as it is and with the picture of the next in line."""
    chosen = rng.sample(list(samples), min(count, len(samples)))
    asks, expected = [], []
    for number, (sample, donor) in enumerate(zip(chosen, chosen[1:] + chosen[:1], strict=True)):
        item = rng.choice(sample.rounds[0])
        for run, shown in (("real", sample), ("blind", donor)):
            message = Message((images / shown.images[0], f"{item.question}\n{SHORT}"))
            asks.append(Ask(run, f"{NAME}:seed_type", str(number), message))
        expected.append(Expected("seed_type", str(number), item.answer))
    return asks, expected


def _measure_seed_type(expected: Sequence[Expected], answers: Answers) -> dict[str, Any]:
    right = {
        run: sum(normal(answers[run, f"{NAME}:seed_type", one.index].text) == normal(one.answer) for one in expected)
        for run in ("real", "blind")
    }
    real, blind = right["real"] / len(expected), right["blind"] / len(expected)
    return {"real": real, "blind": blind, "real_minus_blind": real - blind, "n": len(expected)}


def _letters(scenes: Sequence[Scene], count: int, rng: random.Random) -> tuple[list[Ask], list[Expected]]:
    """The colour of a shape out of four, with the right option at each letter once."""
    asks, expected = [], []
    colors = sorted({scene.color for scene in scenes})
    for number, scene in enumerate(rng.sample(list(scenes), min(count, len(scenes)))):
        wrong = rng.sample([color for color in colors if color != scene.color], min(3, len(colors) - 1))
        options = [scene.color, *wrong]
        for turn in range(len(options)):
            turned = options[-turn:] + options[:-turn] if turn else options
            lines = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, turned, strict=False))
            text = f"Question: What color is the {scene.shape}?\nOptions:\n{lines}\n{LETTER}"
            index = f"{number}:{turn}"
            asks.append(Ask("real", f"{NAME}:letter_binding", index, Message((scene.path, text))))
            expected.append(Expected("letter_binding", index, LETTERS[turn], tuple(turned)))
    return asks, expected


def _measure_letters(expected: Sequence[Expected], answers: Answers) -> dict[str, Any]:
    """Accuracy, share of valid letters, and share of questions whose four rotations name one option."""
    right = valid = 0
    named: dict[str, list[str]] = {}
    for one in expected:
        reply = answers["real", f"{NAME}:letter_binding", one.index].text.strip().rstrip(".").strip()
        known = len(reply) == 1 and reply in LETTERS[: len(one.others)]
        valid += known
        right += reply == one.answer
        named.setdefault(one.index.partition(":")[0], []).append(one.others[LETTERS.index(reply)] if known else "")
    same = sum(len(set(options)) == 1 and options[0] != "" for options in named.values())
    count = len(expected)
    return {"accuracy": right / count, "valid": valid / count, "consistent": same / len(named), "n": count}


def _cells(scenes: Sequence[Scene], cells: int, count: int, rng: random.Random) -> tuple[list[Ask], list[Expected]]:
    """Shapes of different colours and kinds of place; the colour of the one in a named place."""
    shapes = [scene for scene in scenes if scene.shape]
    asks: list[Ask] = []
    expected: list[Expected] = []
    if len({scene.color for scene in shapes}) < cells:
        return asks, expected
    for number in range(count):
        chosen: list[Scene] = []
        while len(chosen) < cells:
            scene = rng.choice(shapes)
            if scene.color not in {one.color for one in chosen}:
                chosen.append(scene)
        place = rng.randrange(cells)
        text = f"What color is the shape in the {LAYOUTS[cells][place]} picture?\n{SHORT}"
        asks.append(Ask("real", f"{NAME}:cells_{cells}", str(number), Message((_mosaic(chosen), text))))
        others = tuple(scene.color for scene in chosen if scene is not chosen[place])
        expected.append(Expected(f"cells_{cells}", str(number), chosen[place].color, others))
    return asks, expected


def _mosaic(scenes: Sequence[Scene]) -> bytes:
    """Pictures in reading order, two a row, as PNG."""
    rows = (len(scenes) + 1) // 2
    canvas = Image.new("RGB", (2 * SIDE, rows * SIDE), "white")
    for number, scene in enumerate(scenes):
        with Image.open(scene.path) as picture:
            canvas.paste(picture.convert("RGB").resize((SIDE, SIDE)), (number % 2 * SIDE, number // 2 * SIDE))
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue()


def _measure_cells(expected: Sequence[Expected], answers: Answers) -> dict[str, Any]:
    replies: Mapping[str, str] = {
        one.index: normal(answers["real", f"{NAME}:{one.probe}", one.index].text) for one in expected
    }
    right = sum(replies[one.index] == one.answer for one in expected)
    other = sum(replies[one.index] in one.others for one in expected)
    return {"right": right / len(expected), "other": other / len(expected), "n": len(expected)}
