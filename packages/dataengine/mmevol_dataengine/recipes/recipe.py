"""What every recipe is made of, so that the stage `evolve` can run any of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mmevol_core.config import Config
from mmevol_core.sample import Sample
from mmevol_dataengine.ledger import Outcome
from mmevol_dataengine.recipes.speaker import Speaker


@dataclass(frozen=True, slots=True)
class Load:
    """What one record is expected to ask of a model: requests, and tokens without those of pictures."""

    requests: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    pictures: float = 0.0

    def __add__(self, other: Load) -> Load:
        return Load(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.pictures + other.pictures,
        )


class RecipeConfig(Config):
    """Base of a recipe's configuration: which recipe it is for, and the version of its prompts.

    As part of the configuration, the version makes new prompts a new run. It is a constant, not to be set.
    """

    name: str
    prompts: str


@dataclass(frozen=True)
class Recipe:
    """A way to evolve a record.

    `evolve(config, sample, teacher, judge)` does one record, and its result depends on the answers alone;
    `load(config, sample, sees_image)` says what that asks of teacher and judge, at most.
    """

    config: type[RecipeConfig]
    evolve: Callable[[Any, Sample, Speaker, Speaker], Awaitable[Outcome]]
    load: Callable[[Any, Sample, bool], tuple[Load, Load]]
