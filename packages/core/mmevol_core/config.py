"""Configuration is typed at the door: a mapping either fits its schema or stops the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_jsonable_python

from mmevol_core.errors import UserError, unknown


class Config(BaseModel):
    """Base of every stage's configuration: frozen; an unknown key and a number that is none are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=Config)


def fit(schema: type[ConfigT], values: Mapping[str, Any], where: str) -> ConfigT:
    """Turn a plain mapping into a typed configuration; `where` is the path that leads to it, "" for the top.

    Raises:
        UserError: for the first key that is unknown, missing or of the wrong type, naming its full path.
    """
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(filter(None, [where, *(str(part) for part in first["loc"])]))
        if first["type"] == "extra_forbidden":
            raise unknown("config key", path, _siblings(schema, first["loc"], where)) from error
        if first["type"] == "missing":
            raise UserError(f"config key {path} is missing; set it with {path}=VALUE") from error
        raise UserError(f"config key {path}: {first['msg']}, got {first['input']!r}") from error


def every_key(config: Config) -> dict[str, Any]:
    """A configuration as JSON values, with the keys that are no part of the fingerprint."""
    values = config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Config):
            values[name] = every_key(value)
        elif field.exclude:
            values[name] = to_jsonable_python(value)
    return values


def _siblings(schema: type[BaseModel], location: tuple[int | str, ...], where: str) -> list[str]:
    """Full paths of the keys that would have been valid beside a wrong one."""
    parents: list[str] = []
    for part in location[:-1]:
        field = schema.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return [where]
        schema, parents = inner, [*parents, str(part)]
    return [".".join(filter(None, [where, *parents, name])) for name in schema.model_fields]
