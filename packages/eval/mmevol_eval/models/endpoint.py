"""An OpenAI-compatible endpoint as the model of an evaluation: vLLM, SGLang, OpenAI, any server of the kind.

Questions go through the shared chat client, so that retries, rate limits, a budget, the Batch API (`endpoint.batch`)
and the journal of what was paid for hold here too. A question without an answer is a named failure, never an empty
reply that is graded as if the model had said it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import uvloop
from pydantic import Field

from mmevol_core.chat import Asker, ChatFailure, Endpoint, connect, run, system, user
from mmevol_core.files import digest
from mmevol_core.images import ImageFailure, ImagePolicy, Picture, prepare
from mmevol_core.journal import Journal
from mmevol_core.secrets import secret
from mmevol_eval.benchmark import Image, image_bytes
from mmevol_eval.models import Prompt, Reply


class ModelEndpoint(Endpoint):
    """An endpoint that is measured: it decodes greedily and sees the pictures as they are, unless told otherwise.

    `max_tokens` is the longest answer of a prompt that sets none.
    """

    base_url: str = Field(pattern=r"^https?://[^\s/]+")  # not excluded: a stage asks another server anew
    temperature: float | None = Field(default=0.0, ge=0, le=2)  # None: not sent, for servers that refuse it
    image: ImagePolicy = ImagePolicy(max_side=None)


class EndpointModel:
    """A served model.

    Args:
        endpoint: where it is and how it decodes.
        journal: file that keeps every answer that was paid for.

    Raises:
        UserError: no key; while answering: the endpoint is dead, refuses the key, or the budget is spent.
    """

    def __init__(self, endpoint: ModelEndpoint, journal: Path) -> None:
        self._endpoint = endpoint
        name = endpoint.api_key_name
        self._key = secret(name, f"the model {endpoint.model}") if name else None
        self._journal = Journal(journal)
        self._loop = uvloop.new_event_loop()
        self.fingerprint = digest(["endpoint", endpoint.model])

    @property
    def decoding(self) -> Mapping[str, Any]:
        """What is sent beside the messages, and how pictures are prepared."""
        end = self._endpoint
        sent = {"endpoint": end.model, "temperature": end.temperature, "seed": end.seed, "extra": end.extra}
        return {**sent, "image": end.image.model_dump(mode="json"), "max_new_tokens": end.max_tokens}

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Reply]:
        """Ask all, `endpoint.concurrency` at once, one longest answer after the other."""
        longest = self._endpoint.max_tokens
        ordered = sorted(prompts, key=lambda one: one.max_new_tokens or longest)
        for tokens, group in groupby(ordered, key=lambda one: one.max_new_tokens or longest):
            stream = self._stream(list(group), tokens)
            try:
                while (reply := self._loop.run_until_complete(anext(stream, None))) is not None:
                    yield reply
            finally:
                self._loop.run_until_complete(stream.aclose())

    async def _stream(self, prompts: Sequence[Prompt], max_tokens: int) -> AsyncGenerator[Reply]:
        endpoint = self._endpoint.model_copy(update={"max_tokens": max_tokens})
        async with connect(endpoint, self._journal, self._key) as asker:

            async def one(prompt: Prompt) -> Reply:
                return await self._ask(asker, prompt)

            async for _, reply in run(prompts, one, asker.rows_in_flight):
                yield reply

    async def _ask(self, asker: Asker, prompt: Prompt) -> Reply:
        message = prompt.message
        try:
            parts = [part if isinstance(part, str) else await self._picture(part, prompt.key) for part in message.parts]
            turns = [system(message.system)] if message.system else []
            answered = await asker.ask([*turns, user(*parts)])
        except ChatFailure as failure:
            return Reply(prompt.key, "", f"chat: {failure.reason}")
        except ImageFailure as failure:
            return Reply(prompt.key, "", f"image: {failure.reason}")
        truncated = answered.finish_reason == "length" if answered.finish_reason else None
        return Reply(prompt.key, answered.text.strip(), truncated=truncated)

    async def _picture(self, image: Image, key: str) -> Picture:
        """Prepared off the event loop; a picture that must not change keeps its own bytes."""

        def load() -> Picture:
            try:
                raw = image_bytes(image)
            except OSError as error:
                raise ImageFailure("missing", str(image), str(error)) from error
            return prepare(raw, self._endpoint.image, key)

        return await asyncio.to_thread(load)

    def close(self) -> None:
        """Commit the journal."""
        self._journal.close()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
