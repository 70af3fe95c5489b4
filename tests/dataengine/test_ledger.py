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


rejected = st.builds(
    Rejected,
    item=st.just(qa("r")),
    status=st.sampled_from(["eliminated", "failed"]),
    reason=st.sampled_from(["copy_of_parent", "not_improved", "unscored"]),
)
answered = st.builds(
    Turn,
    round=st.integers(1, 3),
    direction=st.sampled_from(DIRECTIONS),
    given=st.integers(1, 5),
    kept=st.lists(st.just(qa("k")), max_size=4).map(tuple),
    rejected=st.lists(rejected, max_size=4).map(tuple),
)
failed = st.builds(
    Turn, round=st.integers(1, 3), direction=st.just("interaction"), given=st.just(2), failure=st.just("timeout")
)
outcomes = st.lists(st.builds(Outcome, sample=st.just(SAMPLE), turns=st.lists(answered | failed).map(tuple)))


@given(outcomes)
def test_every_item_and_every_record_is_in_exactly_one_place(rows):
    ledger = Ledger()
    for row in rows:
        ledger.add(row)
    total = ledger.as_dict(len(rows))["total"]
    turns = [turn for row in rows for turn in row.turns]
    assert total["records"] == len(turns) == total["answered"] + sum(total["failed_records"].values())
    assert total["generated"] == sum(len(turn.kept) + len(turn.rejected) for turn in turns)
    assert total["generated"] == total["kept"] + sum(total["eliminated"].values()) + sum(total["failed"].values())
    reasons = Counter(item.reason for turn in turns for item in turn.rejected if item.status == "eliminated")
    assert total["eliminated"] == dict(reasons)


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
