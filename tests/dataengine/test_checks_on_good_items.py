"""No check eliminates what is right: a whole run of rewrites whose mistakes are known."""

import asyncio
import json
from collections import Counter

import pytest

from mmevol_core.sample import QA, Box, Sample, Text
from mmevol_dataengine.recipes.mmevol import MMEvol, evolve
from mmevol_dataengine.scripted_teacher.answer import reply_to
from mmevol_dataengine.verify import CHECKS

EXPECTED = {"copy_of_parent", "duplicate"}  # a rewrite may repeat an earlier question without being wrong


class Scripted:
    """The scripted teacher in this process; `spoiled` remembers the items with a mistake."""

    name, sees_image = "scripted", False

    def __init__(self, rate):
        self.rate, self.spoiled = rate, {}

    async def ask(self, system, prompt, sample, salt, schema=None):
        reply = reply_to(prompt, seed=salt, error_rate=self.rate)
        kinds = dict(reply.mistakes)
        if kinds and not any(kind.startswith("malformed") or kind == "refusal" for kind in kinds.values()):
            for item in json.loads(reply.content):
                if item["parent"] in kinds:
                    self.spoiled[sample.id, item["question"], item["answer"]] = kinds[item["parent"]]
        return reply.content


def scenes(number):
    colours, shapes = ("red", "green", "blue", "yellow"), ("circle", "triangle", "rectangle")
    for place in range(number):
        label = f"{colours[place % 4]} {shapes[place % 3]}"
        left, top = (0.05, 0.6)[place % 2], (0.1, 0.55)[place // 2 % 2]
        seeds = [QA(id=f"{place}-{n}", question=q, answer=a, objects=(label,), skills=("existence",))
                 for n, (q, a) in enumerate([("What is shown?", label), ("Is there a shape?", "yes")])]  # fmt: skip
        yield Sample(
            id=f"s{place}", images=("a.png",), caption=f"A large {label} on a white background.",
            boxes=(Box(label=label, xyxy=(left, top, left + 0.3, top + 0.3)),),
            ocr=(Text(text=str(place % 10), xyxy=(0.4, 0.4, 0.5, 0.5)),) if place % 5 == 0 else (),
            rounds=(tuple(seeds),),
        )  # fmt: skip


def outcome_of(samples, rate):
    teacher, wrong, good = Scripted(rate), [], 0
    found = Counter()
    for sample in samples:
        outcome = asyncio.run(evolve(MMEvol(), sample, teacher, teacher))
        for turn in outcome.turns:
            rows = [(item, None) for item in turn.kept] + [(row.item, row) for row in turn.rejected if row.written]
            for item, row in rows:
                kind = teacher.spoiled.get((sample.id, item.question, item.answer))
                checked = row is not None and row.status == "eliminated" and row.reason in CHECKS
                found[kind or "good", checked] += 1
                good += kind is None
                if kind is None and checked and row.reason not in EXPECTED:
                    wrong.append((row.reason, row.detail, item.question, item.answer))
    return good, wrong, found


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_no_rewrite_without_a_mistake_is_eliminated(rate):
    good, wrong, found = outcome_of(scenes(60), rate)
    assert good > 200
    assert wrong == []
    assert rate == 0 or sum(count for (kind, hit), count in found.items() if hit and kind != "good") > 20
