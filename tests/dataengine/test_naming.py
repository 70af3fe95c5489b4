"""Which box a text speaks of; where that is in doubt no check decides, where it is plain every check does."""

import time
from dataclasses import replace

import pytest

from mmevol_core.sample import QA, Box, Sample, Text
from mmevol_dataengine.naming import names, several
from mmevol_dataengine.verify import Case, Rules, findings

LEFT, RIGHT = (0.1, 0.1, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9)


def found(question, answer, *labels, ocr=(), style="instruction_following", parent="What is shown?", complete=False):
    item = QA(id="i", question=question, answer=answer, skills=("existence",), format=style)
    boxes = tuple(Box(label=label, xyxy=(LEFT, RIGHT, LEFT)[place]) for place, label in enumerate(labels))
    texts = tuple(Text(text=text) for text in ocr)
    sample = Sample(id="s", images=("a.jpg",), caption="A scene.", boxes=boxes, ocr=texts)
    before = QA(id="p", question=parent, answer="A scene", skills=("existence",))
    case = Case(item, before, sample, "interaction", frozenset(), Rules(), complete)
    return [finding.check for finding in findings(case)]


@pytest.mark.parametrize(
    ("text", "label", "expected"),
    [
        ("dog", "dog", True),
        ("dogs", "Dog", True),
        ("hot dogs", "hot dog", True),
        ("dog", "small black dog", True),
        ("the red object", "red circle", True),
        ("digit", "digit 5", True),
        ("people", "person", True),
        ("gray car", "grey car", True),
        ("dog", "cat", False),
        ("red circle", "blue circle", False),
        ("digit 5", "digit 6", False),
        ("person", "flower", False),
        ("dog", "hot dog", None),
        ("bear", "teddy bear", None),
        ("plate", "license plate", None),
        ("apple", "apple juice", None),
        ("dog collar", "black dog", None),
        ("tie of the man", "man in blue suit", None),
        ("red shape", "red car", None),
        ("person", "skier", None),
        ("person", "player 1", None),
        ("persons", "man", None),
        ("vehicle", "car", None),
        ("object", "dog", None),
        ("white cup", "cup", None),
    ],
)
def test_only_equal_names_are_sure_up_to_colours_sizes_and_numbers(text, label, expected):
    assert names(text, label) is expected


def test_labels_of_several_things_are_told():
    assert all(map(several, ["cars", "people", "bunch of grapes", "a cup and a plate"]))
    assert not any(map(several, ["bus", "red dress", "car", "digit 5"]))


@pytest.mark.parametrize(
    ("question", "answer", "labels"),
    [
        ("How many cars are there?", "5", ["cars"]),
        ("How many people are in the image?", "Three.", ["group of people"]),
        ("How many dogs are there in the picture?", "One", ["dog", "hot dog"]),
        ("How many bears are visible?", "1", ["bear", "teddy bear"]),
        ("How many plates are there in the image?", "1", ["plate", "license plate"]),
        ("How many persons are there?", "3", ["person", "man", "woman"]),
        ("How many eggs are there?", "one dozen", ["egg"]),
        ("Is there a fire in the image?", "No, there is no fire.", ["fire hydrant"]),
        ("Is there a dog in the image?", "No.", ["hot dog"]),
        ("Is there any other dog in the image?", "No.", ["dog"]),
        ("Is there a horse in this photo?", "No", ["horse statue"]),
        ("What color is the dog collar?", "Red", ["black dog"]),
        ("Is the dog collar red?", "Yes", ["black dog"]),
        ("What color is the tie of the man?", "Red", ["man in blue suit"]),
        ("Where is the tail of the dog in the image?", "On the left.", ["cat", "dog"]),
        ("Which side of the image is the dog looking to?", "Left", ["cat", "dog"]),
        ("Where is the shadow cast by the tree?", "Left side", ["cat", "tree"]),
        ("Where on the plate is the fork?", "left", ["cat", "plate"]),
        ("Which object is missing?\nA. bear\nB. bed", "A", ["teddy bear", "bed"]),
        (f"What is at {list(LEFT)}?", "A puppy", ["dog"]),
        (f"Does the region {list(LEFT)} show a dog?", "No", ["hot dog"]),
    ],
)
def test_about_an_object_in_doubt_no_check_decides(question, answer, labels):
    assert found(question, answer, *labels, complete=f"{list(LEFT)}" in question) == []


@pytest.mark.parametrize(
    ("check", "question", "answer"),
    [
        ("count_wrong", "How many dogs do you see in the picture?", "4"),
        ("count_wrong", "How many dogs appear in the image?", "4"),
        ("count_wrong", "How many dogs are there in total?", "4"),
        ("count_wrong", "How many dogs are there?", "Twelve"),
        ("count_wrong", "How many dogs are there?", "None"),
        ("count_wrong", "How many women are there?", "7"),
        ("existence_wrong", "Are there dogs?", "No"),
        ("existence_wrong", "Is there a dog visible in the image?", "There is no dog."),
        ("attribute_wrong", "What colour is the dog?", "Red"),
        ("place_wrong", "Where is the dog in the image?", "On the right."),
        ("option_wrong", "Which object is missing?\nA. dog\nB. bed", "A"),
        ("boxes_range", "Give its box.", "[120, 40, 300, 500]"),
        ("boxes_given", "Locate the dog with its box.", "<box>0.7,0.7,0.9,0.9</box>"),
        ("boxes_given", "Locate the dog.", "dog [[0.7, 0.7], [0.9, 0.9]]"),
        ("refusal", "What is this?", "As a large language model, I cannot view images."),
        ("refusal", "What is this?", "I apologize, but I am not able to view the image you mention."),
        ("refusal", "What is this?", "I don't have the ability to see images."),
        ("refusal", "What is this?", "I'm unable to view images directly."),
        ("refusal", "What is this?", "N/A"),
        ("refusal", "What is this?", "-"),
        ("prompt_leak", "What is this?", "Based on the provided bounding boxes, the dog is at left."),
        ("prompt_leak", "What is this?", "According to the image description, a dog is there."),
        ("prompt_leak", "What is this?", "The description mentions a dog."),
    ],
)
def test_a_plain_mistake_about_the_one_object_is_found(check, question, answer):
    assert found(question, answer, "black dog", "woman")[0] == check


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the price of the original item?", "$20"),
        ("What changed compared with previous versions listed in the table?", "Speed"),
        ("What does the caption say about the year?", "1999"),
        ("According to the caption below the photograph, who is the man?", "John Smith"),
        ("What stands in the last cell?", "N/A"),
        ("Write a tweet", "I'm sorry, I can do better next time!"),
        ("Which operator symbol is missing?", "-"),
    ],
)
def test_words_of_the_picture_are_no_talk_of_the_prompt(question, answer):
    assert found(question, answer, ocr=("Fig 1. in 1999", "N/A")) == []


def test_a_name_that_is_none_breaks_nothing():
    for name in ("___", "-", "②"):
        assert "existence_wrong" not in found(f"Is there a {name} in the image?", "No", "dog")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Match the objects with the provided bounding boxes in words.", "The first is the dog"),
        ("Does the given description match the image: a dog runs?", "No, it lies"),
        ("What did she do?", "She posed as a model for the painter."),
        ("What was it announced as?", "It was announced as an AI summit."),
        ("What is the slope of the vertical line?", "Undefined."),
        ("Which element is it?", "Na"),
        ("Who painted it?", "Unknown"),
        ("Which parts are shaded?", "The intervals [0, 0.25], [0.5, 0.75] are shaded."),
        ("What is in the box?", "(1, 2, 3, 4)"),
        ("Is there a dog?", "There is no doubt: yes."),
    ],
)
def test_words_that_only_look_like_a_refusal_a_leak_or_a_box_pass(question, answer):
    assert found(question, answer, "dog") == []


@pytest.mark.parametrize(
    "answer",
    [
        "According to the caption, in the image there is a dog.",
        "Based on the caption in the prompt, a dog.",
        "As mentioned in the caption, the dog is brown.",
    ],
)
def test_a_leak_is_one_where_the_picture_holds_text_too(answer):
    assert found("What is this?", answer, "dog", ocr=("Sold on Monday morning",)) == ["prompt_leak"]


def test_gaps_are_found_in_linear_time():
    began = time.perf_counter()
    found("(" + " " * 20_000 + "x", "y", style="fill_in_the_blank")
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("style", "question", "answer"),
    [
        ("multi_choice", "Which is it?\n**A.** cat\n**B.** dog", "**A.** cat"),
        ("multi_choice", "Which is it?\nA - cat\nB - dog", "B"),
        ("multi_choice", "Which is it? Options: cat, dog, horse.", "dog"),
        ("multi_choice", "Which is it?\ni. cat\nii. dog", "ii"),
        ("fill_in_the_blank", "The dog is (   ) on the mat.", "red"),
        ("fill_in_the_blank", "The dog is {blank}.", "red"),
        ("fill_in_the_blank", "Fill in the blank: The dog is _ on the mat", "red"),
    ],
)
def test_options_and_gaps_are_read_in_more_forms(style, question, answer):
    assert found(question, answer, style=style) == []


def test_a_letter_and_the_text_of_another_option_contradict():
    assert found("Which?\nA. cat\nB. dog", "A. dog", style="multi_choice") == ["options"]
    assert found("Which?\nA. cat\nB. dog", "A. cat", style="multi_choice") == []


def test_questions_that_differ_by_an_operator_are_no_copies():
    assert found("What is A - B?", "3", parent="What is A + B?") == []
    assert found("Is 3>4?", "No", parent="Is 3<4?") == []
    assert found("What is well known?", "No", parent="What is well-known?") == ["copy_of_parent"]


def test_one_reading_decides_only_where_the_annotations_are_complete():
    assert found("What number is written on the sign?", "30", ocr=("50",), complete=True) == ["reading_wrong"]
    assert found("What number is written on the sign?", "30", ocr=("50",)) == []


def test_rules_name_checks_and_sizes_that_exist():
    with pytest.raises(ValueError, match="unknown check 'count_wrogn'; valid: empty, "):
        Rules(skip=("count_wrogn",))
    with pytest.raises(ValueError, match="box_tolerance"):
        Rules(box_tolerance=-1)
    assert replace(Case(*[None] * 4, frozenset(), Rules(skip=("copy_of_parent",))), complete=False).rules.skip
