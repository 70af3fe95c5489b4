"""VQAv2 twin: open questions with ten human-like answers, in the official question and annotation files.

Files under `VQAv2/`: `v2_OpenEnded_mscoco_val2014_questions.json`, `v2_mscoco_val2014_annotations.json`,
`images/COCO_val2014_<12 digits>.jpg`. Answer types yes/no, number and other. Most of the ten references agree; a few
give a synonym (grey, a digit's word) or an honest slip, so that the min(matches / 3, 1) rule has work to do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from mmevol_core.files import write_json
from mmevol_eval.twins.scene import COLORS, CORNERS, SHAPES, WORDS, Deck, Scene, is_digit, is_shape, other
from mmevol_eval.twins.writing import write_jpeg

FOLDER = "VQAv2"
QUESTIONS, ANNOTATIONS = "v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json"
REFERENCES = 10
SLIP = 0.06  # chance that one reference differs from the answer
SYNONYMS = {"gray": "grey", "rectangle": "square", **{str(n): word for n, word in enumerate(WORDS)}}
Asked = tuple[str, str, str]  # question, answer, question type (its first words, as in VQAv2)
Ask = Callable[[Scene, random.Random, bool], Asked]


def write(scenes: Sequence[Scene], root: Path, count: int, seed: int) -> int:
    """Write `count` questions, the kinds in turn; return how many."""
    rng = random.Random(f"VQAv2:{seed}")
    deck = Deck(scenes, rng)
    numbers = {scene.name: number for number, scene in enumerate(scenes, start=1)}
    questions, annotations = [], []
    for number in range(count):
        answer_type, fits, ask = KINDS[number % len(KINDS)]
        scene = deck.deal(fits, f"VQAv2 {answer_type}")
        question, answer, question_type = ask(scene, rng, number // len(KINDS) % 2 == 0)
        image = numbers[scene.name]
        write_jpeg(scene.path, root / FOLDER / "images" / f"COCO_val2014_{image:012d}.jpg")
        ids = {"image_id": image, "question_id": image * 1000 + number % 1000}
        questions.append({**ids, "question": question})
        record = {
            **ids,
            "question_type": question_type,
            "answer_type": answer_type,
            "multiple_choice_answer": answer,
            "answers": _references(answer, rng),
        }
        annotations.append(record)
    about = {"info": {"description": "tiny twin of VQA v2.0"}, "license": {}, "data_subtype": "val2014"}
    head = {**about, "data_type": "mscoco"}
    write_json(root / FOLDER / QUESTIONS, {**head, "task_type": "Open-Ended", "questions": questions})
    write_json(root / FOLDER / ANNOTATIONS, {**head, "annotations": annotations})
    return len(questions)


def _references(answer: str, rng: random.Random) -> list[dict[str, object]]:
    """Ten answers; at least six equal the first, so that the answer itself always scores 1."""
    texts = [answer] * REFERENCES
    for place in range(6, REFERENCES):
        if rng.random() < SLIP * REFERENCES / (REFERENCES - 6):
            flipped = {"yes": "no", "no": "yes"}
            texts[place] = flipped.get(answer, SYNONYMS.get(answer, answer))
    return [{"answer": text, "answer_confidence": "yes", "answer_id": i} for i, text in enumerate(texts, start=1)]


def _verdict(right: str, wrong: str, yes: bool) -> tuple[str, str]:
    return (right, "yes") if yes else (wrong, "no")


def _is_it(scene: Scene, rng: random.Random, yes: bool) -> Asked:
    shape, answer = _verdict(scene.shape, other(rng, SHAPES, scene.shape), yes)
    return f"Is this a {shape}?", answer, "is this a"


def _is_colored(scene: Scene, rng: random.Random, yes: bool) -> Asked:
    color, answer = _verdict(scene.color, other(rng, COLORS, scene.color), yes)
    return f"Is the object {color}?", answer, "is the"


def _is_number(scene: Scene, rng: random.Random, yes: bool) -> Asked:
    number, answer = _verdict(str(scene.digit), str(other(rng, range(10), scene.digit)), yes)
    return f"Is the number a {number}?", answer, "is the"


def _is_placed(scene: Scene, rng: random.Random, yes: bool) -> Asked:
    side, answer = _verdict(scene.side, "right" if scene.side == "left" else "left", yes)
    return f"Is the {scene.thing} on the {side}?", answer, "is the"


def _number(scene: Scene, rng: random.Random, turn: bool) -> Asked:
    return ("What number is this?" if turn else "What number is on the paper?"), str(scene.digit), "what number is"


def _how_many(scene: Scene, rng: random.Random, turn: bool) -> Asked:
    shape = scene.shape if turn else other(rng, SHAPES, scene.shape)
    return f"How many {shape}s are in this photo?", "1" if turn else "0", "how many"


def _corners(scene: Scene, rng: random.Random, turn: bool) -> Asked:
    return "How many corners does the object have?", str(CORNERS[scene.shape]), "how many"


def _color(scene: Scene, rng: random.Random, turn: bool) -> Asked:
    thing = scene.shape if turn else "object"
    return f"What color is the {thing}?", scene.color, "what color is the"


def _shape(scene: Scene, rng: random.Random, turn: bool) -> Asked:
    return ("What shape is this?" if turn else f"What is the shape of the {scene.color} object?"), scene.shape, "what"


def _side(scene: Scene, rng: random.Random, turn: bool) -> Asked:
    return f"Is the {scene.thing} on the left or right?", scene.side, "is the"


def _sided(scene: Scene) -> bool:
    return bool(scene.side)


KINDS: tuple[tuple[str, Callable[[Scene], bool], Ask], ...] = (
    ("yes/no", is_shape, _is_it),
    ("number", is_digit, _number),
    ("other", is_shape, _color),
    ("yes/no", is_shape, _is_colored),
    ("number", is_shape, _how_many),
    ("other", is_shape, _shape),
    ("yes/no", is_digit, _is_number),
    ("number", is_shape, _corners),
    ("other", _sided, _side),
    ("yes/no", _sided, _is_placed),
)
