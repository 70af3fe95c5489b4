"""The table of recipes: name -> module. Each module reads top to bottom as the story of how a record evolves.

To add one: a module with `RECIPE`, its line here, its numbers in conf/recipe/, a test with the scripted teacher.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from mmevol_core.errors import unknown
from mmevol_dataengine.recipes.recipe import Recipe

MODULES = {
    "mmevol": "mmevol",
}


@cache
def _load(module: str) -> Recipe:
    recipe = import_module(f"{__name__}.{module}").RECIPE
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipes/{module}.py: RECIPE is not a Recipe")
    return recipe


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UserError: there is none.
    """
    if name not in MODULES:
        raise unknown("recipe", name, list(MODULES))
    return _load(MODULES[name])
