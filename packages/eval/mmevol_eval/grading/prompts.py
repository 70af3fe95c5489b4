"""What the model is asked. The sentences that end a question are part of the published protocols.

Source: VLMEvalKit at e8e78f05, `build_prompt` of the image data sets.
"""

from __future__ import annotations

import re

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import Image, Item, Message

SELECT = "Please select the correct answer from the options above. \n"
_PLACE = re.compile(r"<image (\d)>")
SHORT = "\nAnswer the question using a single word or phrase."


def choice_text(item: Item, *, closing: str = SELECT) -> str:
    """Hint, question and options, one a line."""
    hint = str(item.extra.get("hint", ""))
    text = (f"Hint: {hint}\n" if hint else "") + f"Question: {item.question}\n"
    if not item.options:
        return text
    return text + "Options:\n" + "".join(f"{letter}. {option}\n" for letter, option in item.options.items()) + closing


def plain(item: Item, profile: str) -> Message:
    """Images, then the question as it is."""
    return Message((*item.images, item.question))


def choice(item: Item, profile: str) -> Message:
    """Images, then question and options."""
    return Message((*item.images, choice_text(item)))


def short(item: Item, profile: str) -> Message:
    """Images, then the question and the request for a single word or phrase."""
    return ended(item, SHORT)


def ended(item: Item, ending: str) -> Message:
    """Images, then the question with an ending."""
    return Message((*item.images, item.question + ending))


def interleaved(item: Item) -> Message:
    """MMMU: images where the text names them, `<image 1>`; images first when it names none.

    Raises:
        UserError: the text names an image that the item does not have.
    """
    pieces = _PLACE.split(choice_text(item))
    if len(pieces) == 1:
        return choice(item, "")
    parts: list[Image | str] = []
    for place, piece in enumerate(pieces):
        if place % 2 == 0:
            parts.append(piece)
        elif 1 <= int(piece) <= len(item.images):
            parts.append(item.images[int(piece) - 1])
        else:
            raise UserError(f"item {item.index} names <image {piece}> and has {len(item.images)} images")
    return Message(tuple(part for part in parts if part != ""))
