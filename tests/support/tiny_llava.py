"""A randomly initialised tiny LLaVA-NeXT checkpoint, and a held-out folder that needs no data set."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image, ImageDraw
from support import tiny_models

from mmevol_core.sample import QA, Box, Sample, Text, write_samples
from mmevol_train import backbone, checkpoint

RGB = {
    "blue": (0, 0, 255), "teal": (0, 128, 128), "green": (0, 255, 0), "red": (255, 0, 0),
    "brown": (165, 42, 42), "black": (0, 0, 0), "yellow": (255, 255, 0), "gray": (128, 128, 128),
}  # fmt: skip
SHAPES = ("circle", "rectangle", "triangle")


def save(root: Path, family: str = "qwen2") -> Path:
    """Checkpoint folder with random weights."""
    folder = root / "checkpoint"
    model, processor = backbone.build(tiny_models.backbone(root, family))
    checkpoint.save(model, processor, folder)
    return folder


def held_out(root: Path, shapes: int = 96, digits: int = 40) -> Path:
    """`annotations.jsonl` and `images/` of drawn shapes and digits, every colour, shape, digit and corner."""
    rng = random.Random(0)
    images = root / "images"
    images.mkdir(parents=True, exist_ok=True)
    samples = [_sample(images, number, number < shapes, rng) for number in range(shapes + digits)]
    write_samples(root / "annotations.jsonl", samples)
    return root


def _sample(images: Path, number: int, shape: bool, rng: random.Random) -> Sample:
    width, height = (12, 26) if number % 3 else (24, 24)
    left, top = ((4, 4), (36, 4), (4, 34), (36, 34), (12, 12))[number // 3 % 5]
    if left == 12:
        width, height = 40, 36
    box = (left, top, left + width, top + height)
    picture = Image.new("RGB", (64, 64), (240, 240, 240))
    draw = ImageDraw.Draw(picture)
    color, kind = list(RGB)[number % 8], SHAPES[number // 8 % 3]
    if shape:
        {"circle": draw.ellipse, "rectangle": draw.rectangle}.get(
            kind, lambda xy, fill: draw.polygon([(xy[0], xy[3]), (xy[2], xy[3]), (xy[0], xy[1])], fill=fill)
        )(box, fill=RGB[color])
        label, question, answer = f"{color} {kind}", "what color is the shape?", color
    else:
        draw.text((left, top), str(number % 10), fill=(0, 0, 0), font_size=24)
        label, question, answer = f"digit {number % 10}", "what digit is shown?", str(number % 10)
    draw.point((0, 0), fill=(number, rng.randrange(255), 0))  # no two pictures are the same file
    name = f"{number:04d}.png"
    picture.save(images / name)
    shares = tuple(edge / 64 for edge in box)
    return Sample(
        id=str(number), images=(name,), sizes=((64, 64),), boxes=(Box(label=label, xyxy=shares),),
        topic="shape" if shape else "digit",
        ocr=() if shape else (Text(text=answer),), rounds=((QA(id=f"q{number}", question=question, answer=answer),),),
    )  # fmt: skip
