"""The scripted teacher's verdicts."""

import json

import pytest

from mmevol_dataengine.scripted_teacher.answer import reply_to

PLAIN = {"question": "What color is the shape?", "answer": "red"}


def verdict(after, before=PLAIN, caption="A small red circle in the top left of the picture."):
    data = json.dumps({"caption": caption, "pairs": [{"id": "p1", "before": before, "after": after}]})
    (found,) = json.loads(reply_to(f"Judge.\nTASK: score\nINPUT:\n{data}").content)
    assert found["id"] == "p1"
    assert found["improved"] in ("yes", "no")
    assert 0 <= found["score"] <= 10
    assert found["reason"]
    return found


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("what color is the shape", "red", "unchanged"),
        ("What color is the circle?", "blue", "contradicts"),
        ("What shape is the red shape?", "triangle", "contradicts"),
        ("Is there a circle?", "no", "contradicts"),
        ("Do you see a blue circle?", "yes", "contradicts"),
        ("How much is 2 plus 2?", "4", "without the image"),
        ("Which half holds the shape?", "I'm sorry, I cannot help with this picture.", "refusal"),
        ("", "red", "empty"),
    ],
)
def test_a_flaw_means_not_improved_and_score_0(question, answer, reason):
    found = verdict({"question": question, "answer": answer})
    assert (found["improved"], found["score"]) == ("no", 0)
    assert reason in found["reason"]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("On which side of the picture is the shape, left or right?", "left"),
        ("What color is the circle in the picture?\nA. blue\nB. red", "B"),
        ("Is the shape red and in the top half? Explain your answer.", "It is red in the top half. The answer is yes."),
    ],
)
def test_a_grounded_rewrite_is_improved(question, answer):
    assert verdict({"question": question, "answer": answer})["improved"] == "yes"


def test_a_longer_line_of_thought_scores_higher_than_a_plain_question():
    plain = verdict({"question": "Is the shape on the left or right?", "answer": "left"})
    long = verdict({"question": "If the shape is red, name its side, otherwise its size. Think step by step.",
                    "answer": "It is red, so I name its side. So the answer is left."})  # fmt: skip
    assert long["score"] > plain["score"]


def test_a_far_simpler_question_than_before_is_not_improved():
    before = {
        "question": "If the shape is red and in the top half, name its side, otherwise its size. Think step by step.",
        "answer": "It is red and in the top half, so I name its side, which is left. So the answer is left.",
    }
    found = verdict({"question": "Which half is it?", "answer": "left"}, before)
    assert (found["improved"], found["score"] > 0) == ("no", True)


def test_a_wrong_digit_is_refused_and_a_sum_is_not():
    caption = "There is a large handwritten digit 7 in the center part."
    assert verdict({"question": "Which digit do you see?", "answer": "1"}, caption=caption)["improved"] == "no"
    summed = {
        "question": "What is the digit plus 2? Say why.",
        "answer": "The digit is 7, and 7 plus 2 is 9. The answer is 9.",
    }
    assert verdict(summed, caption=caption)["improved"] == "yes"
