"""Multi-modal Self-Instruct twin: eight kinds of abstract picture, in the official question file.

Files under `MMSInst/`: `questions.json` (question_id, image, text, answer, type, source, markers) and `images/`. The
pictures of the tiny world stand for charts, tables, dashboards (a number to read or to reckon with), flowcharts and
relation graphs (one node), floor plans (where something is), puzzles (options a to d) and road maps (the field to be
passed, as a marker of column letter and row digit).
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmevol_core.files import write_json
from mmevol_eval.twins.scene import Deck, Scene, is_digit, is_shape

FOLDER, QUESTIONS = "MMSInst", "questions.json"
Ask = Callable[[Scene, random.Random], tuple[str, str]]
MARKERS = {"top left": "A1", "top right": "B1", "bottom left": "A2", "bottom right": "B2"}


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write about `count` questions (a multiple of 8); return how many."""
    rng = random.Random(f"MMSInst:{seed}")
    deck = Deck(scenes, rng)
    rows: list[Mapping[str, object]] = []
    images = root / FOLDER / "images"
    images.mkdir(parents=True, exist_ok=True)
    for _ in range(max(1, round(count / len(SOURCES)))):
        for source, (type_, fits, ask) in SOURCES.items():
            scene = deck.deal(fits, f"MMSInst {source}")
            shutil.copyfile(scene.path, images / scene.path.name)
            question, answer = ask(scene, rng)
            row = {
                "question_id": str(len(rows)),
                "image": f"images/{scene.path.name}",
                "text": question,
                "answer": answer,
                "type": type_,
                "source": source,
                "markers": [answer] if source == "maze" else [],
            }
            rows.append(row)
    write_json(root / FOLDER / QUESTIONS, rows)
    return len(rows)


def _value(scene: Scene, rng: random.Random) -> tuple[str, str]:
    return "What is the value in the chart?", str(scene.digit)


def _sum(scene: Scene, rng: random.Random) -> tuple[str, str]:
    addend = rng.randint(1, 9)
    return f"What is the value in the table increased by {addend}?", str((scene.digit or 0) + addend)


def _reading(scene: Scene, rng: random.Random) -> tuple[str, str]:
    return "Which number does the dashboard show?", str(scene.digit)


def _node(scene: Scene, rng: random.Random) -> tuple[str, str]:
    return "What is the shape of the node in the flowchart?", scene.shape


def _color(scene: Scene, rng: random.Random) -> tuple[str, str]:
    return "What is the color of the node in the graph?", scene.color


def _corner(scene: Scene, rng: random.Random) -> tuple[str, str]:
    return f"In which corner of the floor plan is the {scene.thing}?", scene.corner


def _puzzle(scene: Scene, rng: random.Random) -> tuple[str, str]:
    kinds = rng.sample(["circle", "rectangle", "triangle", "number"], 4)
    options = " ".join(f"({letter}) {kind}" for letter, kind in zip("abcd", kinds, strict=True))
    return f"Which option is shown in the picture? {options}", "abcd"[kinds.index(scene.shape or "number")]


def _route(scene: Scene, rng: random.Random) -> tuple[str, str]:
    question = (
        "The map has the columns A and B from left to right and the rows 1 and 2 from top to bottom. "
        f"In which field, for example A2, does a route to the {scene.thing} end?"
    )
    return question, MARKERS[scene.corner]


def _placed(scene: Scene) -> bool:
    return bool(scene.corner)


SOURCES: dict[str, tuple[str, Callable[[Scene], bool], Ask]] = {
    "chart": ("DATA_EXTRACTION", is_digit, _value),
    "table": ("MATH_REASONING", is_digit, _sum),
    "dashboard": ("DATA_EXTRACTION", is_digit, _reading),
    "flowchart": ("STRUCTURAL", is_shape, _node),
    "org": ("COLOR", is_shape, _color),
    "layout": ("STRUCTURAL", _placed, _corner),
    "iq": ("STRUCTURAL", lambda scene: True, _puzzle),
    "maze": ("STRUCTURAL", _placed, _route),
}
