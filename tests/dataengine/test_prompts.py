"""Prompts: short, versioned, with worked examples that are valid and pass the machine checks themselves."""

import json
import re

import pytest

from mmevol_core.files import digest
from mmevol_core.sample import DIRECTIONS, QA, SKILLS, Box, Sample, Step, Text
from mmevol_dataengine.prompts import FOLDER
from mmevol_dataengine.prompts.mmevol_text import PROMPT_VERSION, evolve_prompt, score_prompt, system_prompt
from mmevol_dataengine.verify import Case, Rules, findings
from mmevol_dataengine.vocabulary import FORMATS

ITEM = QA(id="1", question="What is it?", answer="A cat")
SAMPLE = Sample(
    id="s",
    images=("a.png",),
    caption='A Cat says "hi"',
    boxes=(Box(label="cat", xyxy=(0.1, 0.2, 0.3333333, 0.4)),),
    ocr=(Text(text="hi", xyxy=(0.0, 0.0, 0.1, 0.1)),),
    rounds=((ITEM,),),
)


def all_prompts(sees_image):
    for direction in DIRECTIONS:
        yield evolve_prompt(SAMPLE, direction, {"q1": ITEM}, sees_image)
    yield score_prompt(SAMPLE, {"p1": (ITEM, ITEM)}, sees_image)


def test_a_persona_is_asked_for_in_structured_and_in_basic_prompts():
    for direction in DIRECTIONS:
        for basic in (True, False):
            prompt = evolve_prompt(SAMPLE, direction, {"q1": ITEM}, True, persona="a stage carpenter", basic=basic)
            assert "a stage carpenter" in prompt
            assert "TASK: evolve\n" in prompt


def test_basic_prompts_are_much_shorter_and_differ_by_direction():
    basic = {evolve_prompt(SAMPLE, d, {"q1": ITEM}, True, basic=True).split("TASK")[0] for d in DIRECTIONS}
    assert len(basic) == 3
    assert max(map(len, basic)) < 600


@pytest.mark.parametrize("sees_image", [True, False])
def test_prompts_are_shorter_than_8000_characters_and_end_with_data_that_any_program_can_read(sees_image):
    for prompt in all_prompts(sees_image):
        assert len(prompt) < 8000
        data = json.loads(prompt[prompt.rindex("INPUT:") + len("INPUT:") :])
        assert data["caption"] == SAMPLE.caption  # casing and quotes as they are


def test_the_data_block_of_a_rewriting_call_is_the_contract():
    prompt = evolve_prompt(SAMPLE, "interaction", {"q1": ITEM}, False)
    head, data = prompt[prompt.rindex("TASK:") :].split("INPUT:\n")
    assert head.split("\n")[:2] == ["TASK: evolve", "DIRECTION: interaction"]
    value = json.loads(data)
    assert value["boxes"] == [{"label": "cat", "bbox": [0.1, 0.2, 0.333, 0.4]}]
    assert value["ocr"] == [{"text": "hi", "bbox": [0.0, 0.0, 0.1, 0.1]}]
    assert set(value["items"][0]) == {"id", "question", "answer", "objects", "skills", "format", "steps"}


def test_the_data_block_of_a_scoring_call_pairs_each_rewrite_with_its_parent():
    prompt = score_prompt(SAMPLE, {"p1": (ITEM, QA(id="2", question="New?", answer="Yes"))}, False)
    assert "TASK: score\nINPUT:" in prompt
    (pair,) = json.loads(prompt[prompt.rindex("INPUT:") + 6 :])["pairs"]
    assert pair["before"] == {"question": "What is it?", "answer": "A cat"}
    assert pair["after"] == {"question": "New?", "answer": "Yes"}


def test_all_skills_and_manipulations_are_named_and_the_17_formats_are_offered():
    for direction in DIRECTIONS:
        prompt = evolve_prompt(SAMPLE, direction, {"q1": ITEM}, False)
        assert all(f"- {skill}:" in prompt for skill in SKILLS)
        assert all(f"{name}_i(" in prompt for name in ("grounding", "referring", "calculate", "ocr"))
    assert len(FORMATS) == 17
    assert all(f"- {name}:" in prompt for name in FORMATS)  # the last direction is interaction


def test_formats_and_questions_that_need_boxes_are_not_offered_without_boxes():
    bare = Sample(id="s", images=("a.png",), caption="A cat", rounds=((ITEM,),))
    prompt = evolve_prompt(bare, "interaction", {"q1": ITEM}, True)
    assert "- region_selection:" not in prompt
    assert "- text_detection:" not in prompt
    assert "ask neither for coordinates nor for a count" in prompt


EXAMPLES = {
    "fine_grained_perception": ("What animal is on the sofa?", "A cat", ["cat", "cushion"]),
    "cognitive_reasoning": ("How many cups are there?", "2", ["cup", "cup", "person"]),
    "interaction": ("What colour is the bus?", "Red", ["bus"]),
}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_worked_example_is_valid_json_and_breaks_no_rule(direction):
    text = (FOLDER / "mmevol" / f"{direction}.md.jinja").read_text()
    given, block = re.search(r"Given the item (\{.*?\})", text), re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert json.loads(given.group(1))["question"] == EXAMPLES[direction][0]
    (value,) = json.loads(block.group(1))
    corners = re.findall(r"[a-z]+ (\[[\d., ]+\])", text[given.end() : block.start()])
    labels = zip(EXAMPLES[direction][2], corners, strict=True)
    boxes = [Box(label=name, xyxy=tuple(json.loads(xyxy))) for name, xyxy in labels]
    parent = QA(id="p", question=EXAMPLES[direction][0], answer=EXAMPLES[direction][1])
    steps = tuple(Step(**step) for step in value.pop("steps"))
    lists = {key: tuple(value.pop(key)) for key in ("objects", "skills")}
    item = QA(id="i", steps=steps, **lists, **value)
    sample = Sample(id="s", images=("a.png",), boxes=tuple(boxes), rounds=((parent,),))
    assert findings(Case(item, parent, sample, direction, frozenset(), Rules())) == []


def test_the_score_example_is_valid_json():
    text = (FOLDER / "mmevol" / "score.md.jinja").read_text()
    (value,) = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL).group(1))
    assert set(value) == {"id", "improved", "score", "reason"}


def test_a_changed_prompt_has_a_new_version():
    texts = {path.name: path.read_text() for path in sorted((FOLDER / "mmevol").glob("*.jinja"))}
    known = {"mmevol-2": "b523332e31234594"}
    assert digest(texts) == known[PROMPT_VERSION], "raise PROMPT_VERSION and note the new digest here"
    assert system_prompt()
