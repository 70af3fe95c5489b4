"""Prompts as token ids, through the chat template saved with the checkpoint's processor: there is no other source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.images import PICTURE_ERRORS
from mmevol_eval.models import Prompt, Reply
from mmevol_eval.models.pictures import Picture, Pictures

ALIKE = math.log(1.1)  # lengths within a tenth count as equal


@dataclass(frozen=True, slots=True)
class Ready:
    """A prompt as numbers."""

    key: str
    tokens: list[int]
    pictures: tuple[Picture, ...]
    longest: int  # tokens of the answer

    @property
    def order(self) -> tuple[int, int, list[str], int]:
        """Sorted by it, a batch pads little, and among prompts about as long those of one picture stand together."""
        return (
            self.longest,
            int(math.log(len(self.tokens) or 1) / ALIKE),
            [picture.key for picture in self.pictures],
            len(self.tokens),
        )


class Renderer:
    """Renders for one checkpoint.

    Args:
        processor: with tokenizer and chat template.
        pictures: they say how many tokens each takes.
        longest: answer, in tokens, of a prompt that sets none.
    """

    def __init__(self, processor: Any, pictures: Pictures, longest: int) -> None:
        self._processor, self._pictures, self._longest = processor, pictures, longest

    def render(self, prompts: Sequence[Prompt]) -> tuple[list[Ready], list[Reply]]:
        """Prompts as tokens, and a failure for each whose picture cannot be read."""
        good: list[tuple[Prompt, tuple[Picture, ...]]] = []
        failed: list[Reply] = []
        for prompt in prompts:
            try:
                good.append((prompt, tuple(self._pictures.look(image) for image in prompt.message.images)))
            except PICTURE_ERRORS as error:
                failed.append(unreadable(prompt.key, type(error).__name__))
        if not good:
            return [], failed
        # One call for all: the processor looks its arguments over as long as it renders a prompt.
        texts = self._processor.apply_chat_template([_turns(prompt) for prompt, _ in good], add_generation_prompt=True)
        opened = [self._open(text, *pair) for text, pair in zip(texts, good, strict=True)]
        tokens = self._processor.tokenizer(opened, add_special_tokens=False)["input_ids"]
        ready = [
            Ready(prompt.key, ids, pictures, prompt.max_new_tokens or self._longest)
            for (prompt, pictures), ids in zip(good, tokens, strict=True)
        ]
        return ready, failed

    def _open(self, text: str, prompt: Prompt, pictures: Sequence[Picture]) -> str:
        """Open each image placeholder to the tokens that the image takes."""
        marker = self._processor.image_token
        pieces = text.split(marker)
        if len(pieces) != len(pictures) + 1:
            raise UserError(
                f"item {prompt.key}: its prompt holds {len(pieces) - 1} image marks for {len(pictures)} images; "
                f"the chat template or a question contains {marker!r}"
            )
        opened = [piece + marker * picture.tokens for piece, picture in zip(pieces, pictures, strict=False)]
        return "".join([*opened, pieces[-1]])


def _turns(prompt: Prompt) -> list[dict[str, Any]]:
    """The prompt as the chat template wants it."""
    parts = prompt.message.parts
    content = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]
    turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if prompt.message.system:
        turns.insert(0, {"role": "system", "content": prompt.message.system})
    return turns


def unreadable(key: str, error: str) -> Reply:
    """The failure of a prompt whose picture gave this error."""
    return Reply(key, "", f"image: {error}")
