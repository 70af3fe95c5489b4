"""What a recipe needs of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mmevol_core.sample import Sample
from mmevol_dataengine.prompts.mmevol_text import system_prompt

Parse = Callable[[str], list[dict[str, Any]] | None]


class Speaker(Protocol):
    """A model that answers a prompt: the teacher, or the judge."""

    name: str
    sees_image: bool

    async def ask(
        self, system: str, prompt: str, sample: Sample | None, salt: int, schema: Mapping[str, Any] | None = None
    ) -> str:
        """The answer's text; the sample's images go with the prompt, unless it is None or the model sees none.

        `schema` (JSON schema) constrains the answer where the server can.

        Raises:
            ChatFailure, ImageFailure: this row failed.
            UserError: the run has to stop.
        """


async def ask_until_parsed(
    speaker: Speaker, prompt: str, sample: Sample, parse: Parse, schema: Mapping[str, Any], attempts: int
) -> list[dict[str, Any]] | None:
    """Ask until the answer can be parsed; every attempt is a request of its own in the journal."""
    for salt in range(attempts):
        parsed = parse(await speaker.ask(system_prompt(), prompt, sample, salt, schema))
        if parsed is not None:
            return parsed
    return None
