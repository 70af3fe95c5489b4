"""Sums over verdicts: splits, categories, and what cannot be read."""

import pytest

from mmevol_eval.benchmark import Graded, Item, Question
from mmevol_eval.benchmarks import find
from mmevol_eval.grading.tables import by_split, by_split_or_category


def row(number, score, **fields):
    return Graded(Item(index=str(number), question="?", **fields), score, "", "rule")


def test_rows_without_a_split_count_in_the_overall_of_all_rows_alone():
    # Splits dev (1 of 1), val (0 of 2), and a row without one: 2 of 4 overall.
    rows = [row(1, 1.0, split="dev"), row(2, 0.0, split="val"), row(3, 0.0, split="val"), row(4, 1.0)]
    assert by_split(rows) == {"Overall": 50, "dev|Overall": 100, "val|Overall": 0}


def test_a_category_of_the_same_name_takes_the_place_of_an_l2_category():
    # l2 `math`: 1 of 2; category `math`: 0 of 1. The kit's table has one column of that name, the category's.
    rows = [row(1, 1.0, l2_category="math", category="x"), row(2, 0.0, l2_category="math", category="math")]
    assert by_split(rows) == {"Overall": 50, "x": 100, "math": 0}


def test_short_answers_are_listed_by_split_or_else_by_category():
    rows = [row(1, 1.0, split="a", category="c"), row(2, 0.0, category="c")]
    assert by_split_or_category(rows) == {"Overall": 50, "a": 100}
    assert by_split_or_category([row(1, 1.0, category="c")]) == {"Overall": 100, "c": 100}


class Says:
    name, concurrency = "says", 1

    def __init__(self, text):
        self.text = text

    def ask(self, question: Question) -> str:
        return self.text


@pytest.mark.parametrize(
    ("review", "parsed"),
    [("8 7\nfine", "8 7"), ("8, 7", ""), ("8,7", "8 7"), ("8 7 ", ""), ("8 7\r", "8 7"), ("nan 5", ""), ("inf 5", "")],
)
def test_two_ratings_need_one_space_between_them_and_are_numbers(review, parsed):
    # "8, 7": the comma becomes a space, which makes two.
    item = Item(index="1", question="?", extra={"caption": "c", "gpt4_ans": "a"})
    verdict = find("LLaVABench").grade(item, "x", "vlmevalkit", Says(review))
    assert (verdict.parsed, verdict.method) == (parsed, "judge" if parsed else "none")


def test_an_empty_list_of_answers_is_a_text_and_stops_nothing():
    item = Item(index="1", question="?", answer="[]")
    for name in ("GQA", "TextVQA", "OCRBench"):
        assert find(name).grade(item, "x", "vlmevalkit", None).score == 0
