"""A conversation with a checkpoint about one picture, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import TextStreamer

from mmevol_core.errors import UserError
from mmevol_core.images import PICTURE_ERRORS
from mmevol_train.checkpoint import load
from mmevol_train.conversation import IMAGE, special_tokens


class Conversation:
    """Remembers its turns; the picture belongs to the first question. Answers are the likeliest ones (greedy)."""

    def __init__(self, checkpoint: Path, image: Path | None, max_new_tokens: int = 512) -> None:
        """Load model and picture; a GPU is used when there is one.

        Raises:
            UserError: when the checkpoint or the picture cannot be read.
        """
        self._picture = None if image is None else _open(image)
        cuda = torch.cuda.is_available()
        self._model, self._processor = load(checkpoint, "bfloat16" if cuda else "float32")
        self._model.to("cuda" if cuda else "cpu")
        self._control = {IMAGE, *special_tokens(self._processor.tokenizer.backend_tokenizer)}
        self._limit = max_new_tokens
        self._messages: list[dict[str, Any]] = []

    def ask(self, question: str, say: Callable[[str], None] = lambda text: None) -> str:
        """The answer; `say` is given its parts as they come.

        Raises:
            UserError: when the question is empty or holds a control token, which would end or begin a turn.
        """
        if not question.strip():
            raise UserError("the question is empty")
        if found := sorted(token for token in self._control if token in question):
            raise UserError(f"{', '.join(found)} in a question would be read as a control token; leave it out")
        content: list[dict[str, str]] = [{"type": "text", "text": question}]
        if self._picture is not None and not self._messages:
            content.insert(0, {"type": "image"})
        self._messages.append({"role": "user", "content": content})
        text = self._processor.apply_chat_template(self._messages, add_generation_prompt=True)
        batch = self._processor(images=self._picture, text=text, return_tensors="pt", add_special_tokens=False)
        batch = batch.to(self._model.device, self._model.dtype)  # whole numbers keep their type
        streamer = _Parts(self._processor.tokenizer, say)
        tokens = self._model.generate(**batch, max_new_tokens=self._limit, do_sample=False, streamer=streamer)
        answer = str(
            self._processor.tokenizer.decode(tokens[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        )
        self._messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        return answer


class _Parts(TextStreamer):  # type: ignore[misc]  # transformers is untyped here
    """Hands on the text of an answer word by word."""

    def __init__(self, tokenizer: Any, say: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._say = say

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Called by transformers."""
        self._say(text)


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise UserError(f"file not found: {path}") from error
    except PICTURE_ERRORS as error:
        raise UserError(f"{path} is no picture that can be read: {error}") from error
