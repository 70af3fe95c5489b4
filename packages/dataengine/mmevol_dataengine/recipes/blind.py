"""The blind test: an item whose question gives its answer away teaches nothing about images.

Its limit: only an answer of up to five words can be compared with a guess, and only one that chance seldom hits. The
answer that an explanation ends with ("The answer is two.") is compared in its place. All other items are not asked and
stay untested; the ledger counts them by reason.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmevol_core.chat import ChatFailure
from mmevol_core.sample import QA
from mmevol_dataengine.claims import said
from mmevol_dataengine.grounding import number_of
from mmevol_dataengine.ledger import Rejected
from mmevol_dataengine.prompts.mmevol_text import blind_prompt, system_prompt
from mmevol_dataengine.recipes.speaker import Speaker
from mmevol_dataengine.vocabulary import words

_CHANCE = re.compile(r"\W*(yes|no|true|false|[A-H])\b[\W]*", re.IGNORECASE)
_LETTER = re.compile(r"^\W*\(?[A-H](?:[.):]|\W*$)")
_UNDECIDED = re.compile(r"\b(not|no|nor|or|never|none|either|neither|unknown|maybe)\b|n't|/|\?", re.IGNORECASE)
# Words of a reply or an answer that do not change what it says.
_EMPTY = frozenset(
    [
        "a", "an", "the", "it", "is", "are", "there", "this", "that", "in", "on", "at", "of", "answer", "image",
        "picture", "photo", "most", "likely", "probably", "i", "think", "would", "be", "to", "my", "guess", "you",
        "see",
    ]
)  # fmt: skip
LONGEST = 5  # words; a longer answer is hit in parts only


@dataclass(frozen=True, slots=True)
class Tested:
    """What the test kept and rejected, how many items it asked for, and why it did not ask for the others."""

    kept: list[QA]
    rejected: list[Rejected]
    asked: int
    unasked: tuple[str, ...]  # a reason an item: "guessable" or "too_long"


async def test(items: Sequence[QA], judge: Speaker) -> Tested:
    """Ask for every answer without the image; what is answered right is eliminated."""
    reasons = {item: unasked(item) for item in items}
    asked = [item for item in items if reasons[item] is None]
    results = dict(zip(asked, await asyncio.gather(*(_one(item, judge) for item in asked)), strict=True))
    kept = [item for item in items if results.get(item) is None]
    rejected = [found for found in results.values() if found]
    return Tested(kept, rejected, len(asked), tuple(reason for item in items if (reason := reasons[item])))


def unasked(item: QA) -> str | None:
    """Why an item is not asked for: chance would hit yes, no or a letter; a long answer is hit in parts only."""
    answer = said(item)
    if _CHANCE.fullmatch(answer) or _LETTER.match(item.answer):
        return "guessable"
    return "too_long" if len(answer.split()) > LONGEST else None


def hit(reply: str, answer: str) -> bool:
    """Whether a reply says just the answer: nothing denied, nothing offered beside it, nothing left out."""
    right = _content(answer)
    return bool(right) and not _UNDECIDED.search(reply.lower().replace(answer.lower(), "")) and _content(reply) == right


def _content(text: str) -> set[str]:
    """The words that carry the meaning; numbers in digits."""
    found = words(text)
    numbers = {word: number_of(word) for word in found}
    return {word if (value := numbers[word]) is None else str(value) for word in found} - _EMPTY


async def _one(item: QA, judge: Speaker) -> Rejected | None:
    try:
        reply = await judge.ask(system_prompt(), blind_prompt(item.question), None, 0)
    except ChatFailure as failed:
        return Rejected(item=item, status="failed", reason=f"blind_{failed.reason}", detail=failed.detail)
    if not hit(reply, said(item)):
        return None
    return Rejected(item=item, status="eliminated", reason="answerable_blind", detail=f"said {reply[:60]!r}")
