"""From what the teacher wrote to items that may be judged: whose rewrite each is, and which rules it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmevol_core.sample import QA, Sample, Step, qa_id
from mmevol_dataengine.ledger import Rejected
from mmevol_dataengine.prompts.mmevol_text import PROMPT_VERSION
from mmevol_dataengine.recipes.speaker import Speaker
from mmevol_dataengine.verify import Case, Rules, findings
from mmevol_dataengine.vocabulary import normal_format, normal_skill
from mmevol_dataengine.wording import normal_text


def verified(
    rules: Rules,
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
    complete = not teacher.sees_image if rules.annotations_complete is None else rules.annotations_complete
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
        case = Case(item, parent, sample, direction, frozenset(earlier), rules, complete)
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
