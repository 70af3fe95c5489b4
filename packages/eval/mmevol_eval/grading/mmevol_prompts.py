"""Prompts by profile: the kit's, and MMEvol's own.

Source of the second: MMEvol at 4ba46699, `vlmevalkit/vlmeval/vlm` (the Qwen2 class). Its sentences are the protocol.
Several images become one, side by side. `mmevol_compat` copies its defect as well: an MMMU item with several images
loses the first one.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image as Picture

from mmevol_eval.benchmark import VLMEVALKIT, Image, Item, Message
from mmevol_eval.grading import prompts

COMPAT = "mmevol_compat"
GAP_PIXELS = 10
_SHORT = "Answer the question using a single word or phrase."
_CHECK = f"\n{_SHORT} Check carefully to make sure your answer is correct."
_YES_NO = "Please answer yes or no."
_BASE = "You are a helpful assistant."
_OPTIONS = (
    "Carefully read the following question and select the letter corresponding to the correct answer. Highlight the "
    "applicable choices without giving explanations.\nPlease just indicate your choice."
)
_NO_OPTIONS = "Carefully read the following question Answer the question directly."
_DETAIL = "Answer this question in detail."
_ORDINALS = ("first", "second", "third", "fourth", "fifth")


def yes_no(item: Item, profile: str) -> Message:
    """A yes/no question as it stands (MME, POPE)."""
    return prompts.plain(item, profile) if profile == VLMEVALKIT else _message(item.images, item.question)


def yes_no_asked(item: Item, profile: str) -> Message:
    """A yes/no question that MMEvol ends in ` Yes or No?` (HallusionBench)."""
    return (
        prompts.plain(item, profile) if profile == VLMEVALKIT else _message(item.images, f"{item.question} Yes or No?")
    )


def short(item: Item, profile: str) -> Message:
    """A question that a word answers."""
    return prompts.short(item, profile) if profile == VLMEVALKIT else _message(item.images, item.question, _SHORT)


def plain(item: Item, profile: str) -> Message:
    """A question the kit puts as it stands, and MMEvol under its system text for short answers."""
    return prompts.plain(item, profile) if profile == VLMEVALKIT else _message(item.images, item.question, _SHORT)


def scripted(item: Item, profile: str, ending: str = prompts.SHORT) -> Message:
    """A question that MMEvol asks by LLaVA's scripts (GQA, VQAv2, MIA-Bench): the question file's text, no check."""
    return (
        prompts.ended(item, ending)
        if profile == VLMEVALKIT
        else Message((*_one(item.images), item.question + ending), _BASE)
    )


def detailed(item: Item, profile: str) -> Message:
    """A question that MMEvol wants answered in detail (MMVet)."""
    return prompts.plain(item, profile) if profile == VLMEVALKIT else _message(item.images, item.question, _DETAIL)


def choice(item: Item, profile: str) -> Message:
    """A multiple-choice question."""
    if profile == VLMEVALKIT:
        return prompts.choice(item, profile)
    return _message(item.images, prompts.choice_text(item, closing=""), _OPTIONS if item.options else _NO_OPTIONS)


def mmmu(item: Item, profile: str) -> Message:
    """A multiple-choice question with images inside its text."""
    if profile == VLMEVALKIT:
        return prompts.interleaved(item)
    task = _BASE + (_OPTIONS if item.options else _NO_OPTIONS)
    text = task + prompts.choice_text(item, closing="")
    for number, ordinal in enumerate(_ORDINALS, start=1):
        text = text.replace(f"<image {number}>", f"the {ordinal} image")
    images = item.images[1:] if profile == COMPAT and len(item.images) > 1 else item.images
    return Message((*_one(images), _closed(text)), "" if len(item.images) > 1 else _BASE)


def _message(images: Sequence[Image], text: str, task: str = "") -> Message:
    return Message((*_one(images), _closed(text)), _BASE + task)


def _closed(text: str) -> str:
    return text.replace(_YES_NO, _CHECK) if _YES_NO in text else text + _CHECK


def _one(images: Sequence[Image]) -> tuple[Image, ...]:
    """At most one image: several are pasted side by side on black, centred vertically."""
    if len(images) < 2:
        return tuple(images)
    pictures = [
        Picture.open(io.BytesIO(image) if isinstance(image, bytes) else image).convert("RGB") for image in images
    ]
    width = sum(picture.width for picture in pictures) + GAP_PIXELS * (len(pictures) - 1)
    height = max(picture.height for picture in pictures)
    sheet, left = Picture.new("RGB", (width, height)), 0
    for picture in pictures:
        sheet.paste(picture, (left, (height - picture.height) // 2))
        left += picture.width + GAP_PIXELS
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return (buffer.getvalue(),)
