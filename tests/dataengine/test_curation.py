"""Curation: every record and item is accounted for, paid once, and what the teacher adds is matched by id."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from mmevol_core.chat import ChatFailure
from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_core.files import digest, read_json, read_jsonl
from mmevol_core.sample import QA, Box, Sample, Step, Text, read_samples, write_samples
from mmevol_dataengine import prompts
from mmevol_dataengine.answers import Backfill, Match, read
from mmevol_dataengine.curation import STAGE, CurationConfig
from mmevol_dataengine.curator import CuratorConfig, curate
from mmevol_dataengine.merging import Merging, merged
from mmevol_dataengine.prompts.curation_text import PROMPT_VERSION
from mmevol_experiment.compose import choices, compose_groups

LONG = "The image shows a red circle in the upper left on a white background" + ", and nothing else at all" * 6
PROMPTS = "8c68c38131d48530"  # of the version below
RED = Box(label="red circle", xyxy=(0.1, 0.1, 0.4, 0.4))


def qa(name, question, answer, **more):
    return QA(id=name, question=question, answer=answer, **more)


POEM = qa("g", "Write a poem.", "Roses are red.", skills=("ocr",), steps=(Step(manipulation="null", description="x"),))


def records():
    """Six rows that become four records: one kept, one completed, one irrelevant, one of several rows."""
    shape = qa("a", "What shape is in the image?", "circle")
    return [
        Sample(id="1", images=("red.png",), boxes=(RED,), source="llava", rounds=((shape,),)),
        Sample(id="2", images=("red.png",), caption="A red circle.", source="sharegpt4v", rounds=((shape,),)),
        Sample(id="3", images=("blue.png",), rounds=((qa("d", "Describe the image in detail.", LONG),),)),
        Sample(id="4", images=("red.png",), rounds=((qa("e", "Is it red?", "yes"),),)),
        Sample(id="5", images=("cat.png",), boxes=(RED,), rounds=((qa("f", "Who won the match?", "Nobody knows"),),)),
        Sample(id="6", images=(), rounds=((POEM,),)),
    ]


@pytest.fixture
def inputs(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for name in ("red", "blue", "cat"):
        picture = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(picture).ellipse((6, 6, 26, 26), fill="blue" if name == "blue" else "red")
        picture.save(images / f"{name}.png")
    write_samples(tmp_path / "in.jsonl", records())
    return {"seed": tmp_path / "in.jsonl", "images": images}


def config(**changes):
    values = compose_groups({"curation": "default", "teacher": "scripted"}, [])
    return fit(CurationConfig, {**values["curation"], "teacher": values["teacher"], **changes}, "curation")


def test_rows_that_share_an_image_are_joined_and_equal_items_kept_once(tmp_path, inputs):
    counts = Merging()
    joined, blue, _, text = merged(inputs["seed"], counts)
    assert (joined.id, joined.caption, joined.source) == ("1", "A red circle.", "llava+sharegpt4v")
    assert [item.question for item in joined.latest] == ["What shape is in the image?", "Is it red?"]
    assert joined.boxes == (RED,)
    assert (blue.id, text.id) == ("3", "6")
    # 6 rows = 4 records + 2 absorbed; 6 items, of which 1 is there twice
    assert (counts.records, counts.absorbed, counts.items, counts.same_items) == (6, 2, 6, 1)
    assert len(list(merged(inputs["seed"], Merging(), join=False))) == 6


def test_one_question_with_two_answers_stays_twice_and_is_counted(tmp_path):
    answers = ("Yes", "no", "yes ", "maybe")  # the third is the first again
    rows = [Sample(id=a, images=("a.png",), rounds=((qa(a, "Is it red?", a),),)) for a in answers]
    write_samples(tmp_path / "in.jsonl", rows)
    (joined,) = merged(tmp_path / "in.jsonl", counts := Merging())
    assert [item.answer for item in joined.latest] == ["Yes", "no", "maybe"]
    assert (counts.same_items, counts.other_answers) == (1, 2)


def test_records_that_were_evolved_are_not_curated_for_their_rounds_would_be_lost(tmp_path):
    item = qa("a", "Is it red?", "yes")
    write_samples(tmp_path / "in.jsonl", [Sample(id="s", images=(), rounds=((item,), (item,)))])
    with pytest.raises(UserError, match="record s has 1 rounds after the seed's"):
        list(merged(tmp_path / "in.jsonl", Merging()))


def test_boxes_of_rows_that_share_an_image_are_one_where_label_and_place_are_and_are_counted(tmp_path):
    def box(label, *corners):
        return Box(label=label, xyxy=corners)

    def seed(name, boxes, ocr=()):
        return Sample(id=name, images=("a.png",), boxes=boxes, ocr=ocr, rounds=((qa(name, f"{name}?", "x"),),))

    twice = box("cup", 0.8, 0.8, 0.9, 0.9)
    exit_ = Text(text="EXIT", xyxy=(0.1, 0.1, 0.5, 0.2))
    rows = [
        seed("1", (box("cat", 0.1, 0.1, 0.5, 0.5), twice, twice, box("line", 0.2, 0.2, 0.2, 0.6)), (exit_,)),
        seed(
            "2",
            (
                box(" Cat", 0.1, 0.1, 0.5, 0.51),  # 0.16 of 0.164 is shared, 0.976: the same
                box("cat", 0.1, 0.1, 0.5, 0.6),  # 0.16 of 0.2, 0.8: another
                box("dog", 0.1, 0.1, 0.5, 0.5),  # another label
                box("line", 0.2, 0.2, 0.2, 0.6),  # no area, but equal
            ),
            (replace(exit_, xyxy=(0.1, 0.1, 0.5, 0.201)), replace(exit_, xyxy=None), replace(exit_, text="Exit")),
        ),
    ]
    write_samples(tmp_path / "in.jsonl", rows)
    (joined,) = merged(tmp_path / "in.jsonl", counts := Merging())
    assert joined.boxes == (*rows[0].boxes, *rows[1].boxes[1:3])  # also what one row has twice by itself
    assert joined.ocr == (exit_, *rows[1].ocr[1:])
    assert (counts.same_boxes, counts.same_texts) == (2, 1)
    assert list(merged(tmp_path / "in.jsonl", alone := Merging(), join=False)) == rows
    assert (alone.same_boxes, alone.same_texts) == (0, 0)


def test_a_refusal_leaves_no_earlier_result_beside_it_and_no_input_is_overwritten(tmp_path, inputs):
    out = tmp_path / "out"
    STAGE.run(config(teacher=None), inputs, out)
    lost = Sample(id="7", images=("blue.png",), caption="Blue.", rounds=((),))
    write_samples(inputs["seed"], [lost])
    with pytest.raises(UserError, match="no record is left"):
        STAGE.run(config(teacher=None), inputs, out)
    assert {file.name for file in out.glob("*.json*")} & {"seed.jsonl", "curation.json", "distribution.json"} == set()
    inputs["seed"].rename(out / "seed.jsonl")
    with pytest.raises(UserError, match="would be overwritten"):
        STAGE.run(config(teacher=None), {**inputs, "seed": out / "seed.jsonl"}, out)
    assert list(read_samples(out / "seed.jsonl")) == [lost]


def test_every_record_and_item_is_accounted_for_and_completed(tmp_path, inputs):
    out = tmp_path / "out"
    result = STAGE.run(config(domains={"Shapes": ["llava+sharegpt4v"]}), inputs, out)
    books = read_json(result.files["curation"])
    assert books["records"] == {"in": 6, "kept": 3, "merged": 2, "eliminated": {"irrelevant": 1}, "failed": {}}
    # 6 in, 1 the same, 1 lifted to a caption, 2 written for it: 6 = 5 out + 1 lost with the irrelevant record
    assert books["items"] == {"in": 6, "same": 1, "lifted": 1, "written": 2, "out": 5, "lost": 1}
    assert books["relevance"] == {"judged": 3, "kept_share": pytest.approx(2 / 3)}
    joined, blue, text = read_samples(result.files["seed"])
    assert blue.caption == LONG
    assert blue.latest
    assert all(item.objects or item.skills for sample in (joined, blue) for item in sample.latest)
    assert joined.latest[0].objects == ("red circle",)
    assert (text.latest[0].skills, text.latest[0].steps) == (("ocr",), POEM.steps)  # what an item has stays
    (lost,) = read_jsonl(result.files["eliminated"])
    assert (lost["reason"], lost["record"]["id"]) == ("irrelevant", "5")
    assert sum(read_json(result.files["distribution"])["topics"].values()) == 3
    assert read_json(result.files["distribution"])["domains"]["Shapes"] == {"llava+sharegpt4v": 1}
    log = (out / "teacher" / "teacher.jsonl").read_text().splitlines()
    tasks = Counter(json.loads(line)["task"] for line in log)
    assert tasks == {"match": 3, "questions": 1, "backfill": 3}


def test_the_same_command_again_asks_nothing_again_and_writes_the_same(tmp_path, inputs):
    out = tmp_path / "out"
    first = STAGE.run(config(), inputs, out)
    before = first.files["seed"].read_bytes()
    asked = len((out / "teacher" / "teacher.jsonl").read_text().splitlines())
    again = STAGE.run(config(), inputs, out)
    assert again.files["seed"].read_bytes() == before
    assert len((out / "teacher" / "teacher.jsonl").read_text().splitlines()) == asked


def test_without_a_teacher_records_without_questions_are_eliminated(tmp_path, inputs):
    write_samples(inputs["seed"], [*records(), Sample(id="7", images=("blue.png",), caption="Blue.", rounds=((),))])
    result = STAGE.run(config(teacher=None, merge=False, topics=None), inputs, tmp_path / "out")
    assert result.metrics["records"] == {
        "in": 7, "kept": 6, "merged": 0, "eliminated": {"no_questions": 1}, "failed": {},
    }  # fmt: skip


def test_a_lost_picture_fails_its_record_and_too_many_stop_the_run(tmp_path, inputs):
    (inputs["images"] / "cat.png").unlink()
    teacher = {**compose_groups({"teacher": "scripted"}, [])["teacher"], "sees_image": True}
    result = STAGE.run(config(teacher=teacher, max_failed=0.5), inputs, tmp_path / "a")
    assert result.metrics["records"]["failed"] == {"image_missing": 1}
    with pytest.raises(UserError, match="image_missing"):
        STAGE.run(config(teacher=teacher), inputs, tmp_path / "b")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"match": "yes", "reason": "It fits."}', "yes"),
        ('```json\n{"match": "no"}\n```', "no"),
        ('<think>{"match": "yes"}</think>{"match": "no", "reason": "x"}', "no"),
        ('{"match": "yes"} or rather {"match": "no"}', None),  # two that differ: no guess
        ('{"match": "maybe"}', None),
        ('{"match": "yes", "rea', None),
        ("yes", None),
        ('<think>hm {"match": "yes"}', None),  # thinking that never ended
        ('{"match": "yes", "match": "no"}', None),
        ('Example: {"match": "yes"}. My answer: no', None),
        ('For example {"match": "yes"}.\nFinal answer: {"match": "no"}', "no"),
        ('[{"match": "yes"}]', "yes"),
    ],
)
def test_an_answer_is_read_or_there_is_none(text, found):
    answer = read(text, Match)
    assert (answer.match if answer else None) == found


def test_an_entry_that_lacks_a_field_spoils_the_answer():
    assert read('{"items": [{"id": "q1", "objects": ["cup"], "skills": ["ocr"]}]}', Backfill) is None


class Says:
    """A teacher who always gives the same answer, or fails."""

    name, sees_image = "fixed", False

    def __init__(self, answer):
        self.answer = answer

    async def ask(self, *asked):
        if isinstance(self.answer, ChatFailure):
            raise self.answer
        return self.answer


PIXELS, SHARES = [12, 20, 300, 410], [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("asked", "said", "counts", "boxes", "ocr"),
    [
        ("boxes", {"boxes": []}, {"boxes_none": 1}, [], []),
        ("boxes", {"boxes": [{"label": "cup", "bbox": PIXELS}]}, {"boxes_none": 1, "box_outside": 1}, [], []),
        (
            "boxes",
            {"boxes": [{"label": name, "bbox": box} for name, box in ((" cup ", SHARES), ("", SHARES), ("x", PIXELS))]},
            {"boxes_added": 1, "box_unnamed": 1, "box_outside": 1},
            [("cup", tuple(SHARES))],
            [],
        ),
        ("text", {"ocr": [{"text": " ", "bbox": SHARES}]}, {"text_none": 1}, [], []),
        (
            "text",
            {"ocr": [{"text": "EXIT", "bbox": PIXELS}, {"text": "42", "bbox": SHARES}]},
            {"text_added": 1, "text_box_outside": 1},
            [],
            [("EXIT", None), ("42", tuple(SHARES))],
        ),
        ("caption", {"caption": "  "}, {"caption_none": 1}, [], []),
    ],
)  # fmt: skip
def test_what_the_teacher_adds_is_booked_by_what_is_left_of_it(asked, said, counts, boxes, ocr):
    plain = {"relevance": False, "backfill": False, "caption": False}
    config = CuratorConfig.model_validate({**plain, asked: True})
    sample = Sample(id="s", images=("a.png",), rounds=((qa("a", "Is it red?", "yes"),),))
    teacher = Says(json.dumps(said))
    teacher.sees_image = True
    done = asyncio.run(curate(config, sample, teacher, teacher))
    assert done.counts == counts
    assert [(box.label, box.xyxy) for box in done.sample.boxes] == boxes
    assert [(line.text, line.xyxy) for line in done.sample.ocr] == ocr
    assert not done.sample.caption


def test_an_entry_that_comes_twice_is_used_for_no_item_and_counted():
    entry = {"objects": ["cup"], "skills": ["ocr"], "steps": []}
    entries = [{"id": name, **entry} for name in ("q1", "q2", "q1")]
    items = (qa("a", "Is it red?", "yes"), qa("b", "Is it blue?", "no"))
    teacher = Says(json.dumps({"items": entries}))
    done = asyncio.run(curate(CuratorConfig(), Sample(id="s", images=(), rounds=(items,)), teacher, teacher))
    assert [item.objects for item in done.sample.latest] == [(), ("cup",)]
    assert done.counts == {
        "backfill_added": 1, "backfill_repeated": 1, "items_backfilled": 1, "items_not_backfilled": 1,
        "objects_backfilled": 1, "objects_not_backfilled": 1, "skills_backfilled": 1, "skills_not_backfilled": 1,
        "steps_not_backfilled": 2,  # the entry has none
    }  # fmt: skip


def test_each_field_that_an_item_lacks_is_filled_by_itself_and_counted():
    step = Step(manipulation="ocr_1(tgt_1)->txt_1", description="Read.")
    entry = {"objects": ["cup"], "skills": ["ocr", "juggling"], "steps": [{"manipulation": "null", "description": "x"}]}
    items = (
        qa("a", "Is it red?", "yes", objects=("hat",)),  # lacks skills and steps
        qa("b", "Is it blue?", "no", skills=("grounding",), steps=(step,)),  # lacks objects
        qa("c", "Is it big?", "no", objects=("hat",), skills=("ocr",), steps=(step,)),  # lacks nothing: not asked about
    )
    said = [{"id": name, **entry} for name in ("q1", "q2", "q3")]
    teacher = Says(json.dumps({"items": said}))
    done = asyncio.run(curate(CuratorConfig(), Sample(id="s", images=(), rounds=(items,)), teacher, teacher))
    first, second, third = done.sample.latest
    assert (first.objects, first.skills, first.steps[0].manipulation) == (("hat",), ("ocr",), "null")
    assert (second.objects, second.skills, second.steps) == (("cup",), ("grounding",), (step,))
    assert third == items[2]
    assert done.counts == {
        "backfill_added": 1, "backfill_repeated": 0, "items_backfilled": 2, "skills_backfilled": 1,
        "steps_backfilled": 1, "objects_backfilled": 1,
    }  # fmt: skip


def test_items_with_one_id_are_filled_each_by_its_own_entry():
    items = (qa("a", "Is it red?", "yes"), qa("a", "Is it blue?", "no"))
    said = [
        {"id": f"q{place}", "objects": [name], "skills": [], "steps": []} for place, name in ((1, "cup"), (2, "hat"))
    ]
    teacher = Says(json.dumps({"items": said}))
    done = asyncio.run(curate(CuratorConfig(), Sample(id="s", images=(), rounds=(items,)), teacher, teacher))
    assert [(item.question, item.objects) for item in done.sample.latest] == [
        ("Is it red?", ("cup",)), ("Is it blue?", ("hat",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "reason"), [(ChatFailure("timeout"), "timeout"), ("well", "unparsable"), ('{"items": []}', "unparsable")]
)
def test_a_record_lost_for_want_of_questions_says_why(answer, reason):
    sample, teacher = Sample(id="s", images=(), caption="A cup.", rounds=((),)), Says(answer)
    done = asyncio.run(curate(CuratorConfig(), sample, teacher, teacher))
    assert (done.status, done.reason) == ("failed", f"questions_{reason}")


@pytest.mark.parametrize("name", choices("curation"))
def test_every_file_of_the_group_fits(name):
    values = compose_groups({"curation": name, "teacher": "scripted"}, [])
    assert fit(CurationConfig, {**values["curation"], "teacher": values["teacher"]}, "curation").merge


def test_overrides_choose_files_and_set_values_and_wrong_ones_are_named():
    values = compose_groups(
        {"curation": "default", "teacher": "scripted"}, ["teacher@curation.judge=openai", "curation.limit=5"]
    )
    assert (values["curation"]["judge"]["model"], values["curation"]["limit"]) == ("gpt-4o-mini", 5)
    with pytest.raises(UserError, match="scripted"):
        compose_groups({"teacher": "scripted"}, ["teacher=script"])


def test_a_changed_prompt_raises_its_version():
    folder = Path(prompts.__file__).parent / "curation"
    texts = {path.name: path.read_text() for path in sorted(folder.glob("*.jinja"))}
    assert (PROMPT_VERSION, digest(texts)) == ("curation-1", PROMPTS)


def test_a_setting_of_an_unknown_section_is_refused_not_added():
    with pytest.raises(UserError, match=r"unknown config section 'curaton'; did you mean 'curation'"):
        compose_groups({"curation": "default"}, ["curaton.limit=10"])
