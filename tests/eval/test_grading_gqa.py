"""GQA with its official questions: the numbers of eval.py, by hand."""

import pytest

from mmevol_core.files import write_json, write_jsonl
from mmevol_eval.score import score_file


def question(answer, entailed=(), *, balanced=True, structural="query", detailed="attr"):
    return {
        "question": "What colour is it?",
        "answer": answer,
        "isBalanced": balanced,
        "imageId": "7",
        "types": {"structural": structural, "semantic": "attr", "detailed": detailed},
        "groups": {"global": None},
        "semantic": [{"operation": "select", "argument": "dog (1)"}, {"operation": "query", "argument": "name"}],
        "entailed": list(entailed),
    }


def scored(folder, questions, replies, rules="official", choices=None):
    write_json(folder / "gqa" / "val_all_questions.json", questions)
    if choices:
        write_json(folder / "gqa" / "val_choices.json", choices)
    write_jsonl(folder / "p.jsonl", [{"index": index, "prediction": said} for index, said in replies.items()])
    return score_file("GQA", folder / "gqa", folder / "p.jsonl", folder / "out.json", protocol=rules)


QUESTIONS = {
    "1": question("red", ["1", "2", "3"]),
    "2": question("yes", ["1"], structural="verify"),
    "3": question("no", balanced=False),
    "4": question("dog", ["3"]),
}
REPLIES = {"1": "red", "2": "yes", "3": "yes", "4": "cat"}


def test_consistency_is_the_accuracy_over_what_right_answers_entail(tmp_path):
    # 1 is right: of 2 and 3 (itself is left out) one is right, 1/2. 2 is right: 1 is, 1/1. 4 is wrong: not counted.
    result = scored(tmp_path, QUESTIONS, REPLIES)
    assert result["scores"]["consistency"] == pytest.approx(100 * (1 / 2 + 1) / 2)
    assert [item["index"] for item in result["items"]] == ["1", "2", "4"]  # 3 is not balanced
    assert result["unused_predictions"] == 0  # and yet read
    assert (result["scores"]["binary"], result["scores"]["open"]) == (100, 50)
    assert result["scores"]["steps|1"] == pytest.approx(200 / 3)  # `query: name` is no step


def test_consistency_reads_entailed_replies_by_the_same_rules(tmp_path):
    replies = REPLIES | {"1": "Red.", "3": "No.."}
    assert scored(tmp_path, QUESTIONS, replies, "llava_submission")["scores"]["consistency"] == 100


def test_consistency_is_left_out_unless_every_entailed_question_was_asked(tmp_path):
    asked = {index: said for index, said in REPLIES.items() if index != "3"}
    assert "consistency" not in scored(tmp_path, QUESTIONS, asked)["scores"]
    gone = {index: row for index, row in QUESTIONS.items() if index != "3"}
    assert "consistency" not in scored(tmp_path, gone, REPLIES)["scores"]


def test_validity_and_plausibility_need_the_choices(tmp_path):
    # Valid: red of (red, blue), yes of (yes, no), not cat; plausible: red alone of its list. 2/3 and 1/3.
    choices = {
        "1": {"valid": ["red", "blue"], "plausible": ["red"]},
        "2": {"valid": ["yes", "no"], "plausible": ["no"]},
        "4": {"valid": ["dog"], "plausible": ["dog"]},
    }
    scores = scored(tmp_path, QUESTIONS, REPLIES, choices=choices)["scores"]
    assert (scores["validity"], scores["plausibility"]) == (pytest.approx(200 / 3), pytest.approx(100 / 3))
    common = QUESTIONS | {"4": question("shape", detailed="twoCommon")}
    scores = scored(tmp_path, common, REPLIES | {"4": "color"}, choices=choices)["scores"]
    assert scores["validity"] == 100  # what two things have in common: color, material or shape
    (tmp_path / "gqa" / "val_choices.json").unlink()
    assert not {"validity", "plausibility"} & scored(tmp_path, QUESTIONS, REPLIES)["scores"].keys()
