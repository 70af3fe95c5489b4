import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import MMEVOL, VLMEVALKIT, Item
from mmevol_eval.benchmarks import find, gqa
from mmevol_eval.grading import loose, vqa, yes_no
from mmevol_eval.grading.tsv import answers_of
from mmevol_eval.protocol import default_rules


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("Yes", "Yes"),
        ("No, it is not.", "No"),
        ("yes/no", "Unknown"),  # the slash becomes a space: both words
        ("yes-3,4 no", "No"),  # digit-comma-digit: every mark is deleted, "yes34" is no yes
        ("3,4 yes-no", "Unknown"),  # ... and "yesno" is neither
        ("There is none", "Unknown"),
        ("NO!", "No"),
        ("", "Unknown"),
        ("nothing", "Unknown"),
    ],
)
def test_yes_or_no_is_read_when_exactly_one_of_the_words_occurs(reply, found):
    assert yes_no.extract(reply, VLMEVALKIT) == found


def test_a_period_after_a_digit_hides_the_word_in_the_kit_only():
    # "3.yes": the kit keeps a period that follows a digit, so the word is "3.yes"; the old copy makes it "3yes".
    # "is 3. no": the kit's words are is, 3., no.
    assert yes_no.extract("is 3. no", VLMEVALKIT) == "No"
    assert vqa.strip_punctuation("747.", keep_after_digit=True) == "747."
    assert vqa.strip_punctuation("747.", keep_after_digit=False) == "747"
    assert vqa.strip_punctuation("3.5.", keep_after_digit=False) == "3.5"


def test_only_the_first_32_periods_are_removed_as_in_the_sources():
    # re.UNICODE is 32 and stands where `sub` takes a count.
    assert vqa.strip_punctuation("." * 40, keep_after_digit=False) == "." * 8
    assert yes_no.extract("." * 40 + "yes", VLMEVALKIT) == "Unknown"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Cat", "cat"),
        ("two  dogs", "2 dogs"),
        ("none", "0"),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("somebody'd", "somebodyd"),
        ("ice-cream", "ice cream"),  # no space beside the hyphen: replaced by one
        ("ice - cream", "ice cream"),  # a space beside it: deleted
        ("1,000 people", "1000 people"),
        ("it is 5:30", "it is 5:30"),
        ("a\nb", "b"),  # new line to space, the article drops
    ],
)
def test_vqa_normalisation_follows_the_official_steps(text, normal):
    assert vqa.normalise(text) == normal


def records(*answers):
    return [{"answer": answer, "answer_confidence": "yes", "answer_id": n} for n, answer in enumerate(answers, 1)]


def test_vqa_accuracy_is_the_mean_over_references_of_agreement_among_the_others():
    # "cat" x 3, "dog" x 7. For each of the 3 the other two agree: 2/3; for each of the 7 all three: 1.
    # (3 x 2/3 + 7 x 1) / 10 = 0.9
    score, _ = vqa.official_accuracy("the Cat", records(*["cat"] * 3, *["dog"] * 7))
    assert score == pytest.approx(0.9)


def test_unanimous_references_are_compared_raw():
    assert vqa.official_accuracy("Yes", records(*["yes"] * 10))[0] == 0
    assert vqa.official_accuracy(vqa.for_submission("Yes"), records(*["yes"] * 10))[0] == 1
    assert vqa.official_accuracy("Yes", records(*["yes"] * 9, "no"))[0] == 1
    assert vqa.accuracy("Yes", ["yes"] * 10, True) == 1  # the kit always normalises


@settings(deadline=None)  # what is measured is another process's work as well
@given(st.text())
def test_no_text_can_break_the_word_rules(text):
    for keep in (True, False):
        assert "  " not in vqa.normalise(text, keep_after_digit=keep)
    assert yes_no.extract(text, MMEVOL) in {"Yes", "No", "Unknown"}
    assert 0 <= vqa.official_accuracy(text, records("a", "b", text))[0] <= 1
    assert isinstance(loose.right(loose.prepared(text, 2, False), "12", False), bool)
    loose.markers(text)
    assert 0 <= loose.rouge_l(text, "a b c") <= 1


def test_gqa_strips_case_in_the_kit_final_periods_in_llava_and_nothing_officially():
    item = Item(index="1", question="?", answer="yes")
    profiles = ("vlmevalkit", "official", "llava_submission")
    scores = {reply: [gqa.grade(item, reply, rules, None).score for rules in profiles] for reply in ("Yes.", " YES ")}
    assert scores == {"Yes.": [0, 0, 1], " YES ": [1, 0, 0]}


@pytest.mark.parametrize(
    ("said", "gold", "verdict"),
    [
        ("The answer is 104. Because", "100", True),  # within 5 percent
        ("106", "100", False),
        ("about 98 or 40", "100", True),  # any number of two and more digits
        ("7", "7%", True),
        ("5 cm", "5", True),  # a number and one word: the word is a unit
        ("5cm", "5", True),
        ("3 apples.", "3", True),
        ("3b", "3", False),
        ("3 or 4 apples", "3", False),  # official as well: single digits inside a text are not found
        ("b", "b.", True),
        ("b and c", "b", False),  # a single letter wants equality
        ("[1, 2]", "[1, 2]", True),
        ("(12, 15)", "(12, 15)", False),  # the source cannot succeed here
        ("red", "dark red", True),
        ("it is dark red indeed", "dark red", True),
        ("", "red", False),
    ],
)
def test_self_instruct_answers_are_compared_loosely(said, gold, verdict):
    assert loose.right(loose.prepared(said, 2, False), loose.prepared(gold, 1, False), False) is verdict


@pytest.mark.parametrize(
    ("said", "gold", "score"),
    [
        ("the black cat sat", "the cat sat on it", 6 / 9),  # shared: the cat sat (3) of 4 and of 5: 2 x 3 / 9
        ("a a b", "a b b", 1),  # words count once: a, b of a, b
        ("the cat sat. it ran", "it ran. the cat sat", 1),  # sentence by sentence, whatever their order
        ("b a. c", "a b. c", 2 / 3),  # one word of "a b" and "b a", and c: 2 of 3 on both sides
        ("", "a", 0),
        (".", "a", 0),
    ],
)
def test_rouge_l_counts_the_words_shared_by_any_two_sentences_once(said, gold, score):
    assert loose.rouge_l(said, gold) == pytest.approx(score, abs=1e-7)


@pytest.mark.parametrize(
    ("cell", "answers"),
    [("['a', 'b']", ["a", "b"]), ("[12]", ["12"]), ("[not a list]", ["[not a list]"]), ("(1, 2)", ["(1, 2)"])],
)
def test_a_cell_of_answers_is_a_list_only_when_it_is_a_list_literal(cell, answers):
    assert answers_of(cell) == answers


@pytest.mark.parametrize("name", ["MME", "POPE", "MMStar", "HallusionBench", "AI2D_TEST", "OCRBench", "TextVQA", "GQA"])
@settings(deadline=None)
@given(reply=st.text(), answer=st.text())
def test_no_reply_and_no_answer_can_break_a_grader(name, reply, answer):
    item = Item(index="1", question="?", answer=answer, options={"A": answer, "B": "x"})
    for rules in (VLMEVALKIT, MMEVOL):
        verdict = find(name).grade(item, reply, rules, None)
        assert 0 <= verdict.score <= 1
        assert verdict.method in {"rule", "none"}
        assert verdict.score == 0 or verdict.method == "rule"


def test_self_instruct_takes_the_official_rules_where_their_models_are_installed(tmp_path, monkeypatch):
    benchmark = find("MMSInst")
    monkeypatch.setattr(loose, "_tagger", lambda: None)
    monkeypatch.setattr(loose, "_wordnet", lambda: None)
    assert default_rules(benchmark, tmp_path) == "official"

    def absent():
        raise UserError("not installed")

    monkeypatch.setattr(loose, "_wordnet", absent)
    assert default_rules(benchmark, tmp_path) == "without_nlp"
    assert default_rules(find("VQAv2"), tmp_path) == "official"
