"""MMEvol: rewrite the questions of an image along one of three directions, and keep what got better.

Each round: draw a direction, rewrite all items in one call, check them by machine, judge them against the items they
came from, go on from what survived. Paper: arXiv 2409.05840, sections 2.2-2.4. Prompts: prompts/mmevol/.
Where it differs from the released code: the direction is a function of (seed, record, round); the judge compares with
the true parent, by id; what the prompts ask for is checked; refused items are kept with their reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from mmevol_core.chat import ChatFailure
from mmevol_core.config import Config
from mmevol_core.files import digest
from mmevol_core.images import ImageFailure
from mmevol_core.sample import DIRECTIONS, QA, Sample, Step, qa_id
from mmevol_dataengine.ledger import Outcome, Rejected, Turn
from mmevol_dataengine.parse import parse_items, parse_scores
from mmevol_dataengine.prompts.mmevol_text import PROMPT_VERSION, evolve_prompt, score_prompt, system_prompt
from mmevol_dataengine.recipes import blind
from mmevol_dataengine.recipes.personas import choose
from mmevol_dataengine.recipes.speaker import Speaker
from mmevol_dataengine.verify import Case, Rules, findings, normal_text
from mmevol_dataengine.vocabulary import normal_format, normal_skill


class MMEvol(Config):
    """Settings of the recipe; field names are the YAML keys."""

    name: Literal["mmevol"] = "mmevol"
    rounds: int = 3
    weights: dict[str, float] = dict.fromkeys(DIRECTIONS, 1.0)  # relative; paper table 2: equal thirds are best
    min_score: float = 0.0  # 0-10; a rewrite scored lower is eliminated (0: only "improved" decides, as in the paper)
    attempts: int = 2  # how often an answer that cannot be parsed is asked for
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
    persona = choose(recipe.personas, recipe.seed, sample.id, number) if recipe.personas else ""
    basic = direction in recipe.basic
    prompt = evolve_prompt(sample, direction, parents, teacher.sees_image, persona=persona, basic=basic)
    try:
        raw = await _parsed(teacher, prompt, sample, parse_items, recipe.attempts)
    except (ChatFailure, ImageFailure) as failed:
        return _failed(number, direction, parents, failed.reason, str(failed))
    if raw is None:
        return _failed(number, direction, parents, "unparsable", "no answer held a list of items")
    candidates, rejected = _verify(recipe, sample, direction, parents, raw, teacher)
    kept, judged = await _judge(recipe, sample, candidates, parents, judge)
    if recipe.blind_test:
        kept, guessed = await blind.test(kept, judge)
        judged = [*judged, *guessed]
    return Turn(round=number, direction=direction, given=len(parents), kept=tuple(kept), rejected=(*rejected, *judged))


def _failed(number: int, direction: str | None, parents: dict[str, QA], reason: str, detail: str) -> Turn:
    """A round without a usable answer: every item that went into it failed by the same reason."""
    lost = tuple(Rejected(item=item, status="failed", reason=reason, written=False) for item in parents.values())
    return Turn(round=number, direction=direction, given=len(parents), rejected=lost, failure=reason, detail=detail)


async def _parsed(
    speaker: Speaker, prompt: str, sample: Sample, parse: Any, attempts: int
) -> list[dict[str, Any]] | None:
    """Ask until the answer can be parsed; every attempt is a request of its own in the journal."""
    for salt in range(attempts):
        parsed: list[dict[str, Any]] | None = parse(await speaker.ask(system_prompt(), prompt, sample, salt))
        if parsed is not None:
            return parsed
    return None


def _verify(
    recipe: MMEvol,
    sample: Sample,
    direction: str,
    parents: dict[str, QA],
    raw: Sequence[dict[str, Any]],
    teacher: Speaker,
) -> tuple[list[QA], list[Rejected]]:
    """Turn parsed objects into items, and reject those that break a rule; exactly one rewrite a parent."""
    candidates: list[QA] = []
    rejected: list[Rejected] = []
    answered: set[str] = set()
    given = recipe.rules.annotations_complete
    complete = not teacher.sees_image if given is None else given
    earlier = {normal_text(item.question) for generation in sample.rounds for item in generation}
    for place, value in enumerate(raw):
        name = str(value.get("parent") or "")
        if not name and len(parents) == len(raw) == 1:
            name = next(iter(parents))  # one item in, one item out: no doubt what it rewrites
        parent = parents.get(name)
        item = _item(sample, direction, parent, value, teacher.name, place)
        if parent is None:
            rejected.append(Rejected(item=item, status="surplus", reason="parent_unknown", detail=f"parent {name!r}"))
            continue
        if name in answered:
            rejected.append(Rejected(item=item, status="surplus", reason="item_count", detail="a second rewrite"))
            continue
        answered.add(name)
        case = Case(item, parent, sample, direction, frozenset(earlier), recipe.rules, complete)
        broken = findings(case)
        if broken:
            detail = "; ".join(f"{finding.check}: {finding.detail}" for finding in broken)
            rejected.append(Rejected(item=item, status="eliminated", reason=broken[0].check, detail=detail))
            continue
        earlier.add(normal_text(item.question))
        candidates.append(item)
    absent = [item for name, item in parents.items() if name not in answered]
    rejected += (Rejected(item=item, status="failed", reason="missing_item", written=False) for item in absent)
    return candidates, rejected


def _item(sample: Sample, direction: str, parent: QA | None, value: dict[str, Any], teacher: str, place: int) -> QA:
    question, answer = str(value["question"]).strip(), str(value["answer"]).strip()
    origin = parent.id if parent else None
    return QA(
        id=qa_id(sample.id, question, answer, parent=origin, place=place),
        question=question,
        answer=answer,
        objects=tuple(str(name).strip() for name in value["objects"]),
        skills=tuple(dict.fromkeys(normal_skill(str(name)) for name in value["skills"])),
        format=normal_format(str(value["format"])),
        steps=tuple(
            Step(manipulation=str(step.get("manipulation") or ""), description=str(step.get("description") or ""))
            for step in value["steps"]
            if isinstance(step, dict)
        ),
        image_position=parent.image_position if parent else "single",
        direction=direction,
        parent=origin,
        teacher=teacher,
        prompt_version=PROMPT_VERSION,
    )


async def _judge(
    recipe: MMEvol, sample: Sample, candidates: Sequence[QA], parents: dict[str, QA], judge: Speaker
) -> tuple[list[QA], list[Rejected]]:
    """Score the rewrites against their parents; keep the improved ones; a score counts by its id only."""
    if not candidates:
        return [], []
    by_id = {parent.id: parent for parent in parents.values()}
    pairs = {f"p{place}": (by_id[str(item.parent)], item) for place, item in enumerate(candidates, start=1)}
    prompt = score_prompt(sample, pairs, judge.sees_image)
    reason, scores = "score_unparsable", None
    try:
        scores = await _parsed(judge, prompt, sample, parse_scores, recipe.attempts)
    except (ChatFailure, ImageFailure) as failed:
        reason = f"score_{failed.reason}"
    if scores is None:
        return [], [Rejected(item=item, status="failed", reason=reason) for item in candidates]
    found = _by_id(scores, list(pairs))
    kept: list[QA] = []
    rejected: list[Rejected] = []
    for name, (_, item) in pairs.items():
        verdict = _verdict(recipe, item, found.get(name))
        if isinstance(verdict, Rejected):
            rejected.append(verdict)
        else:
            kept.append(verdict)
    return kept, rejected


def _by_id(scores: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Scores by pair id; an id given twice is dropped, and one pair with one score needs no id."""
    if len(scores) == len(names) == 1 and scores[0].get("id") is None:
        return {names[0]: scores[0]}
    ids = [str(score.get("id")) for score in scores]
    return {name: score for name, score in zip(ids, scores, strict=True) if ids.count(name) == 1}


def _verdict(recipe: MMEvol, item: QA, score: dict[str, Any] | None) -> QA | Rejected:
    if score is None:
        return Rejected(item=item, status="failed", reason="unscored", detail="no score has its id")
    points, why = float(score["score"]), str(score.get("reason") or "")
    item = replace(item, score=points, reason=why)
    if score["improved"] != "yes":
        return Rejected(item=item, status="eliminated", reason="not_improved", detail=why)
    if points < recipe.min_score:
        return Rejected(item=item, status="eliminated", reason="low_score", detail=f"{points} < {recipe.min_score}")
    return item
