"""The parser: what is recovered is right, and what is not sure is not returned."""

import json
import random
import sys
import time
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mmevol_core.errors import UserError
from mmevol_dataengine.parse import parse_items, parse_lines, parse_reply, parse_scores

sys.path.insert(0, str(Path(__file__).parent / "parse_corpus"))

import fifth
import fourth
import parse_corpus_adversarial_values as adversarial
import parse_corpus_cases as corpus
import parse_corpus_spoilers as spoilers
import sixth
import third

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)  # shrinking a whole reply takes minutes
PARSE = {"qas": parse_items, "score": parse_scores}


@pytest.mark.parametrize("case", corpus.cases(), ids=lambda case: f"{case.category}-{case.kind}")
def test_a_reply_of_the_corpus_gives_its_value_or_nothing(case):
    assert PARSE[case.kind](case.raw) == case.expected


# What the second corpus holds as readable and the parser gives up: it may miss, it must not be wrong.
MISSED = {
    "equals_sign",  # "format" = "x": `=` after a quote is as likely a part of the text
    "ellipsis_at_end",  # judgements only: what the dots stand for may be a judgement
    "objects_as_text",  # "cup, table": one name or two
    "cut_after_last_quote",  # the quote may belong to the text
    "latex_unescaped",  # `\\nu` outside of dollars: a command, or a line end and a "u"
}


@pytest.mark.parametrize("case", adversarial.cases(), ids=lambda case: f"{case.name}-{case.kind}")
def test_a_reply_of_the_second_corpus_gives_its_value_or_nothing(case):
    found = PARSE[case.kind](case.raw)
    assert found == case.expected or (found is None and case.name in MISSED)


def test_nearly_all_of_the_second_corpus_is_recovered():
    cases = adversarial.cases()
    known = [case for case in cases if case.expected is not None]
    recovered = sum(PARSE[case.kind](case.raw) == case.expected for case in known)
    assert len(cases) >= 330
    assert recovered >= 0.975 * len(known)


# What the third corpus holds as readable and the parser gives up, the item or the reply.
UNREAD = {
    "equals for colon",
    "missing colon",
    "corner brackets as quotes",
    "guillemets as quotes",
    "plus joins",  # "one" + "two": the plus may belong to the text
}


@pytest.mark.parametrize("case", third.cases(), ids=lambda case: f"{case.name}-{case.kind}")
def test_a_reply_of_the_third_corpus_gives_its_value_or_nothing(case):
    found = parse_reply(case.kind, case.raw)
    if case.open or case.name in UNREAD:  # the rules leave it open, but never another text
        known = [item for items in case.accepted for item in items or []]
        assert all(item in known for item in found or [])
    else:
        assert found == case.accepted[0]


@pytest.mark.parametrize("case", fifth.cases(), ids=lambda case: f"{case.name}-{case.kind}")
def test_a_reply_of_the_fifth_corpus_gives_its_value_or_nothing(case):
    assert parse_reply(case.kind, case.raw) in case.accepted


@pytest.mark.parametrize("raw", ['{"ID": "p2", %s}', '[{"ID": "p2", %s}]', '[{"id": "p2", "Id": "p2", %s,}]'])
def test_an_id_is_kept_in_whatever_case_it_is_written(raw):
    judgement = json.dumps(corpus.score())[1:-1]
    assert parse_scores(raw % judgement) == [{**corpus.score(), "id": "p2"}]


@pytest.mark.parametrize("first", range(0, 2000, 100))
def test_replies_spoiled_at_random_give_their_value(first):
    for case in map(fourth.make, range(first, first + 100)):
        found = parse_reply(case.kind, case.raw)
        if case.accepted[0] is None or found is None:
            assert found in case.accepted, case.name
        else:  # an item in doubt may be left out of a list of questions
            whole = max((items for items in case.accepted if items), key=len)
            assert [item for item in whole if item in found] == found, case.name
            assert case.kind == "qas" or found == whole[: len(found)], case.name


@pytest.mark.parametrize("first", range(30_000, 31_000, 100))
def test_a_mark_lost_or_doubled_among_judgements_never_moves_them(first):
    for seed in range(first, first + 100):
        case, rng = fourth.make(seed), random.Random(seed)
        if case.kind == "score" and "cut" not in case.name:
            place = rng.choice([at for at, mark in enumerate(case.raw) if mark in "\"{}[]:,“”'，："])
            raw = case.raw[:place] + case.raw[place] * rng.choice([0, 2]) + case.raw[place + 1 :]
            found = [(item["improved"], item["score"]) for item in parse_scores(raw) or []]
            truth = [(item["improved"], item["score"]) for item in case.accepted[0]]
            assert found == truth[: len(found)], case.name


def test_the_corpus_is_as_large_as_promised():
    assert len(corpus.cases()) >= 250


@pytest.mark.parametrize("name", [name for name in spoilers.SPOILERS if name not in ("hole", "line_lost")])
@settings(max_examples=15, deadline=None, phases=QUICK)
@given(truth=spoilers.items, cut=st.floats(0, 0.999))
def test_a_spoiled_list_of_questions_never_gives_another_value(name, truth, cut):
    found = parse_items(spoilers.SPOILERS[name](truth, cut)) or []
    assert all(item in truth for item in found)
    assert [truth.index(item) for item in found] == sorted(truth.index(item) for item in found)


@pytest.mark.parametrize("name", [name for name in spoilers.SPOILERS if name not in ("hole", "line_lost")])
@settings(max_examples=15, deadline=None, phases=QUICK)
@given(truth=spoilers.scores, cut=st.floats(0, 0.999))
def test_spoiled_judgements_are_all_or_leading_or_nothing(name, truth, cut):
    found = parse_scores(spoilers.SPOILERS[name](truth, cut)) or []
    assert found == truth[: len(found)]
    if not name.startswith("truncated"):
        assert len(found) in (0, len(truth))


@pytest.mark.parametrize("name", spoilers.EXACT)
@settings(max_examples=10, deadline=None, phases=QUICK)
@given(truth=spoilers.items)
def test_wrapping_that_loses_nothing_is_undone_completely(name, truth):
    assert parse_items(spoilers.SPOILERS[name](truth, 0)) == truth


@pytest.mark.parametrize("seed", range(150))
def test_a_mark_lost_or_doubled_never_changes_a_text(seed):
    rng = random.Random(seed)
    truth = corpus.plain_items(rng, 3)
    raw = json.dumps(truth, indent=rng.choice([None, 2])) if seed % 3 else repr(truth)
    assert all(item in truth for item in parse_items(corpus.damage(raw, rng)) or [])


@settings(max_examples=60, deadline=None, phases=QUICK)
@given(st.text(st.sampled_from("[]{}\",:\\'“”<>/#`* \nthink answer"), max_size=200))
def test_no_text_makes_the_parser_fail(text):
    assert parse_items(text) is None
    assert parse_scores(text) is None


HOSTILE = [
    "[",
    '{"a":',
    '[{"objects": "',
    '"',
    "<think>",
    "/*",
    "<!--",
    "[<!--",
    "\\",
    '[{"question": "x\n',
    "<" + " " * 50,
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("size", [100_000, 10_000_000])
def test_hostile_replies_end_soon(text, size):
    begin = time.process_time()
    assert parse_items(text * (size // len(text))) is None
    assert time.process_time() - begin < 2


@pytest.mark.parametrize(
    ("remark", "kept"),
    [
        ("p1 is a no.", False),
        ("Score of p1: 3.", False),
        ("p2 = 3", False),
        ("Having looked closely: p1 is not improved", False),
        ("p1 is improved, p2 is not improved.", True),
        ("p1: 8, p2: 2", True),
        ("p1 is no longer trivial; p2 is 3 words long.", True),
    ],
)
def test_a_remark_that_contradicts_a_judgement_by_its_id_is_seen(remark, kept):
    judgements = [{"improved": "yes", "score": 8, "reason": "x", "id": "p1"}]
    judgements.append({"improved": "no", "score": 2, "reason": "y", "id": "p2"})
    assert parse_scores(f"{json.dumps(judgements)}\n\n{remark}") == (judgements if kept else None)


@pytest.mark.parametrize("remark", ["_ ", "p1 ", "the answer ", ". ", "I would ", "\n", '"a", '])
def test_hostile_remarks_after_the_list_end_soon(remark):
    begin = time.process_time()
    assert parse_scores(json.dumps([corpus.score()]) + "\n" + remark * (100_000 // len(remark))) is not None
    assert time.process_time() - begin < 2


def test_a_list_begun_again_is_read_once():
    first, second = corpus.item(), corpus.item("What is right?", "The cat.")
    half = json.dumps([first, second], indent=2)
    assert parse_items(f"{half[:-60]}\n\nI start again:\n{half}") == [first, second]


def test_a_list_after_hundreds_of_boxes_in_the_prose_is_read():
    boxes = "The box is [0.1, 0.2, 0.3, 0.4]. " * 300
    assert parse_items(boxes + json.dumps([corpus.item()])) == [corpus.item()]


def test_lines_keep_their_ids_and_count():
    rows = [{"id": 7, "raw": json.dumps([{"id": 1, **corpus.score()}])}, {"id": {"a": [1]}, "raw": "no"}, {"raw": None}]
    found = [{"id": 7, "items": [corpus.score()]}, {"id": {"a": [1]}, "items": None}, {"id": None, "items": None}]
    assert list(parse_lines("score", rows)) == found


def test_a_line_without_raw_text_is_named():
    with pytest.raises(UserError, match="row 2"):
        list(parse_lines("qas", [{"id": 1, "raw": ""}, {"id": 2}]))


def test_the_link_to_the_parent_is_kept_when_the_teacher_gives_it():
    assert parse_items(json.dumps([corpus.item(parent="q1", confidence=1)])) == [corpus.item(parent="q1")]
    assert parse_scores(json.dumps([{**corpus.score(), "id": 4}])) == [{**corpus.score(), "id": "4"}]


@pytest.mark.parametrize(("raw", "expected"), sixth.cases())
def test_backslashes_and_marked_drafts_are_never_misread(raw, expected):
    assert parse_reply("qas", raw) == expected
