"""Verdicts of the official functions, recorded by running them unmodified on made-up replies.

`golden/official.json` holds what VLMEvalKit at e8e78f05 (`can_infer`, `YOrN_Extraction`, `process_answer`) and the copy
in MMEvol at 4ba46699 said about each; an empty letter means that they found none.
"""

import json
from pathlib import Path

import pytest

from mmevol_eval.benchmark import MMEVOL, VLMEVALKIT
from mmevol_eval.grading import choice, vqa, yes_no

OFFICIAL = json.loads((Path(__file__).parent / "golden" / "official.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("rules", [VLMEVALKIT, MMEVOL])
def test_letters_are_those_of_the_official_function(rules):
    for row in OFFICIAL["choice"]:
        options = dict(zip("ABCDE", row["options"], strict=False))
        assert (choice.infer(row["reply"], options, rules) or "") == row[rules], row


@pytest.mark.parametrize("rules", [VLMEVALKIT, MMEVOL])
def test_yes_and_no_are_those_of_the_official_function(rules):
    for row in OFFICIAL["yes_no"]:
        assert yes_no.extract(row["reply"], rules) == row[rules], row


@pytest.mark.parametrize("rules", [VLMEVALKIT, MMEVOL])
def test_short_answers_are_normalised_as_officially(rules):
    for row in OFFICIAL["words"]:
        assert vqa.normalise(row["text"], keep_after_digit=rules == VLMEVALKIT) == row[rules], row
