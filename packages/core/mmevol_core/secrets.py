"""Keys, read from the environment once by the command line and asked for by name below it."""

from __future__ import annotations

from collections.abc import Mapping

from mmevol_core.errors import UserError

_known: dict[str, str] = {}


def register(environment: Mapping[str, str]) -> None:
    """Hand over the environment; called by the command line only."""
    _known.clear()
    _known.update(environment)


def secret(name: str, purpose: str) -> str:
    """The key stored under `name`; UserError that says what it is for when it is not set."""
    value = _known.get(name, "")
    if not value:
        raise UserError(f"no key for {purpose}: set the environment variable {name}")
    return value


def has_secret(name: str) -> bool:
    """Whether a key is set, for the plan."""
    return bool(_known.get(name))
