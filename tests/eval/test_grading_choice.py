import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmevol_eval.benchmark import MMEVOL, VLMEVALKIT, VLMEVALKIT_02RC1, Item
from mmevol_eval.grading import choice

ANIMALS = {"A": "cat", "B": "catfish", "C": "red dog", "D": "12"}
KIT, PACKAGE, FORK = VLMEVALKIT, VLMEVALKIT_02RC1, MMEVOL
LONG = "word " * 30  # 150 characters: more than twice the 18 of all options


@pytest.mark.parametrize(
    ("reply", "kit", "package", "fork"),
    [
        ("B", "B", "B", "B"),
        ("(B).", "B", "B", "B"),  # brackets and stops become spaces
        ("b", None, None, None),  # letters are case-sensitive, and "b" is no option's text
        ('"B"', None, None, None),  # quotes stay, so the word is not the bare letter
        ("A or B", None, None, None),  # two letters, and no option's text in "a or b"
        ("B because it is the biggest one", None, None, "B"),  # 7 words: place 0 is not in the last four (kit)
        ("I am quite sure that B it is", "B", "B", "B"),  # place 5 of 8 is in the last four
        ("The answer is b", "B", None, None),  # only the newest kit reads "answer is x", in any case
        ("The answer is dog-like", "D", None, None),  # ... without a word boundary: the d of dog
        ("a red dog", "C", "C", "C"),  # one option's text inside
        ("catfish", None, None, None),  # "cat" is inside too: two candidates
        ("cat", "A", "A", "A"),
        (f"{LONG} red dog", None, None, "C"),  # too long for the kit's text rule
        ("Z", "Z", "Z", "Z"),
        ("Cannot determine the answer B", "Z", "Z", "Z"),
        ("Failed to obtain answer via API. red dog", None, None, "C"),  # letter rule only; 40 > 2 x 18 characters
        ("", None, None, None),
        ("A cat sits on it", "A", "A", "A"),  # words A cat sits on it: place 0 of 5 is not in the last four, but "cat"
        ("答案是B", None, None, None),
    ],
)
def test_a_reply_becomes_the_letter_that_each_version_reads(reply, kit, package, fork):
    # Options: cat (3) + catfish (7) + red dog (7) + 12 (2) = 19 characters; the text rule gives up beyond 38.
    assert [choice.infer(reply, ANIMALS, rules) for rules in (KIT, PACKAGE, FORK)] == [kit, package, fork]


@given(st.text(), st.dictionaries(st.sampled_from("ABCDEFGHI"), st.text(), max_size=9), st.sampled_from([KIT, FORK]))
def test_no_reply_can_break_the_rules(reply, options, rules):
    letter = choice.infer(reply, options, rules)
    assert letter is None or letter in {*options, "Z"}


class Answers:
    """A judge that says what it is told to, and remembers the calls."""

    name, concurrency = "scripted", 1

    def __init__(self, *replies):
        self.replies, self.calls = replies, []

    def ask(self, question):
        self.calls.append(question)
        return self.replies[min(question.call, len(self.replies) - 1)]


def test_the_judge_is_asked_only_when_no_rule_reads_the_reply_and_three_times_at_most():
    item = Item(index="1", question="Which?", options=ANIMALS, answer="C")
    judge = Answers("no idea", "still none", "(C)")
    assert choice.grade(item, "C", KIT, judge).method == "rule"
    assert judge.calls == []
    verdict = choice.grade(item, "the canine", KIT, judge)
    assert (verdict.score, verdict.parsed, verdict.method, len(judge.calls)) == (1.0, "C", "judge", 3)


def test_an_unreadable_reply_is_wrong_and_never_a_guess():
    item = Item(index="1", question="Which?", options=ANIMALS, answer="C")
    judge = Answers("hm")
    verdicts = [choice.grade(item, "the canine", KIT, judge) for _ in range(20)]
    assert {(v.score, v.parsed, v.method) for v in verdicts} == {(0.0, "", "none")}
    assert len(judge.calls) == 20 * 3
