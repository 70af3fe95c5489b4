"""Elimination: rewrites are scored against the items they came from, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mmevol_core.chat import ChatFailure
from mmevol_core.images import ImageFailure
from mmevol_core.sample import QA, Sample
from mmevol_dataengine.ledger import Rejected
from mmevol_dataengine.parse import parse_scores
from mmevol_dataengine.prompts.mmevol_text import score_prompt
from mmevol_dataengine.recipes.schemas import SCORES
from mmevol_dataengine.recipes.speaker import Speaker, ask_until_parsed


async def judged(
    sample: Sample,
    candidates: Sequence[QA],
    parents: Mapping[str, QA],
    judge: Speaker,
    *,
    attempts: int,
    min_score: float,
) -> tuple[list[QA], list[Rejected]]:
    """Score the rewrites against their parents; keep the improved ones; a score counts by its id only."""
    if not candidates:
        return [], []
    by_id = {parent.id: parent for parent in parents.values()}
    pairs = {f"p{place}": (by_id[str(item.parent)], item) for place, item in enumerate(candidates, start=1)}
    prompt = score_prompt(sample, pairs, judge.sees_image)
    reason, scores = "score_unparsable", None
    try:
        scores = await ask_until_parsed(judge, prompt, sample, parse_scores, SCORES, attempts)
    except (ChatFailure, ImageFailure) as failed:
        reason = f"score_{failed.reason}"
    if scores is None:
        return [], [Rejected(item=item, status="failed", reason=reason) for item in candidates]
    found = _by_id(scores, list(pairs))
    kept: list[QA] = []
    rejected: list[Rejected] = []
    for name, (_, item) in pairs.items():
        verdict = _verdict(item, found.get(name), min_score)
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


def _verdict(item: QA, score: dict[str, Any] | None, min_score: float) -> QA | Rejected:
    if score is None:
        return Rejected(item=item, status="failed", reason="unscored", detail="no score has its id")
    points, why = float(score["score"]), str(score.get("reason") or "")
    item = replace(item, score=points, reason=why)
    if score["improved"] != "yes":
        return Rejected(item=item, status="eliminated", reason="not_improved", detail=why)
    if points < min_score:
        return Rejected(item=item, status="eliminated", reason="low_score", detail=f"{points} < {min_score}")
    return item
