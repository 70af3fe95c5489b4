"""The scripted teacher: right answers without errors, balance, determinism, and errors at the rate asked for."""

import json
import random
import re
from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted_world import Oracle, evolve_prompt, picture, seed_items

from mmevol_core.sample import DIRECTIONS, QA, SKILLS, Box, Sample, Step
from mmevol_dataengine.grounding import boxes_in
from mmevol_dataengine.scripted_teacher.answer import reply_to
from mmevol_dataengine.scripted_teacher.mistakes import KINDS
from mmevol_dataengine.verify import Case, Rules, findings
from mmevol_dataengine.vocabulary import FORMATS


def evolved(given_picture, direction, items, seed=0):
    return json.loads(reply_to(evolve_prompt(given_picture, direction, items), seed=seed).content)


@cache
def lineages(count=500, rounds=3, seed=1):
    """List of (picture, direction, given items, rewritten items) of records evolved over several rounds."""
    rng, found = random.Random(seed), []
    for number in range(count):
        shown = picture(rng)
        items = seed_items(shown)
        for _ in range(rounds):
            direction = rng.choice(DIRECTIONS)
            out = evolved(shown, direction, items, seed=number)
            found.append((shown, direction, items, out))
            items = [{**item, "id": f"i{place}"} for place, item in enumerate(out)]
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.permutations(DIRECTIONS), st.integers(1, 4))
def test_every_answer_follows_from_the_annotations_over_three_rounds(seed, directions, count):
    shown = picture(random.Random(seed))
    oracle, items = Oracle(shown), seed_items(shown, count)
    for direction in directions:
        items = [{**item, "id": f"i{n}"} for n, item in enumerate(evolved(shown, direction, items, seed))]
        assert len(items) == count
        for item in items:
            assert oracle.check(item) is True, (item["question"], item["answer"], shown["boxes"])


def test_the_oracle_refuses_wrong_answers():
    """A check of the check: every yes turned to no, letter to another and digit to another is noticed."""
    other = {"yes": "no", "no": "yes", "left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    noticed = 0
    for shown, _, _, items in lineages()[:180]:
        for item in items:
            wrong = other.get(item["answer"]) or (str(int(item["answer"]) + 1) if item["answer"].isdigit() else None)
            if wrong:
                assert Oracle(shown).check({**item, "answer": wrong}) is False, item["question"]
                noticed += 1
    assert noticed > 150


def test_items_pass_the_machine_checks_when_no_error_is_made():
    for shown, direction, parents, items in lineages()[:360]:
        label, box = shown["boxes"][0]["label"], tuple(shown["boxes"][0]["bbox"])
        sample = Sample(id="s", images=("a.png",), caption=shown["caption"], boxes=(Box(label=label, xyxy=box),))
        for parent, item in zip(parents, items, strict=True):
            case = Case(as_qa(item), as_qa(parent), sample, direction, frozenset(), Rules())
            assert findings(case) == [], (item, parent)


def as_qa(item):
    return QA(
        id="x",
        question=item["question"],
        answer=item["answer"],
        objects=tuple(item["objects"]),
        skills=tuple(item["skills"]),
        format=item["format"],
        steps=tuple(Step(**step) for step in item["steps"]),
    )


def test_items_name_their_parents_and_only_known_skills_and_formats():
    formats = set()
    for _, direction, parents, items in lineages()[:600]:
        assert [item["parent"] for item in items] == [parent["id"] for parent in parents]
        assert len({item["question"] for item in items}) == len(items)
        for item in items:
            assert set(item["skills"]) <= set(SKILLS)
            assert item["format"] in (FORMATS if direction == "interaction" else ("norm",))
            formats.add(item["format"])
    assert len(formats - {"norm"}) >= 13


def test_every_box_in_an_item_is_a_given_box():
    seen = 0
    for shown, _, _, items in lineages()[:600]:
        given_box = tuple(shown["boxes"][0]["bbox"])
        for item in items:
            for box in boxes_in(json.dumps(item)):
                assert box == pytest.approx(given_box)
                seen += 1
    assert seen > 50


def test_yes_and_no_are_balanced_within_five_points():
    said = Counter()
    for _, _, _, items in lineages():
        for item in items:
            last = item["answer"].rstrip(".").split()[-1]
            said[last] += last in ("yes", "no")
    total = said["yes"] + said["no"]
    assert total > 2000
    assert 0.45 <= said["yes"] / total <= 0.55


def test_right_options_are_at_every_letter_equally_often():
    places = Counter()
    for _, _, _, items in lineages():
        for item in items:
            letters = re.findall(r"^([A-D])\. ", item["question"], re.MULTILINE)
            if letters:
                places[len(letters), item["answer"][0]] += 1
    for options in (2, 3, 4):
        counts = [places[options, letter] for letter in "ABCD"[:options]]
        expected = sum(counts) / options
        assert all(abs(count - expected) < 4 * expected**0.5 for count in counts), places


def test_a_reasoning_answer_is_a_short_thought_that_ends_in_the_result():
    shown = picture(random.Random(3))
    for seed in range(50):
        for item in evolved(shown, "cognitive_reasoning", seed_items(shown), seed):
            assert re.search(r"(?i)answer is [^.]+\.$", item["answer"])
            thought = re.sub(r"[^.]*answer is [^.]+\.$", "", item["answer"])
            assert 2 < len(thought.split()) <= 20


def test_seed_and_prompt_alone_decide_the_reply():
    prompt = evolve_prompt(picture(random.Random(1)), "interaction", seed_items(picture(random.Random(1))))
    first = reply_to(prompt, seed=4, error_rate=0.3)
    assert first == reply_to(prompt, seed=4, error_rate=0.3)
    assert first.content != reply_to(prompt, seed=5, error_rate=0.3).content


@pytest.mark.parametrize("rate", [0.0, 0.12, 0.5, 1.0])
def test_the_share_of_spoiled_items_is_the_one_asked_for(rate):
    rng, spoiled, items, kinds = random.Random(7), 0, 0, Counter()
    for number in range(500):
        shown = picture(rng)
        reply = reply_to(evolve_prompt(shown, rng.choice(DIRECTIONS), seed_items(shown)), seed=number, error_rate=rate)
        items += reply.items
        spoiled += len(reply.mistakes)
        kinds.update(kind for _, kind in reply.mistakes)
    assert abs(spoiled / items - rate) < 0.03  # 500 replies of 4 items: two standard errors of lost replies
    if rate == 1.0:
        assert set(KINDS) <= set(kinds)
        assert {"refusal", "malformed_truncated", "malformed_python_literal"} <= set(kinds)


def test_an_unspoiled_item_in_a_reply_with_mistakes_is_still_right():
    rng = random.Random(11)
    for number in range(300):
        shown = picture(rng)
        reply = reply_to(evolve_prompt(shown, "interaction", seed_items(shown)), seed=number, error_rate=0.3)
        if any(kind.startswith("malformed") or kind == "refusal" for _, kind in reply.mistakes):
            continue
        for item in json.loads(reply.content):
            if item["parent"] not in dict(reply.mistakes):
                assert Oracle(shown).check(item) is True


def test_a_record_without_boxes_gets_no_place_and_no_count():
    blank = {"caption": "A dog sleeps on a sofa. It is brown.", "boxes": [], "ocr": []}
    items = [{"id": "a", "question": "What is on the sofa?", "answer": "a dog", "objects": ["dog"], "skills": []}]
    for direction in DIRECTIONS:
        for shown in (blank, {**blank, "caption": "A large red circle on a white background."}):
            for seed in range(40):
                item = evolved(shown, direction, items, seed)[0]
                assert not re.search(r"how many|bounding box|region|half|third", item["question"], re.IGNORECASE)
                assert item["parent"] == "a"
                assert not list(boxes_in(json.dumps(item)))


def test_pairs_are_counted_and_compared():
    """Two boxes: a red circle on the left (area .04) and a larger blue circle on the right (area .16)."""
    boxes = [
        {"label": "red circle", "bbox": [0.1, 0.4, 0.3, 0.6]},
        {"label": "blue circle", "bbox": [0.55, 0.3, 0.95, 0.7]},
    ]
    shown = {"caption": "Two circles.", "boxes": boxes, "ocr": []}
    right = {"Is the red circle left or right of the blue circle?": "left", "How many circles are there?": "2",
             "Is the blue circle left or right of the red circle?": "right",
             "How many triangles are there?": "0"}  # fmt: skip
    asked = set()
    for seed in range(400):
        for direction in DIRECTIONS:
            for item in evolved(shown, direction, seed_items(shown), seed):
                question = item["question"].split("\n")[0]
                if question in right:
                    assert item["answer"] == right[question]
                    asked.add(question)
                if "larger" in question and "circle" in question:
                    assert item["answer"].endswith("the blue circle.") or item["answer"].endswith("the blue shape.")
                    asked.add("larger")
    assert len(asked) >= 4
    assert "larger" in asked


def test_anything_that_is_no_task_gets_one_plain_sentence():
    for text in (
        "Hello",
        "TASK: evolve\nINPUT:\nnot json",
        'TASK: score\nINPUT:\n{"pairs": 3}',
        "TASK: evolve\nDIRECTION: sideways\nINPUT:\n{}",
        "",
    ):
        reply = reply_to(text)
        assert reply.content.endswith(".")
        assert "\n" not in reply.content
        assert reply.items == 0
