"""Pictures of several things (pairs and 2x2 mosaics): references are unique, counts and relations are right."""

import json
import random
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted_world import COLORS, SHAPES, Oracle, evolve_prompt

from mmevol_core.sample import DIRECTIONS
from mmevol_dataengine.scripted_teacher.answer import reply_to

QUESTIONS = ("is there a shape?", "what is shown?", "is a circle present?", "how many?")
PLAIN = {"answer": "yes", "objects": [], "skills": ["existence"], "format": "norm", "steps": []}
ITEMS = [{"id": f"i{n}", "question": question, **PLAIN} for n, question in enumerate(QUESTIONS)]


def mosaic(rng):
    """Two to four things, one in each of as many quarters."""
    boxes = []
    for place in rng.sample(range(4), rng.choice((2, 3, 4))):
        left, top = place % 2 / 2 + rng.uniform(0.02, 0.15), place // 2 / 2 + rng.uniform(0.02, 0.15)
        label = f"digit {rng.randrange(10)}" if rng.random() < 0.4 else f"{rng.choice(COLORS[:3])} {rng.choice(SHAPES)}"
        box = [round(edge, 2) for edge in (left, top, left + rng.uniform(0.1, 0.3), top + rng.uniform(0.1, 0.3))]
        boxes.append({"label": label, "bbox": box})
    return {"caption": "Several things.", "boxes": boxes, "ocr": []}


def fits(label, phrase):
    """Whether a noun phrase without its article describes a label."""
    kinds = {"shape", "object"} if not label.startswith("digit") else {"number", "object"}
    return all(word in (*label.split(), *kinds) for word in phrase.split())


def of_the_whole(question, labels):
    """Answer of a question about the whole picture, None for any other."""
    q = question.split("\n")[0].lower()
    claimed = re.search(r"\b(?:an?|any|no) ((?:(?:blue|teal|green|red|brown|black|yellow|gray) )?"
                        r"(?:circle|rectangle|triangle|shape|object)|digit \d)\b", q)  # fmt: skip
    counted = re.search(r"(?:how many|count the|number of) ((?:\w+ )?(?:shape|digit|circle|rectangle|triangle))s\b", q)
    if counted and "straight" not in q:
        return str(sum(fits(label, counted.group(1)) for label in labels))
    if re.search(r"number be read|hold a written number|free of numbers|nothing to read", q):
        digits = any(label.startswith("digit") for label in labels)
        return "yes" if digits != ("free" in q or "nothing" in q) else "no"
    if "sum of the two digits" in q or "add the two digits" in q:
        return str(sum(int(label[6:]) for label in labels if label.startswith("digit")))
    asks = r"(is there|do you see|can you see|does the picture show|does the image have) (an?|any) "
    if claimed and (re.match(asks, q) or re.match(r"is an? .*(visible|present here)\?", q)):
        return "yes" if any(fits(label, claimed.group(1)) for label in labels) else "no"
    if claimed and re.match(
        r"is it true that there is no|is the picture without|is there no|is it right that no|is an? .*missing", q
    ):
        return "no" if any(fits(label, claimed.group(1)) for label in labels) else "yes"
    return None


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(DIRECTIONS))
def test_answers_about_several_things_follow_from_their_boxes(seed, direction):
    shown = mosaic(random.Random(seed))
    labels = [box["label"] for box in shown["boxes"]]
    for item in json.loads(reply_to(evolve_prompt(shown, direction, ITEMS), seed=seed).content):
        if not item["objects"]:  # nothing could be told apart: the parent again, with a cue, and its own answer
            continue
        question, said = item["question"], item["answer"].rstrip(".").split(" is ")[-1]
        whole = of_the_whole(question, labels)
        if whole is not None:
            assert said == whole, (item, shown["boxes"])
        elif item["format"] == "missing_object_selection":
            options = dict(re.findall(r"^([A-D])\. (.+)$", question, re.MULTILINE))
            absent = [letter for letter, text in options.items() if not any(fits(label, text) for label in labels)]
            assert absent == [item["answer"][0]], (item, shown["boxes"])
        elif len(item["objects"]) == 2:
            assert said == compared(question, item["objects"], shown["boxes"]), (item, shown["boxes"])
        else:
            check_alone(item, shown)


def check_alone(item, shown):
    """A question about one thing: its name fits that thing alone, and the answer fits it."""
    labels = [box["label"] for box in shown["boxes"]]
    (label,) = item["objects"]
    named = re.search(
        r"\b[Tt]he ((?:blue |teal |green )?(?:circle|rectangle|triangle|shape)|digit \d)\b", item["question"]
    )
    if named and "region" not in item["question"] and " of the " not in item["question"]:
        assert sum(fits(other, named.group(1)) for other in labels) == 1, (item, labels)
    if labels.count(label) == 1:
        alone = {**shown, "boxes": [shown["boxes"][labels.index(label)]]}
        assert Oracle(alone).check(item) is not False, (item, shown["boxes"])


def compared(question, names, boxes):
    """Which of two is larger, or on which side of the second the first is, by the boxes alone."""
    first, second = (next(box["bbox"] for box in boxes if box["label"] == name) for name in names)
    if "larger" in question:
        mentioned = re.findall(
            r"the ((?:\w+ )?(?:circle|rectangle|triangle|shape)|digit \d|number|digit)", question.lower()
        )
        first_area, second_area = ((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
        largest = names[0] if first_area > second_area else names[1]
        return next(f"the {name}" for name in mentioned if fits(largest, name) or name == "digit" in largest)
    across, down = (first[n] + first[n + 2] - second[n] - second[n + 2] for n in (0, 1))
    return ("left" if across < 0 else "right") if "left or right" in question else "above" if down < 0 else "below"
