"""Machine checks: each rule refuses what it is for, and lets the good item pass."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmevol_core.sample import QA, SKILLS, Box, Sample, Step, Text
from mmevol_dataengine.grounding import boxes_in
from mmevol_dataengine.verify import CHECKS, Case, Rules, findings
from mmevol_dataengine.vocabulary import normal_skill

CUP, OTHER, MAN = (0.10, 0.50, 0.20, 0.65), (0.40, 0.52, 0.49, 0.66), (0.55, 0.10, 0.90, 0.95)
PARENT = QA(id="p", question="How many cups are there?", answer="2", objects=("cup",), skills=("calculating",))
SAMPLE = Sample(
    id="s",
    images=("a.png",),
    caption="A man behind a table with two white cups.",
    boxes=(Box(label="cup", xyxy=CUP), Box(label="cup", xyxy=OTHER), Box(label="man", xyxy=MAN)),
    ocr=(Text(text="OPEN", xyxy=(0.0, 0.0, 0.2, 0.1)),),
    rounds=((PARENT,),),
)
GOOD = {
    "fine_grained_perception": QA(
        id="g",
        question="What colour are the cups on the table?",
        answer="White",
        objects=("cup", "table"),
        skills=("context understanding",),
        format="open_ended",
    ),
    "cognitive_reasoning": QA(
        id="g",
        question="Is there a cup for the man and one guest? Explain how you know.",
        answer="There are two cups and two people, so yes, it is enough.",
        objects=("cup", "man"),
        skills=("calculating", "relationship description"),
        format="open_ended",
        steps=(
            Step(manipulation="grounding_1(cup)->bbx_1", description="at [0.10, 0.50, 0.20, 0.65]"),
            Step(manipulation="calculate_1(bbx_1)->res_1", description="two"),
        ),
    ),
    "interaction": QA(
        id="g",
        question="What is at [0.55, 0.10, 0.90, 0.95]?\nA. a cup\nB. a man\nC. a dog",
        answer="B",
        objects=("man",),
        skills=("referencing",),
        format="multi_choice",
    ),
}


def broken(direction="fine_grained_perception", sample=SAMPLE, parent=PARENT, rules=None, earlier=(), **changes):
    item = replace(GOOD[direction], **changes)
    case = Case(item, parent, sample, direction, frozenset(earlier), rules or Rules())
    return [finding.check for finding in findings(case)]


@pytest.mark.parametrize("direction", GOOD)
def test_a_good_item_breaks_no_rule(direction):
    assert broken(direction) == []


def step(manipulation):
    return Step(manipulation=manipulation, description="")


F, C, I = "fine_grained_perception", "cognitive_reasoning", "interaction"  # noqa: E741


@pytest.mark.parametrize(
    ("check", "direction", "changes"),
    [
        ("empty", F, {"answer": "  "}),
        ("refusal", F, {"answer": "I'm sorry, I can't see the image."}),
        ("prompt_leak", F, {"question": "According to the caption, what colour are the cups?"}),
        ("prompt_leak", F, {"answer": "As in bbx_1."}),
        ("prompt_leak", F, {"question": "Which cup of <image> is red?"}),
        ("language", F, {"question": "杯子是什么颜色的？"}),
        ("copy_of_parent", F, {"question": "how many CUPS are there"}),
        ("boxes_range", F, {"question": "What is at [10, 50, 20, 65]?"}),
        ("boxes_given", F, {"question": "What is at [0.11, 0.52, 0.30, 0.65]?"}),
        ("boxes_given", C, {"steps": (step("referring_1([0.7, 0.7, 0.8, 0.8])->tgt_1"),)}),
        ("object_unknown", F, {"objects": ("cup", "giraffe")}),
        ("count_wrong", F, {"question": "How many cups can you see in the image?", "answer": "There are three."}),
        ("count_wrong", F, {"question": "How many cups are there? Explain.", "answer": "One by one. The answer is 3."}),
        ("existence_wrong", F, {"question": "Is there a man in the picture?", "answer": "No."}),
        ("existence_wrong", F, {"question": "Is there a giraffe?", "answer": "Yes"}),
        ("skill_unknown", F, {"skills": ("juggling",)}),
        ("skill_unknown", F, {"skills": ()}),
        ("format_unknown", I, {"format": "haiku"}),
        ("options", I, {"question": "What is it?\nA. a cup"}),
        ("options", I, {"answer": "D"}),
        ("options", I, {"answer": "a horse"}),
        ("options", I, {"format": "fill_in_the_blank", "question": "The man is behind a what?"}),
        ("step_grammar", C, {"steps": (step("look at the cup"),)}),
        ("step_grammar", C, {"steps": (step("calculate_1(bbx_1)->res_1"),)}),
        ("step_grammar", C, {"steps": (step("grounding_1(cup)->bbx_1"), step("grounding_2(man)->bbx_1"))}),
        ("reasoning_cue", C, {"question": "Is there a cup for the man and one guest?"}),
        ("reasoning_cue", C, {"answer": "Yes."}),
        ("nothing_added", C, {"objects": ("cup",), "skills": ("calculating",), "steps": ()}),
        ("nothing_added", C, {"objects": ("cup", "man", "table", "white table")}),
        ("length", F, {"objects": ("cup", "man", "table", "open")}),
    ],
)
def test_each_rule_refuses_what_it_is_for(check, direction, changes):
    assert check in broken(direction, **changes)


# One object: a red circle at the left, (0.1 + 0.3) / 2 = 0.2, in the middle of the height, (0.4 + 0.6) / 2 = 0.5.
CIRCLE = "[0.1, 0.4, 0.3, 0.6]"
SCENE = Sample(
    id="c",
    images=("c.png",),
    caption="A red circle with a number.",
    boxes=(Box(label="red circle", xyxy=(0.1, 0.4, 0.3, 0.6)),),
    ocr=(Text(text="7"),),
    rounds=((QA(id="p", question="What is this?", answer="A circle"),),),
)
OPTIONS = "\nA. red\nB. blue\nC. left\nD. right"


@pytest.mark.parametrize(
    ("check", "question", "wrong", "right"),
    [
        ("place_wrong", "On which side of the picture is the red circle, left or right?", "right", "left"),
        ("place_wrong", "Where is the circle: left, center or right?", "In the center", "left"),
        ("place_wrong", "Where is the circle: top, middle or bottom?", "top", "middle"),
        ("place_wrong", f"On which side is the circle?{OPTIONS}", "D", "C"),
        ("place_wrong", f"Which half holds the circle?{OPTIONS}", "D. right", "C. left"),
        ("attribute_wrong", "What color is the circle?", "Blue", "red"),
        ("attribute_wrong", "Which shape has the red object?", "A triangle", "A circle"),
        ("attribute_wrong", f"What colour is the circle?{OPTIONS}", "B", "A"),
        ("attribute_wrong", "Is the circle red?", "No", "Yes"),
        ("attribute_wrong", "Is the shape a square?", "yes", "no"),
        ("statement_wrong", "Is this right: a red circle in the left half?", "no", "yes"),
        ("statement_wrong", "Does this text fit the picture: a red circle in the right part?", "yes", "no"),
        ("statement_wrong", "Is this true: a blue circle in the left part?", "Yes", "No"),
        ("region_wrong", f"Does the region {CIRCLE} hold a red circle?", "no", "yes"),
        ("region_wrong", f"Is the object in {CIRCLE} a blue circle?", "Yes.", "No."),
        ("region_wrong", f"Name the object in {CIRCLE}.", "a dog", "a circle"),
        ("option_wrong", "Which object is missing?\nA. red circle\nB. green dog", "A", "B"),
        ("reading_wrong", "Which number can you read?", "8", "7"),
        ("reading_wrong", "Does the number say 8?", "yes", "no"),
        ("existence_wrong", "Is there no red circle here?", "yes", "no"),
        (
            "sum_wrong",
            "What is the digit minus 1? Say why.",
            "It shows 7. 7 minus 1 is 5.",
            "7 minus 1 is 6, of course.",
        ),
        (
            "sum_wrong",
            "What is the digit plus 2? Say why.",
            "7 + 2 = 9. So the answer is 8.",
            "7 + 2 = 9. So the answer is 9.",
        ),
        ("sum_wrong", "Is it odd? Say why.", "The digit is 7, and 7 is even.", "The digit is 7, and 7 is odd."),
        (
            "sum_wrong",
            "Even or odd? Say why.",
            "7 is an odd number. The answer is even.",
            "7 is odd. The answer is odd.",
        ),
        ("sum_wrong", "Is it an even number? Say why.", "7 is odd. The answer is yes.", "7 is odd. The answer is no."),
        (
            "sum_wrong",
            "Has it more than 5 sides? Say why.",
            "It has 4. The answer is yes.",
            "It has 4. The answer is no.",
        ),
        ("sum_wrong", "Is it less than 5? Say why.", "It shows 7. The answer is yes.", "It shows 7. The answer is no."),
    ],
)
def test_an_answer_that_the_annotations_or_its_own_reasons_deny_is_found(check, question, wrong, right):
    def found(answer):
        item = replace(GOOD[F], question=question, answer=answer, objects=("circle",))
        return [finding.check for finding in findings(Case(item, PARENT, SCENE, F, frozenset(), Rules()))]

    assert check in found(wrong)
    assert found(right) == []


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("If the picture is mirrored, on which side is the circle?", "right"),
        ("What is to the left of the circle?", "the right edge"),
        ("On which side of the man is the circle, left or right?", "right"),
        ("What color is the dog's collar?", "blue"),
        ("What colour would a second circle on the right side have?", "blue"),
        ("Which number comes after the one you read?", "8"),
        ("How many more than 5 are there if 2 come and 3 go?", "It has 4. The answer is yes."),
        ("Is the picture without a circle?", "no"),
        ("Is the left circle larger than 5 of the others?", "I see 2 and 9 of them. The answer is yes."),
    ],
)
def test_what_no_annotation_decides_passes(question, answer):
    item = replace(GOOD[F], question=question, answer=answer, objects=("circle",))
    case = Case(item, PARENT, SCENE, F, frozenset(), Rules(), complete=False)
    assert findings(case) == []


@pytest.mark.parametrize(
    "answer",
    [
        "1,200 + 300 = 1,500",
        "2 + 3 × 4 = 14",
        "2^3 + 1 = 9",
        "√9+1=4",
        "√ 9 + 1 = 4",
        "5:30+1=6:30",
        "12 mod 5+1=3",
        "1e3+1=1001",
        "log 10+1=2",
        "12 - 5 + 1 = 8",
        "-3 + 5 = 2",
        "45 + 30 = 1 hour 15",
        "3 + 4 = 2 + 5",
        "7 is even in base nine.",
        "Nobody says that 7 is even.",
        "5 + 4 = 9. The answer is 4.",
        "7 is odd, 7 plus 1 is even. The answer is even.",
    ],
)
def test_a_sum_that_is_part_of_more_is_left_alone(answer):
    assert broken(question="What comes out?", answer=answer, objects=()) == []


def test_a_limit_is_not_compared_with_a_part_of_a_number():
    assert broken(question="Is it more than 200?", answer="It is 1,200. The answer is yes.", objects=()) == []
    assert broken(question="Is it more than 1,000?", answer="It is 900. The answer is no.", objects=()) == []


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What does the sorted column hold?", "The sorted column is [3, 5, 8, 9]."),
        ("Which call places the ticks?", "ax.set_xticks([0, 1, 2, 3])"),
        ("What is the colour of the line?", "rgba (255, 0, 0, 1)"),
        ("What is the colour of the line?", "rgba(0.5, 0, 0, 1)"),
        ("Which weights are shown?", "The weights are [0.1, 0.2, 0.3, 0.4]."),
        ("What does the box plot hold?", "The box plot shows [3, 5, 8, 9]."),
        ("What prompted the man to sit?", "The bus came promptly."),
        ("What is captioned in red?", "The first panel"),
        ("Which direction: left or right?", "left"),
        ("What input: one or two?", "two"),
        ("What does the sign say?", "I'm sorry, we are closed"),
        ("What does the poster say?", "I can't help falling in love"),
        ("Which prompt does the terminal show?", "A dollar sign"),
    ],
)
def test_words_and_lists_that_only_look_like_a_fault_pass(question, answer):
    assert broken(question=question, answer=answer, objects=()) == []


def test_four_numbers_beside_a_box_word_or_a_label_are_a_box_and_those_of_the_parent_are_not_judged():
    for question in ("What is in the box [10, 50, 20, 65]?", "Which colour has the man [10, 50, 20, 65]?"):
        assert broken(question=question) == ["boxes_range", "boxes_given"]
        parent = replace(PARENT, answer="The box [10, 50, 20, 65]")
        assert broken(question=question, parent=parent) == []


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Which colour is it? (a) red (b) blue", "(b) blue"),
        ("Which colour is it? (a) red (b) blue", "b"),
        ("Which colour is it?\nA.red\nB.blue", "A.red"),
        ("Which colour is it?\nA. red\nB. blue", "Blue"),
        ("Which colour is it, e.g. of the man? 1) red 2) blue", "2"),
    ],
)
def test_options_are_read_in_their_usual_forms(question, answer):
    assert broken(I, question=question, answer=answer) == []
    assert broken(I, question=question, answer="green") == ["options"]


@pytest.mark.parametrize(
    "question",
    [
        "Count the cups: ",
        "Count the cups in the image.",
        "What is the number of cups?",
        "In the image, how many cups are there?",
    ],
)
def test_a_count_is_read_in_its_plain_forms(question):
    plain = replace(PARENT, question="What stands on the table?")
    assert broken(parent=plain, question=question, answer="3") == ["count_wrong"]
    assert broken(parent=plain, question=question, answer="2") == []


@pytest.mark.parametrize(
    "question", ["Count the dogs", "Give the total count of chairs.", "Where exactly is the dog?", "Locate the dog."]
)
def test_counting_and_locating_without_boxes_is_refused_in_all_forms(question):
    bare, plain = replace(SAMPLE, boxes=(), ocr=(), caption=""), replace(PARENT, question="What stands there?")
    assert broken(sample=bare, parent=plain, question=question) == ["needs_boxes"]


def test_texts_decide_counts_of_texts_and_of_what_they_tell_only():
    read = replace(SAMPLE, boxes=(), caption="", ocr=(Text(text="OPEN"), Text(text="Sold 42")))
    plain = replace(PARENT, question="What stands there?")
    assert broken(sample=read, parent=plain, question="How many dogs are there?", answer="3", objects=()) == [
        "needs_boxes"
    ]
    for question, answer in (("How many words are there?", "3"), ("How many units were sold?", "42")):
        assert broken(sample=read, parent=plain, question=question, answer=answer, objects=()) == []


@pytest.mark.parametrize(
    ("parent", "question", "answer", "passes"),
    [
        ("What is it?", "What colour is it?", "白色的杯子", False),
        ("Что это?", "这是什么颜色？", "白色", False),
        ("Что это?", "Какого это цвета?", "белого", True),
        ("What is it?", "What does the sign say?", "出口", True),
        ("What is it?", "Which angle is it?", "α", True),
        ("这是什么？", "这是什么牌子？", "Nike", True),
    ],
)
def test_a_change_of_script_is_found_in_question_and_answer(parent, question, answer, passes):
    found = broken(parent=replace(PARENT, question=parent), question=question, answer=answer, objects=())
    assert found == ([] if passes else ["language"])


def test_every_check_has_a_case_above():
    cases = test_each_rule_refuses_what_it_is_for.pytestmark[0].args[1]
    claims = test_an_answer_that_the_annotations_or_its_own_reasons_deny_is_found.pytestmark[0].args[1]
    assert set(CHECKS) - {case[0] for case in [*cases, *claims]} == {"duplicate", "needs_boxes"}


def test_a_question_asked_in_any_earlier_round_is_a_duplicate():
    assert broken(earlier={"what colour are the cups on the table"}) == ["duplicate"]


def test_counting_without_boxes_is_refused_unless_the_parent_counts_too():
    bare = replace(SAMPLE, boxes=(), ocr=())
    plain = replace(PARENT, question="What stands on the table?")
    question = "How many men hold a white cup?"
    assert broken(sample=bare, parent=plain, question=question) == ["needs_boxes"]
    assert broken(sample=bare, question=question) == []


def test_box_tolerance_is_a_share_of_the_image():
    question = "What is at [0.12, 0.50, 0.20, 0.65]?"  # 0.02 beside a given box
    assert broken(question=question, rules=Rules(box_tolerance=0.02)) == []
    assert broken(question=question, rules=Rules(box_tolerance=0.01)) == ["boxes_given"]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How many cups are there? Explain.", "One here and one there. The answer is 2."),
        ("How many cups are left of the man?", "1"),  # not a plain count: undecidable
        ("How many cups can you see?", "one or two"),  # no single number: undecidable
        ("Is there any object in the picture?", "yes"),
        ("Is there a white cup?", "Yes, there is."),
        ("Is there a giraffe?", "No"),
    ],
)
def test_right_and_undecidable_answers_pass(question, answer):
    assert broken(question=question, answer=answer) == []


def test_where_the_teacher_saw_more_than_the_annotations_these_cannot_deny_an_object():
    item = replace(GOOD["fine_grained_perception"], objects=("giraffe",), question="Is there a giraffe?", answer="Yes")
    case = Case(item, PARENT, SAMPLE, "fine_grained_perception", frozenset(), Rules(), complete=False)
    assert findings(case) == []
    assert {finding.check for finding in findings(replace(case, complete=True))} == {
        "object_unknown",
        "existence_wrong",
    }


def test_a_skipped_check_is_not_run():
    assert broken(objects=("giraffe",), rules=Rules(skip=("object_unknown",))) == []


def test_without_annotations_objects_are_undecidable():
    bare = replace(SAMPLE, boxes=(), ocr=(), caption="")
    assert broken(sample=bare, objects=("giraffe",)) == []


@given(st.sampled_from(SKILLS), st.sampled_from(["", " ability", " Skill"]), st.booleans())
def test_known_spellings_of_the_nine_skills_are_the_nine_skills(skill, suffix, upper):
    spelled = (skill.upper() if upper else skill.title()).replace(" ", "_") + suffix
    assert normal_skill(spelled) == skill


@given(st.tuples(*[st.floats(0, 1).map(lambda edge: round(edge, 3))] * 4))
def test_a_written_box_is_read_back(box):
    assert list(boxes_in(f"the cat at {list(box)} sleeps")) == [box]
