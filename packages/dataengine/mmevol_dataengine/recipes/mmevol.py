"""MMEvol: rewrite the questions of an image along one of three directions, and keep what got better.

Each round: draw a direction, rewrite all items in one call, check them by machine, judge them against the items they
came from, go on from what survived. Paper: arXiv 2409.05840, sections 2.2-2.4. Prompts: prompts/mmevol/.
Where it differs from the released code: the direction is a function of (seed, record, round); the judge compares with
the true parent, by id; what the prompts ask for is checked; refused items are kept with their reasons.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from mmevol_core.chat import ChatFailure
from mmevol_core.files import digest
from mmevol_core.images import ImageFailure
from mmevol_core.messages import CHARACTERS_PER_TOKEN
from mmevol_core.sample import DIRECTIONS, QA, Sample
from mmevol_dataengine.ledger import Outcome, Rejected, Turn
from mmevol_dataengine.parse import parse_items
from mmevol_dataengine.prompts.mmevol_text import PROMPT_VERSION, evolve_prompt, score_prompt, system_prompt
from mmevol_dataengine.recipes import blind
from mmevol_dataengine.recipes.judging import judged
from mmevol_dataengine.recipes.personas import choose
from mmevol_dataengine.recipes.recipe import Load, Recipe, RecipeConfig
from mmevol_dataengine.recipes.rewrites import verified
from mmevol_dataengine.recipes.schemas import ITEMS
from mmevol_dataengine.recipes.speaker import Speaker, ask_until_parsed
from mmevol_dataengine.verify import Rules

# Tokens of one item in an answer; the quickstart's scripted teacher needs about 150 and 40, real ones explain more.
REWRITE_TOKENS, SCORE_TOKENS, BLIND_TOKENS = 220, 50, 10


class MMEvol(RecipeConfig):
    """Settings of the recipe; field names are the YAML keys."""

    name: Literal["mmevol"] = "mmevol"
    prompts: str = Field(
        default=PROMPT_VERSION, pattern=f"^{PROMPT_VERSION}$"
    )  # not to be set: other prompts, other run
    rounds: int = Field(default=3, ge=1)
    weights: dict[str, float] = dict.fromkeys(DIRECTIONS, 1.0)  # relative; paper table 2: equal thirds are best
    min_score: float = Field(default=0.0, ge=0, le=10)  # less is eliminated; 0: "improved" decides, as in the paper
    attempts: int = Field(default=2, ge=1)  # how often an answer that cannot be parsed is asked for
    seed: int = 0
    personas: Path | None = None  # text file, a persona a line: each rewriting call gets one (released, unused prompts)
    basic: tuple[str, ...] = ()  # directions that use the plain prompt, for the ablation of the paper's table 3
    blind_test: bool = False  # ask the judge without the image; what it answers right is eliminated
    rules: Rules = Rules()

    @field_validator("basic")
    @classmethod
    def _basic_directions(cls, basic: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := sorted(set(basic) - set(DIRECTIONS)):
            raise ValueError(f"{wrong[0]!r} is no direction; valid: {', '.join(DIRECTIONS)}")
        return basic

    @field_validator("weights")
    @classmethod
    def _known_directions(cls, weights: dict[str, float]) -> dict[str, float]:
        wrong = sorted(set(weights) - set(DIRECTIONS))
        if wrong or min(weights.values(), default=0) < 0 or not sum(weights.values()):
            raise ValueError(f"weights want numbers >= 0, not all 0, for {', '.join(DIRECTIONS)}")
        return weights


async def evolve(recipe: MMEvol, sample: Sample, teacher: Speaker, judge: Speaker) -> Outcome:
    """Run every round on one sample. The result depends on the answers only, not on order or concurrency."""
    turns: list[Turn] = []
    for number in range(1, recipe.rounds + 1):
        direction = draw(recipe, sample, number, teacher.sees_image)
        turn = await _round(recipe, sample, number, direction, teacher, judge)
        turns.append(turn)
        sample = sample.evolved(turn.kept)
    return Outcome(sample=sample, turns=tuple(turns))


def draw(recipe: MMEvol, sample: Sample, number: int, sees_image: bool) -> str | None:
    """The direction of a round: a function of (seed, record, round), among those that the record supports."""
    weights = {name: recipe.weights.get(name, 0.0) for name in DIRECTIONS if supports(sample, name, sees_image)}
    total = sum(weights.values())
    point = int(digest([recipe.seed, sample.id, number]), 16) / 16**16 * total
    for name, weight in weights.items():
        if point < weight:
            return name
        point -= weight
    return None


def supports(sample: Sample, direction: str, sees_image: bool) -> bool:
    """Whether the record has what a direction needs: details to look at, a scene to reason about, or items at all."""
    if not sample.images or not sample.latest:
        return False
    details = bool(sample.boxes or sample.ocr or sees_image)
    return {
        "fine_grained_perception": details,
        "cognitive_reasoning": details or bool(sample.caption),
        "interaction": True,
    }[direction]


async def _round(
    recipe: MMEvol, sample: Sample, number: int, direction: str | None, teacher: Speaker, judge: Speaker
) -> Turn:
    parents = {f"q{place}": item for place, item in enumerate(sample.latest, start=1)}
    if direction is None:
        return _failed(number, None, parents, "unsupported", "no direction suits the record")
    persona = _persona(recipe, sample, number)
    basic = direction in recipe.basic
    prompt = evolve_prompt(sample, direction, parents, teacher.sees_image, persona=persona, basic=basic)
    try:
        raw = await ask_until_parsed(teacher, prompt, sample, parse_items, ITEMS, recipe.attempts)
    except (ChatFailure, ImageFailure) as failed:
        return _failed(number, direction, parents, failed.reason, str(failed))
    if raw is None:
        return _failed(number, direction, parents, "unparsable", "no answer held a list of items")
    candidates, rejected = verified(recipe.rules, sample, direction, parents, raw, teacher)
    kept, refused = await judged(
        sample, candidates, parents, judge, attempts=recipe.attempts, min_score=recipe.min_score
    )
    rejected += refused
    turn = Turn(round=number, direction=direction, given=len(parents), kept=tuple(kept), rejected=tuple(rejected))
    if not recipe.blind_test:
        return turn
    tested = await blind.test(kept, judge)
    return replace(
        turn,
        kept=tuple(tested.kept),
        rejected=(*rejected, *tested.rejected),
        blind_asked=tested.asked,
        blind_unasked=tested.unasked,
    )


def _persona(recipe: MMEvol, sample: Sample, number: int) -> str:
    return choose(recipe.personas, recipe.seed, sample.id, number) if recipe.personas else ""


def _failed(number: int, direction: str | None, parents: dict[str, QA], reason: str, detail: str) -> Turn:
    """A round without a usable answer: every item that went into it failed by the same reason."""
    lost = tuple(Rejected(item=item, status="failed", reason=reason, written=False) for item in parents.values())
    return Turn(round=number, direction=direction, given=len(parents), rejected=lost, failure=reason, detail=detail)


def load(recipe: MMEvol, sample: Sample, sees_image: bool) -> tuple[Load, Load]:
    """What the record asks of teacher and judge when every item survives every round and no answer is asked for again.

    The prompts are those of the first round; `sees_image` counts the record's pictures for both.
    """
    direction = draw(recipe, sample, 1, sees_image)
    if direction is None:
        return Load(), Load()
    items = {f"q{place}": item for place, item in enumerate(sample.latest, start=1)}
    persona, basic = _persona(recipe, sample, 1), direction in recipe.basic
    rewriting = evolve_prompt(sample, direction, items, sees_image, persona=persona, basic=basic)
    scoring = score_prompt(sample, {name: (item, item) for name, item in items.items()}, sees_image)
    pictures = recipe.rounds * len(sample.images) * sees_image
    blind_calls = recipe.rounds * len(items) * recipe.blind_test

    def calls(prompt: str, tokens: int) -> Load:
        asked = (len(system_prompt()) + len(prompt)) / CHARACTERS_PER_TOKEN
        return Load(recipe.rounds, recipe.rounds * asked, recipe.rounds * tokens * len(items), pictures)

    guessing = Load(blind_calls, blind_calls * len(system_prompt()) / 2, blind_calls * BLIND_TOKENS)
    return calls(rewriting, REWRITE_TOKENS), calls(scoring, SCORE_TOKENS) + guessing


RECIPE = Recipe(config=MMEvol, evolve=evolve, load=load)
