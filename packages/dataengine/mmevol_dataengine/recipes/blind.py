"""The blind test: an item whose question gives its answer away teaches nothing about images."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from mmevol_core.chat import ChatFailure
from mmevol_core.sample import QA
from mmevol_dataengine.ledger import Rejected
from mmevol_dataengine.prompts.mmevol_text import blind_prompt, system_prompt
from mmevol_dataengine.recipes.speaker import Speaker
from mmevol_dataengine.vocabulary import words

_CHANCE = re.compile(r"\W*(yes|no|true|false|[A-H])\b[\W]*", re.IGNORECASE)
LONGEST = 5  # words; longer answers are hit in parts only, so they are left alone


async def test(items: Sequence[QA], judge: Speaker) -> tuple[list[QA], list[Rejected]]:
    """Ask for every answer without the image; what is answered right is eliminated.

    Answers that chance would hit (yes, no, a letter) and long ones prove nothing and are not asked for.
    """
    asked = [item for item in items if not _CHANCE.fullmatch(item.answer) and len(item.answer.split()) <= LONGEST]
    results = dict(zip(asked, await asyncio.gather(*(_one(item, judge) for item in asked)), strict=True))
    kept = [item for item in items if results.get(item) is None]
    return kept, [rejected for rejected in results.values() if rejected]


async def _one(item: QA, judge: Speaker) -> Rejected | None:
    try:
        reply = await judge.ask(system_prompt(), blind_prompt(item.question), None, 0)
    except ChatFailure as failed:
        return Rejected(item=item, status="failed", reason=f"blind_{failed.reason}", detail=failed.detail)
    said, right = words(reply), words(item.answer)
    hit = bool(right) and set(right) <= set(said) and len(said) <= len(right) + LONGEST
    return (
        Rejected(item=item, status="eliminated", reason="answerable_blind", detail=f"said {reply[:60]!r}")
        if hit
        else None
    )
