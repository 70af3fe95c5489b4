import json

import pytest

from mmevol_core.errors import UserError
from mmevol_core.files import write_json, write_jsonl
from mmevol_eval.submission import write_submission


def folder(path, **splits):
    for split, ids in splits.items():
        name = {"dev": "v2_OpenEnded_mscoco_test-dev2015_questions", "test": "v2_OpenEnded_mscoco_test2015_questions"}
        questions = [{"question_id": index, "image_id": 1, "question": "?"} for index in ids]
        write_json(path / f"{name[split]}.json", {"questions": questions})
    return path


def predictions(path, replies):
    write_jsonl(path, [{"index": index, "prediction": text} for index, text in replies.items()])
    return path


def test_the_file_has_every_test_question_and_answers_as_llava_converts_them(tmp_path):
    data = folder(tmp_path / "q", dev=[2, 4], test=[1, 2, 3, 4])
    replies = predictions(tmp_path / "p.jsonl", {2: "The Two Dogs.", 4: "Yes, it's"})
    counts = write_submission("VQAv2", data, replies, tmp_path / "s.json")
    assert counts == {"questions": 4, "empty": 2}
    assert json.loads((tmp_path / "s.json").read_text()) == [
        {"question_id": 1, "answer": ""},
        {"question_id": 2, "answer": "2 dogs"},  # the article goes, the number word becomes a digit
        {"question_id": 3, "answer": ""},
        {"question_id": 4, "answer": "yes it 's"},  # LLaVA sets 's apart
    ]


@pytest.mark.parametrize(
    ("splits", "replies", "message"),
    [
        ({"test": [1, 2]}, {1: "a"}, "1 of 2 questions have no reply.*first: 2"),
        ({"dev": [1], "test": [1, 2]}, {1: "a", 9: "b"}, "question 9 is not among the 2"),
        ({"dev": [1, 3], "test": [1, 2]}, {1: "a", 3: "b"}, "question 3 is not among|test-dev has questions"),
    ],
)
def test_an_incomplete_or_mistaken_file_is_not_written(tmp_path, splits, replies, message):
    data = folder(tmp_path / "q", **splits)
    with pytest.raises(UserError, match=message):
        write_submission("VQAv2", data, predictions(tmp_path / "p.jsonl", replies), tmp_path / "s.json")
    assert not (tmp_path / "s.json").exists()


def test_a_benchmark_that_has_no_server_is_refused(tmp_path):
    with pytest.raises(UserError, match="unknown submission 'POPE'"):
        write_submission("POPE", tmp_path, tmp_path / "p.jsonl", tmp_path / "s.json")
