"""What a recipe needs of a model."""

from __future__ import annotations

from typing import Protocol

from mmevol_core.sample import Sample


class Speaker(Protocol):
    """A model that answers a prompt: the teacher, or the judge."""

    name: str
    sees_image: bool

    async def ask(self, system: str, prompt: str, sample: Sample | None, salt: int) -> str:
        """The answer's text; the sample's images go with the prompt, unless it is None or the model sees none.

        Raises:
            ChatFailure, ImageFailure: this row failed.
            UserError: the run has to stop.
        """
