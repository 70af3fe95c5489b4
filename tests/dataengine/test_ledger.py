"""The ledger closes: rows in = kept + eliminated + failed, whatever happened; and the outcome log survives a kill."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmevol_core.sample import DIRECTIONS, QA, Sample
from mmevol_dataengine.ledger import Ledger, Outcome, Rejected, Turn
from mmevol_dataengine.outcomes import OutcomeLog

SAMPLE = Sample(id="s", images=("a.png",))


def qa(ident):
    return QA(id=ident, question="Which?", answer="This")


def lost(status, reason, written=True):
    return Rejected(item=qa("r"), status=status, reason=reason, written=written)


REJECTED = [
    lost("eliminated", "copy_of_parent"),
    lost("eliminated", "not_improved"),
    lost("failed", "unscored"),
    lost("failed", "missing_item", written=False),
    lost("surplus", "parent_unknown"),
]


def answered_turn(number, direction, kept, rejected):
    given = kept + sum(item.status != "surplus" for item in rejected)
    return Turn(round=number, direction=direction, given=given, kept=(qa("k"),) * kept, rejected=tuple(rejected))


answered = st.builds(
    answered_turn,
    st.integers(1, 3),
    st.sampled_from(DIRECTIONS),
    st.integers(0, 4),
    st.lists(st.sampled_from(REJECTED), max_size=5),
)
failed = st.builds(
    Turn,
    round=st.integers(1, 3),
    direction=st.just("interaction"),
    given=st.just(2),
    rejected=st.just((lost("failed", "timeout", written=False),) * 2),
    failure=st.just("timeout"),
)
outcomes = st.lists(st.builds(Outcome, sample=st.just(SAMPLE), turns=st.lists(answered | failed).map(tuple)))


@given(outcomes)
def test_every_item_and_every_record_is_in_exactly_one_place(rows):
    ledger = Ledger()
    for row in rows:
        ledger.add(row)
    books = ledger.as_dict(len(rows))
    total = books["total"]
    turns = [turn for row in rows for turn in row.turns]
    assert total["records"] == len(turns)
    assert total["given"] == sum(turn.given for turn in turns)
    written = sum(len(turn.kept) + sum(item.written for item in turn.rejected) for turn in turns)
    assert total["generated"] == written
    reasons = Counter(item.reason for turn in turns for item in turn.rejected if item.status == "eliminated")
    assert total["eliminated"] == dict(reasons)
    for row in [*books["rounds"], total]:
        assert row["records"] == row["answered"] + sum(row["failed_records"].values())
        assert row["given"] == row["kept"] + sum(row["eliminated"].values()) + sum(row["failed"].values())
        assert row["generated"] == row["given"] - row["unwritten"] + sum(row["surplus"].values())


def test_the_items_of_a_failed_record_are_counted_under_its_reason():
    ledger = Ledger()
    turn = Turn(
        round=1,
        direction="interaction",
        given=3,
        rejected=(lost("failed", "unparsable", written=False),) * 3,
        failure="unparsable",
    )
    ledger.add(Outcome(sample=SAMPLE, turns=(turn,)))
    total = ledger.as_dict(1)["total"]
    assert total["failed_records"] == {"unparsable": 1}  # one record
    assert total["failed"] == {"unparsable": 3}  # three items
    assert (total["given"], total["generated"], total["unwritten"]) == (3, 0, 3)


@pytest.mark.parametrize(
    "turn",
    [
        Turn(round=1, direction="interaction", given=2, kept=(qa("k"),)),
        Turn(round=1, direction="interaction", given=1, kept=(qa("k"),), rejected=(lost("eliminated", "length"),)),
        Turn(round=1, direction="interaction", given=1, failure="timeout"),
    ],
)
def test_an_item_that_got_lost_or_counts_twice_is_noticed(turn):
    ledger = Ledger()
    ledger.add(Outcome(sample=SAMPLE, turns=(turn,)))
    with pytest.raises(AssertionError, match="items given"):
        ledger.as_dict(1)


def test_a_record_that_got_lost_is_noticed():
    ledger = Ledger()
    ledger.add(Outcome(sample=SAMPLE, turns=()))
    with pytest.raises(AssertionError, match="2 records in, 1 accounted for"):
        ledger.as_dict(2)


@given(outcomes, st.randoms(use_true_random=False), st.integers(0, 400))
def test_the_log_gives_back_what_was_written_whole_in_the_order_of_the_input(tmp_path_factory, rows, random, cut):
    path = tmp_path_factory.mktemp("log") / "outcomes.jsonl"
    order = list(range(len(rows)))
    random.shuffle(order)
    with OutcomeLog(path) as log:
        for number in order:
            log.add(number, rows[number])
        assert list(log) == rows
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])  # as a killed writer leaves it
    left = path.read_bytes().count(b"\n")
    with OutcomeLog(path) as log:
        assert len(log) == left
        for number in order[left:]:
            assert number not in log
            log.add(number, rows[number])
        assert list(log) == rows
