"""Endpoints that a person names by a file: a judge's, a model's."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml

from mmevol_core.config import fit
from mmevol_core.endpoint import Endpoint
from mmevol_core.errors import UserError

EndpointT = TypeVar("EndpointT", bound=Endpoint)


def endpoint_from(path: Path, schema: type[EndpointT], what: str, forms: str) -> EndpointT:
    """The endpoint in a YAML file.

    Args:
        path: the file.
        schema: what its keys are.
        what: whose endpoint it is, for messages: `judge`, `model`.
        forms: in words, everything that a person could have written in place of the path.

    Raises:
        UserError: no such file, no YAML, or other keys than those of an endpoint.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"no {what} {str(path)!r}; valid: {forms}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; a {what} is {forms}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text, so no {what}'s YAML") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no keys of an endpoint (base_url, model, ...)")
    return fit(schema, {str(key): value for key, value in values.items()}, f"{what} ({path.name})")
