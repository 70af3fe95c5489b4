"""Whoever answers the questions: a checkpoint folder run here (`local`), or an endpoint (`endpoint`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mmevol_eval.benchmark import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question under a key that its answer comes back with."""

    key: str
    message: Message
    max_new_tokens: int | None = None  # longest answer; None: the model's own setting


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or the reason why there is none. `truncated`: it ended at the longest answer; None: nobody knows."""

    key: str
    text: str
    failure: str | None = None
    truncated: bool | None = None


class Model(Protocol):
    """Answers prompts in any order; what it yields is final and may be logged."""

    @property
    def decoding(self) -> Mapping[str, Any]:
        """What is told apart by protocols: how it decodes, `max_new_tokens` among it, and an endpoint's model."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of engine and checkpoint; or of the name of an endpoint's model, whose weights nobody can see."""
        ...

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Reply]:
        """One reply for every prompt."""
        ...

    def close(self) -> None:
        """Let go of files and connections; nothing is asked any more."""
        ...


def decoding_of(model: Model, max_new_tokens: int | None) -> dict[str, Any]:
    """The model's decoding, with a prompt's own longest answer."""
    own = dict(model.decoding)
    return own if max_new_tokens is None else own | {"max_new_tokens": max_new_tokens}
