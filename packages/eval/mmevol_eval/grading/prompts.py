"""What the model is asked. The sentences that end a question are part of the published protocols.

Source: VLMEvalKit at e8e78f05, `build_prompt` of the image data sets.
"""

from __future__ import annotations

from mmevol_eval.benchmark import Item, Message

SELECT = "Please select the correct answer from the options above. \n"
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
    return Message((*item.images, item.question + SHORT))
