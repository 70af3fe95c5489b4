"""A few prompts with and without pictures, and what a model answers."""

from __future__ import annotations

import io

from PIL import Image

from mmevol_eval.benchmark import Message
from mmevol_eval.models import Prompt


def picture(color, size=(64, 64)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def prompts():
    red, wide = picture("red"), picture("blue", (128, 64))
    return [
        Prompt("a", Message((red, "What color is it?"))),
        Prompt("b", Message((wide, "Is it red or blue, and which of the two is it not?"))),
        Prompt("c", Message(("No picture: what is red?",))),
        Prompt("d", Message((red, wide, "Compare the two."))),
        Prompt("e", Message((red, "Color?"), system="Answer in one word.")),
    ]


def answers(model, asked):
    return {reply.key: reply.text for reply in model.answer(asked)}
