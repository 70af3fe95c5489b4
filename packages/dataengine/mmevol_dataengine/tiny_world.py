"""The tiny world: real pictures and real questions, small enough for two CPU cores.

Two public data sets that ship as Python packages: easy-VQA (64x64 pictures of one coloured shape, with its own
questions and its official train/test split) and the UCI handwritten digits (scikit-learn `load_digits`; every fifth
digit is test). Level 1 holds one object per picture. Boxes and colours come from the pixels, exactly.

Train and test pictures are written to different folders, and only the test folder is the role `held_out`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmevol_core.errors import UserError
from mmevol_core.files import write_json
from mmevol_core.sample import QA, Box, Sample, Text, qa_id, sample_id, write_samples

VERSION = "1"
SIDE = 64  # pixels; easy-VQA's own size
COLORS = {
    (0, 0, 255): "blue", (0, 128, 128): "teal", (0, 255, 0): "green", (255, 0, 0): "red",
    (165, 42, 42): "brown", (0, 0, 0): "black", (255, 255, 0): "yellow", (128, 128, 128): "gray",
}  # fmt: skip
DIGIT_SIDES = (20, 48)  # smallest and largest side of a drawn digit, pixels
TEST_EVERY = 5  # every fifth digit is test
SMALL, LARGE = 0.05, 0.12  # share of the picture that a box covers: below small, above large
COLUMNS, ROWS = ("left", "center", "right"), ("top", "middle", "bottom")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class World:
    """Where the world was written, and how much of it there is."""

    seed: Path
    images: Path
    captions: Path
    held_out: Path
    counts: dict[str, int]


@dataclass(frozen=True)
class Split:
    """Which pictures one side of the world gets."""

    name: str  # "train" or "test"
    shapes: int | None  # None: all
    digits: int | None
    questions: int  # at most so many questions a record


def build(out_dir: Path, *, seed: int, shapes: int | None, digits: int | None, questions: int = 4) -> World:
    """Write seed records, captions, train pictures and the held-out folder under `out_dir`.

    Args:
        out_dir: gets `seed.jsonl`, `captions.json`, `images/` (train) and `held_out/` (test).
        seed: order of records and choice of questions.
        shapes: how many easy-VQA train pictures become seed records (None: all 4,000).
        digits: how many train digits become seed records (None: all 1,437).
        questions: at most so many questions per record.

    All train pictures get a caption, whether or not they become seed records.
    """
    train = _records(Split("train", None, None, questions), out_dir / "images", seed)
    chosen = _first(train, "shape", shapes) + _first(train, "digit", digits)
    random.Random(f"{seed}:order").shuffle(chosen)
    held_out = _records(Split("test", None, None, questions), out_dir / "held_out" / "images", seed)
    write_samples(out_dir / "seed.jsonl", chosen)
    write_samples(out_dir / "held_out" / "annotations.jsonl", held_out)
    write_json(out_dir / "captions.json", [_caption_pair(sample) for sample in train])
    counts = {"train_pictures": len(train), "seed_records": len(chosen), "held_out_pictures": len(held_out)}
    return World(out_dir / "seed.jsonl", out_dir / "images", out_dir / "captions.json", out_dir / "held_out", counts)


def _first(samples: Sequence[Sample], topic: str, count: int | None) -> list[Sample]:
    of_topic = [sample for sample in samples if sample.topic == topic]
    if count is not None and count > len(of_topic):
        raise UserError(f"tiny world: {count} {topic} records asked for, {len(of_topic)} exist; lower data.{topic}s")
    return of_topic[:count]


def _records(split: Split, image_root: Path, seed: int) -> list[Sample]:
    image_root.mkdir(parents=True, exist_ok=True)
    samples = [*_shapes(split, image_root, seed), *_digits(split, image_root, seed)]
    random.Random(f"{seed}:{split.name}").shuffle(samples)
    return samples


def _shapes(split: Split, image_root: Path, seed: int) -> Iterator[Sample]:
    """easy-VQA pictures of one split with their own questions."""
    import easy_vqa

    train = split.name == "train"
    paths = easy_vqa.get_train_image_paths() if train else easy_vqa.get_test_image_paths()
    questions = easy_vqa.get_train_questions() if train else easy_vqa.get_test_questions()
    asked: dict[int, list[tuple[str, str]]] = {}
    for question, answer, image in zip(*questions, strict=True):
        asked.setdefault(image, []).append((question, answer))
    for number in sorted(paths):
        name = f"easy_vqa_{split.name}_{number:04d}.png"
        with Image.open(paths[number]) as picture:
            pixels = np.asarray(picture.convert("RGB"))
            picture.convert("RGB").save(image_root / name)
        label, xyxy = find_shape(pixels)
        rng = random.Random(f"{seed}:{name}")
        pairs = asked[number]
        rng.shuffle(pairs)
        box = Box(label=label, xyxy=xyxy)
        yield _sample("easy-VQA", "shape", name, box, pairs[: split.questions])


def _digits(split: Split, image_root: Path, seed: int) -> Iterator[Sample]:
    """Handwritten digits, each drawn once at a place and size that its number fixes."""
    for number, values, digit in digit_scans(split.name):
        name = f"digit_{split.name}_{number:04d}.png"
        rng = random.Random(f"{seed}:{name}")
        side = rng.randint(*DIGIT_SIDES)
        pixels, xyxy = draw_digit(values, side, rng.randint(0, SIDE - side), rng.randint(0, SIDE - side))
        Image.fromarray(pixels).save(image_root / name)
        box = Box(label=f"digit {digit}", xyxy=xyxy)
        yield _sample("UCI digits", "digit", name, box, _digit_questions(digit, split.questions, rng))


def digit_scans(split: str) -> Iterator[tuple[int, NDArray[np.float64], int]]:
    """Yield (number, 8x8 ink values 0..16, digit) of one split; every fifth scan is test."""
    from sklearn.datasets import load_digits

    data = load_digits()
    for number, (values, digit) in enumerate(zip(data.images, data.target, strict=True)):
        if (number % TEST_EVERY == TEST_EVERY - 1) == (split == "test"):
            yield number, values, int(digit)


def find_shape(pixels: Pixels) -> tuple[str, tuple[float, float, float, float]]:
    """Label ("red circle") and box of the one shape in an easy-VQA picture (H, W, 3), from its pixels.

    The commonest colour is the background and the second the shape; a box filled by more than 95 % holds a
    rectangle, by less than 66 % (72 % when tiny) a triangle, otherwise a circle: right for every question of the set.
    """
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    values, counts = np.unique(packed, return_counts=True)
    shape = int(values[np.argsort(-counts)[1]])
    rows, columns = np.nonzero(packed == shape)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    fill = len(rows) / ((right - left) * (bottom - top))
    fewest = 0.72 if right - left <= 5 else 0.66  # the smallest triangles fill .68, as circles cut by the edge do
    kind = "rectangle" if fill > 0.95 else "triangle" if fill < fewest else "circle"
    color = COLORS[(shape >> 16, shape >> 8 & 255, shape & 255)]
    return f"{color} {kind}", _shares(left, top, right, bottom)


def draw_digit(
    values: NDArray[np.float64], side: int, left: int, top: int
) -> tuple[Pixels, tuple[float, float, float, float]]:
    """Draw an 8x8 scan (0..16) as black ink on white, `side` pixels wide; return the picture and the ink's box."""
    ink = Image.fromarray((values * (255 / 16)).round().astype(np.uint8)).resize(
        (side, side), Image.Resampling.BILINEAR
    )
    canvas = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    canvas[top : top + side, left : left + side] = 255 - np.asarray(ink)[:, :, None]
    rows, columns = np.nonzero(canvas[:, :, 0] < 128)
    return canvas, _shares(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def _shares(left: int, top: int, right: int, bottom: int) -> tuple[float, float, float, float]:
    a, b, c, d = (round(float(edge) / SIDE, 2) for edge in (left, top, right, bottom))
    return a, b, c, d


def _digit_questions(digit: int, count: int, rng: random.Random) -> list[tuple[str, str]]:
    """Plain questions about one digit in the manner of easy-VQA: half open, half yes/no with balanced answers."""
    other = rng.choice([d for d in range(10) if d != digit])
    shown, name = (digit, "yes") if rng.random() < 0.5 else (other, "no")
    checks = [
        (f"is this a {shown}?", name),
        (f"does the image show a {shown}?", name),
        (f"is the digit a {shown}?", name),
    ]
    negated = (f"is this not a {other}?", "yes") if rng.random() < 0.5 else (f"is this not a {digit}?", "no")
    asked = ["what digit is shown?", "which digit is in the image?", "what is the digit?", "what number is this?"]
    opened = [(question, str(digit)) for question in rng.sample(asked, 2)]
    pairs = [*opened, rng.choice(checks), negated]
    rng.shuffle(pairs)
    return pairs[:count]


def place(xyxy: tuple[float, float, float, float]) -> tuple[str, str, str]:
    """Column, row and size words of a box: the third its centre lies in, and how much it covers."""
    left, top, right, bottom = xyxy
    column = COLUMNS[min(int((left + right) / 2 * 3), 2)]
    row = ROWS[min(int((top + bottom) / 2 * 3), 2)]
    area = (right - left) * (bottom - top)
    return column, row, "small" if area < SMALL else "large" if area > LARGE else "medium"


def caption(label: str, xyxy: tuple[float, float, float, float]) -> str:
    """One sentence that says what is there, how large and where."""
    column, row, size = place(xyxy)
    where = "center" if (row, column) == ("middle", "center") else f"{row} {column}"
    return f"A {size} {label} in the {where}."


def _sample(source: str, topic: str, name: str, box: Box, pairs: Sequence[tuple[str, str]]) -> Sample:
    ident = sample_id(source, [name], 0)
    digit = box.label.removeprefix("digit ") if topic == "digit" else ""
    items = tuple(
        QA(
            id=qa_id(ident, question, answer, place=number),
            question=question,
            answer=answer,
            objects=(box.label,),
            skills=(_seed_skill(question, answer, topic),),
            format="norm",
        )
        for number, (question, answer) in enumerate(pairs)
    )
    return Sample(
        id=ident,
        images=(name,),
        sizes=((SIDE, SIDE),),
        caption=caption(box.label, box.xyxy),
        boxes=(box,),
        ocr=(Text(text=digit, xyxy=box.xyxy),) if digit else (),
        topic=topic,
        source=source,
        license="MIT" if source == "easy-VQA" else "CC BY 4.0",
        rounds=(items,),
    )


def _seed_skill(question: str, answer: str, topic: str) -> str:
    if answer in ("yes", "no"):
        return "existence"
    return "ocr" if topic == "digit" else "context understanding"


def _caption_pair(sample: Sample) -> dict[str, Any]:
    """A pretraining row in LLaVA's format."""
    turns = [{"from": "human", "value": "<image>\nDescribe the picture."}, {"from": "gpt", "value": sample.caption}]
    return {"id": sample.id, "image": sample.images[0], "conversations": turns}
