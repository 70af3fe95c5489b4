"""The twins of multiple-choice benchmarks: neither a letter nor a kind of question gives the answer away."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict

import pytest
from support import tiny_llava

from mmevol_eval.benchmarks import find
from mmevol_eval.data import TWINS, BenchmarksConfig, locate, prepare
from mmevol_eval.twins.scene import COLORS, SHAPES

ITEMS = 600
VALUES = re.compile(rf"\b({'|'.join([*COLORS, *SHAPES, 'digit', 'left', 'right', 'top', 'bottom'])}|\d+)s?\b")
OPTION = re.compile(r"\(([a-dA-D])\) (.*?)(?=\s*\([a-dA-D]\) |$)", re.DOTALL)
CHOICE_TWINS = {"MMStar", "MathVista_MINI", "MMMU_DEV_VAL", "AI2D_TEST", "BLINK", "RealWorldQA", "MMSInst"}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Twin -> (kind of question, letter of the right option, text of the right option, letters and texts)."""
    world = tiny_llava.held_out(tmp_path_factory.mktemp("held_out"))
    config = BenchmarksConfig(source="twins", names=tuple(TWINS), items=ITEMS)
    root = prepare(config, {"held_out": world}, tmp_path_factory.mktemp("benchmarks")).files["benchmarks"]
    found = {}
    for name in TWINS:
        rules = find(name)
        rows = [one for item in rules.load(locate(root, rules)) if (one := _choice(item)) is not None]
        if rows:
            found[name] = rows
    return found


def _choice(item):
    options = dict(item.options) or dict(OPTION.findall(item.question))  # MMSInst writes them into the question
    letter = item.extra.get("answer_option") or item.answer
    if len(options) < 2 or letter not in options:
        return None
    kind = VALUES.sub("_", item.question.partition("\nChoices:")[0].partition("? (a)")[0])
    return (item.category, item.l2_category, kind), letter, options[letter], options


def by_kind(rows):
    kinds = defaultdict(list)
    for kind, *rest in rows:
        kinds[kind].append(rest)
    return kinds


def chance(rows):
    """Share that picking an option at random gets right."""
    return sum(1 / len(options) for *_, options in rows) / len(rows)


def slack(share, count):
    """Three standard errors of a share, for the one twin that draws its letters at random."""
    return 3 * math.sqrt(share * (1 - share) / count)


def test_these_twins_and_no_others_offer_options(asked):
    assert set(asked) == CHOICE_TWINS


@pytest.mark.parametrize("name", sorted(CHOICE_TWINS))
def test_no_constant_letter_beats_chance(asked, name):
    rows = asked[name]
    most = Counter(letter for _, letter, _, _ in rows).most_common(1)[0][1] / len(rows)
    assert most <= chance(rows) + (slack(0.25, len(rows)) if name == "MMSInst" else 0.02)


@pytest.mark.parametrize("name", sorted(CHOICE_TWINS))
def test_the_most_frequent_letter_of_each_kind_of_question_scores_at_chance(asked, name):
    rows = asked[name]
    kinds = by_kind(rows)
    right = sum(max(Counter(letter for letter, *_ in of_kind).values()) for of_kind in kinds.values())
    expected = chance(rows)
    # the letter goes round, so a kind's most frequent one is right once more than its share at most
    allowed = slack(expected, len(rows)) if name == "MMSInst" else len(kinds) / len(rows)
    assert right / len(rows) <= expected + allowed


@pytest.mark.parametrize("name", sorted(CHOICE_TWINS))
def test_every_letter_of_every_kind_of_question_is_right_equally_often(asked, name):
    for kind, of_kind in by_kind(asked[name]).items():
        share = chance(of_kind)
        counts = Counter(letter for letter, *_ in of_kind)
        letters = set().union(*(options for *_, options in of_kind))
        allowed = slack(share, len(of_kind)) if name == "MMSInst" else 2 / len(of_kind)
        assert all(abs(counts[letter] / len(of_kind) - share) <= allowed for letter in letters), (kind, counts)


@pytest.mark.parametrize("name", sorted(CHOICE_TWINS))
def test_the_most_frequent_text_of_each_kind_of_question_gains_little(asked, name):
    """Where only two answers exist (three or four corners), naming one is right half of the time, never more."""
    rows = asked[name]
    right = sum(max(Counter(text for _, text, _ in of_kind).values()) for of_kind in by_kind(rows).values())
    assert right / len(rows) <= chance(rows) + 0.1
