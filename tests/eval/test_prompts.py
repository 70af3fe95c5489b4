import io

import pytest
from PIL import Image

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import Item
from mmevol_eval.benchmarks import find


def png(width, height, colour):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


RED, BLUE = png(30, 20, "red"), png(10, 40, "blue")
CHOICE = Item(index="1", question="Where?", options={"A": "up", "B": "None"}, images=(RED,), extra={"hint": "Look."})


def test_the_kit_puts_hint_question_options_and_a_request_after_the_image():
    message = find("MMStar").prompt(CHOICE, "vlmevalkit")
    assert message.parts == (
        RED,
        "Hint: Look.\nQuestion: Where?\nOptions:\nA. up\nB. None\n"
        "Please select the correct answer from the options above. \n",
    )


def test_word_questions_end_in_the_request_for_a_word():
    item = Item(index="1", question="What?", images=(RED,))
    assert find("GQA").prompt(item, "vlmevalkit").parts[1] == (
        "What?\nAnswer the question using a single word or phrase."
    )


def test_mmmu_images_stand_where_the_text_names_them():
    item = Item(index="1", question="See <image 2> then <image 1>.", images=(RED, BLUE))
    assert find("MMMU_DEV_VAL").prompt(item, "vlmevalkit").parts == ("Question: See ", BLUE, " then ", RED, ".\n")
    with pytest.raises(UserError, match="names <image 3> and has 2"):
        find("MMMU_DEV_VAL").prompt(Item(index="1", question="<image 3>", images=(RED, BLUE)), "vlmevalkit")


def test_mmevol_replaces_the_request_of_mme_and_appends_its_own_elsewhere():
    mme = find("MME").prompt(Item(index="1", question="A cat? Please answer yes or no.", images=(RED,)), "mmevol")
    star = find("MMStar").prompt(CHOICE, "mmevol")
    assert mme.parts[1].startswith("A cat? \nAnswer the question")
    assert mme.parts[1].count("Answer the question") == 1
    assert star.parts[1].endswith("Check carefully to make sure your answer is correct.")
    assert "select the letter" in star.system


def test_mmevol_pastes_images_side_by_side_and_its_defect_is_behind_a_switch():
    item = Item(index="1", question="Compare <image 1> and <image 2>.", options={"A": "x"}, images=(RED, BLUE))
    (sheet, text), (lone, _) = (find("MMMU_DEV_VAL").prompt(item, p).parts for p in ("mmevol", "mmevol_compat"))
    with Image.open(io.BytesIO(sheet)) as picture:
        assert picture.size == (30 + 10 + 10, 40)
        # the red image is centred: rows 10 to 29; the gap is black
        assert [picture.getpixel(place) for place in ((5, 5), (5, 20), (35, 20), (45, 1))] == [
            (0, 0, 0), (255, 0, 0), (0, 0, 0), (0, 0, 255),
        ]  # fmt: skip
    assert "Compare the first image and the second image." in text
    assert lone == BLUE


def test_mmevol_asks_what_its_scripts_ask_without_the_check_of_its_kit():
    item = Item(index="1", question="What is it?", images=(RED,))
    system = "You are a helpful assistant."
    for name, text in (
        ("GQA", "What is it?\nAnswer the question using a single word or phrase."),
        ("VQAv2", "What is it?\nAnswer the question using a single word or phrase."),
        ("MIA-Bench", "What is it?"),
        ("MMSInst", "What is it?The answer format (do not generate any other content): The answer is <answer>."),
    ):
        message = find(name).prompt(item, "mmevol")
        assert (message.parts, message.system) == ((RED, text), system)
    assert find("TextVQA").prompt(item, "mmevol").parts[1].endswith("make sure your answer is correct.")
