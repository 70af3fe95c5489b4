"""What a few records became, to be read before the whole is paid for: before, after and verdict, round by round."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmevol_core.files import read_json, read_jsonl
from mmevol_core.sample import QA, Sample, read_samples
from mmevol_dataengine.ledger import REJECTED, Rejected

LONGEST = 400  # characters of a text that are shown


def preview(files: Mapping[str, Path]) -> Iterator[str]:
    """Lines about every record of a finished stage `evolve`, then what was spent. `files` are the stage's roles."""
    lost: dict[tuple[str, int], list[Rejected]] = defaultdict(list)
    directions: dict[tuple[str, int], str] = {}
    for row in read_jsonl(files["eliminated"]):
        place = (row.pop("sample"), row.pop("round"))
        directions[place] = row.pop("direction") or "no direction suits this record"
        lost[place].append(REJECTED.validate_python(row))
    for sample in read_samples(files["evolved"]):
        yield from _record(sample, lost, directions)
    yield from _spent(read_json(files["ledger"]))


def _record(
    sample: Sample, lost: Mapping[tuple[str, int], list[Rejected]], directions: Mapping[tuple[str, int], str]
) -> Iterator[str]:
    yield f"record {sample.id}  {', '.join(sample.images)}"
    parents = {item.id: item for generation in sample.rounds for item in generation}
    for number, kept in enumerate(sample.rounds[1:], start=1):
        place = (sample.id, number)
        yield f"  round {number}: {(kept[0].direction if kept else None) or directions.get(place, 'nothing was given')}"
        for item in kept:
            score = "" if item.score is None else f" (score {item.score:g})"
            yield from _change(parents.get(item.parent or ""), item, f"kept{score}: {item.reason or ''}")
        for rejected in lost.get(place, ()):
            seen = rejected.detail.removeprefix(f"{rejected.reason}: ")
            verdict = f"{rejected.status} as {rejected.reason}{': ' if seen else ''}{seen}"
            before = parents.get(rejected.item.parent or "") if rejected.written else rejected.item
            yield from _change(before, rejected.item if rejected.written else None, verdict)


def _change(before: QA | None, after: QA | None, verdict: str) -> Iterator[str]:
    yield f"    before   {_said(before) if before else '(no given item)'}"
    yield f"    after    {_said(after) if after else '(not written)'}"
    yield f"    verdict  {_short(verdict)}"


def _said(item: QA) -> str:
    form = f"  [{item.format}]" if item.format else ""
    return f"{_short(item.question)} -> {_short(item.answer)}{form}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _spent(ledger: Mapping[str, Any]) -> Iterator[str]:
    total, usage = ledger["total"], ledger["usage"]
    eliminated, failed = (sum(total[name].values()) for name in ("eliminated", "failed"))
    yield f"items: {total['given']} given = {total['kept']} kept + {eliminated} eliminated + {failed} failed"
    yield (
        f"spent: {usage['attempts']} requests, {usage['prompt_tokens']:,} + {usage['completion_tokens']:,} tokens, "
        f"{usage['usd']:.4f} USD"
    )
