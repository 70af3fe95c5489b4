"""Anything that answers messages: the journal first, then one way or another the model."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from mmevol_core.endpoint import Endpoint
from mmevol_core.errors import UserError
from mmevol_core.failures import NO_STRUCTURE
from mmevol_core.journal import Journal
from mmevol_core.messages import ChatFailure, Message, Reply, Request, build, read_completion
from mmevol_core.notes import NO_SCHEMA


@dataclass
class ChatStats:
    """What happened since the client was made; the journal counts the rest, over all runs."""

    cached: int = 0  # answers that the journal had: of an earlier run, or of an equal question of this one
    errors: Counter[str] = field(default_factory=Counter)  # attempts that failed, by class

    def brief(self) -> dict[str, int | str]:
        """What is worth seeing while the work goes on: what is not paid again, and why it may be slow."""
        errors = ", ".join(f"{name} {count}" for name, count in self.errors.most_common())
        shown: dict[str, int | str] = {"cached": self.cached, "errors": errors}
        return {key: value for key, value in shown.items() if value}


class Asker(ABC):
    """Answers from the journal, and what is not there from the model. An async context manager."""

    def __init__(self, endpoint: Endpoint, journal: Journal, api_key: str | None = None) -> None:
        self.endpoint, self.stats = endpoint, ChatStats()
        self._journal, self._key = journal, api_key
        self._flying: dict[bytes, asyncio.Future[None]] = {}

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    @abstractmethod
    def rows_in_flight(self) -> int:
        """How many rows to work on at once."""

    @abstractmethod
    async def _until_answered(self, request: Request) -> None:
        """Return when the journal has the answer. Raises ChatFailure or UserError otherwise."""

    async def ask(
        self, messages: Sequence[Message], *, schema: Mapping[str, Any] | None = None, salt: int = 0
    ) -> Reply:
        """The model's answer, from the journal when it has been given before.

        `schema` (JSON schema) constrains the answer where `endpoint.structured` says the server can; a server that
        refuses it is asked without, then and ever after, and the journal notes how often. Another `salt` asks the same
        thing afresh. Equal questions asked at the same time share one request.

        Raises:
            ChatFailure: this row has no answer.
            UserError: no row can have one now (key, address, dead server, budget, disk). What was answered is kept.
        """
        wanted = schema is not None and self.endpoint.structured
        if wanted and (not self._journal.noted(NO_SCHEMA, self.endpoint.model) or self._has(messages, schema, salt)):
            try:
                return await self._ask(messages, schema, salt)
            except ChatFailure as failure:
                if failure.reason != NO_STRUCTURE:
                    raise
        return await self._ask(messages, None, salt, plain=wanted)

    def _has(self, messages: Sequence[Message], schema: Mapping[str, Any] | None, salt: int) -> bool:
        """Whether it was answered under the schema, before that was refused: it is not paid again."""
        with suppress(ChatFailure):  # not_unicode, which the question without a schema meets, too
            return self._journal.get(build(messages, self.endpoint, schema, salt).key) is not None
        return False

    async def _ask(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None, salt: int, *, plain: bool = False
    ) -> Reply:
        """`plain`: for want of a schema; noted when the model is asked, not when the journal answers, as resumed."""
        try:
            request = build(messages, self.endpoint, schema, salt)
            cached = True
            while (found := self._journal.get(request.key)) is None:
                flying = self._flying.get(request.key)
                if flying is None:
                    await self._fetch(request, plain)
                    cached = False
                else:
                    await asyncio.wait([flying])
                    if not flying.cancelled():
                        flying.result()
            self.stats.cached += cached
            completion = read_completion(found[0])
            if completion is None:
                raise UserError(f"journal {self._journal.path} holds a damaged answer; move it away to start afresh")
            return completion.reply(found[1], cached)
        except ChatFailure as failure:
            if failure.reason != NO_STRUCTURE or schema is not None:
                raise
            raise ChatFailure("refused", failure.detail) from failure  # it had no schema, whatever the server means

    async def _fetch(self, request: Request, plain: bool) -> None:
        """Attempt until the journal has the answer; whoever asks for the same key meanwhile waits for this future."""
        if plain:
            self._journal.note(NO_SCHEMA, self.endpoint.model)  # before the answer, whose commit keeps it
        flying = self._flying[request.key] = asyncio.get_running_loop().create_future()
        try:
            await self._until_answered(request)
        except (ChatFailure, UserError) as error:
            if plain:
                self._journal.note(
                    NO_SCHEMA, self.endpoint.model, -1
                )  # refused without a schema, too: it was not the schema
            flying.set_exception(error)
            flying.exception()  # there may be nobody else to see it
            raise
        finally:
            del self._flying[request.key]
            if not flying.done():
                flying.cancel()
