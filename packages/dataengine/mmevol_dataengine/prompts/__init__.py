"""Prompt templates, one folder per recipe, and how they become text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2

FOLDER = Path(__file__).parent


@cache
def _environment(recipe: str) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / recipe),
        undefined=jinja2.StrictUndefined,  # a missing value stops the run instead of leaving a gap in a paid prompt
        autoescape=False,
        auto_reload=False,  # looks at every file of a template for every prompt otherwise
        trim_blocks=True,
        keep_trailing_newline=True,  # an included part ends its own last line
    )


def render(recipe: str, name: str, **values: Any) -> str:
    """Text of the prompt `name` of a recipe; a missing value raises `jinja2.UndefinedError`."""
    return _environment(recipe).get_template(f"{name}.md.jinja").render(values).strip()
