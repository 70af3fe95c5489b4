"""Seed readers: every row becomes a sample or a counted failure."""

import io
import json
from dataclasses import asdict
from pathlib import Path

import datasets
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmevol_core import json_stream as stream
from mmevol_core.errors import UserError
from mmevol_core.sample import QA, Sample, read_samples, write_samples
from mmevol_dataengine.export import to_parquet
from mmevol_dataengine.readers.conversations import from_conversations
from mmevol_dataengine.seed import STAGE, SeedConfig
from mmevol_dataengine.seeds import (
    Failure,
    convert,
    from_any,
    from_mmevol,
    read_llava,
    read_mmevol,
    read_sample_rows,
    read_table,
)


def item(question="What animal is it?", answer="A cat"):
    return {
        "image_position": "single",
        "objects": ["cat"],
        "skills": ["Grounding Ability", "OCR"],
        "format": "Norm",
        "question": question,
        "steps": [{"manipulation": "grounding_1(cat)->bbx_1", "description": "find it"}],
        "answer": answer,
    }


def row(number=0, **changes):
    return {
        "id": str(number),
        "image": "coco/cat.png",
        "conversations_v0": [item()],
        "topic_name": "pets",
        "caption": [{"from": "human", "value": "Describe."}, {"from": "gpt", "value": "A Cat named TOM."}],
        "det": [{"label": "cat", "bbox": [0.1, 0.2, 0.5, 0.9]}],
        **changes,
    }


def written(path: Path, rows) -> Path:
    path.write_text(json.dumps(rows))
    return path


def image_root(folder: Path) -> Path:
    (folder / "coco").mkdir(parents=True)
    Image.new("RGB", (40, 30), "red").save(folder / "coco" / "cat.png")
    return folder


def test_an_mmevol_row_keeps_caption_casing_boxes_topic_skills_and_steps(tmp_path):
    (sample,) = read_mmevol(written(tmp_path / "seed.json", [row()]))
    assert isinstance(sample, Sample)
    assert sample.caption == "A Cat named TOM."
    assert sample.boxes[0].xyxy == (0.1, 0.2, 0.5, 0.9)
    assert sample.topic == "pets"
    (qa,) = sample.rounds[0]
    assert qa.skills == ("grounding", "ocr")
    assert qa.steps[0].manipulation == "grounding_1(cat)->bbx_1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"conversations_v0": []}, "no_questions"),
        ({"conversations_v0": [item(answer="")]}, "no_questions"),
        ({"det": [{"label": "cat", "bbox": [0.1, 0.2, 1.5, 0.9]}]}, "box_outside"),
        ({"det": [{"label": "cat", "bbox": [0.9, 0.2, 0.1, 0.9]}]}, "box_malformed"),
        ({"det": [{"label": "cat", "bbox": [0.9, 0.2, 0.1]}]}, "box_malformed"),
        ({"det": [{"label": "cat", "bbox": [10**400, 0, 1, 1]}]}, "box_malformed"),
        ({"det": [{"label": "cat", "bbox": "0111"}]}, "box_malformed"),
        ({"det": [{"bbox": [0, 0, 1, 1]}]}, "box_malformed"),
        ({"conversations_v0": [item(question=["What?"])]}, "does_not_fit"),
        ({"conversations_v0": [{**item(), "objects": [["cat"]]}]}, "does_not_fit"),
        ({"topic_name": {"a": 1}}, "does_not_fit"),
        ({"conversations_v0": [item(answer="half a \ud800 pair")]}, "not_unicode"),
        ({"id": "\ud800", "det": [{"label": "\ud800", "bbox": [0, 0, 2, 1]}]}, "box_outside"),
        ({"image": None}, "no_image"),
        ({"conversations_v0": "none"}, "does_not_fit"),
        ({"conversations_v0": ["text"]}, "does_not_fit"),
        ({"image": "../outside.png"}, "image_outside_root"),
        ({"image": "coco/absent.png"}, "image_missing"),
        ({"image": "coco/cut.png"}, "image_truncated"),
    ],
)
def test_a_bad_row_is_a_counted_failure_and_the_others_stay(tmp_path, changes, reason):
    root = image_root(tmp_path / "images")
    whole = (root / "coco" / "cat.png").read_bytes()
    (root / "coco" / "cut.png").write_bytes(whole[: len(whole) // 2])
    path = written(tmp_path / "seed.json", [row(0), row(1, **changes), row(2)])
    config = SeedConfig(source="mmevol_json", path=path, image_root=root, max_failed=0.5)
    result = STAGE.run(config, {}, tmp_path / "out")
    assert result.metrics["rows"] == 3
    assert result.metrics["records"] == 2
    assert result.metrics["failed"] == {reason: 1}
    (failed,) = [json.loads(line) for line in result.files["failed"].read_text().splitlines()]
    assert (failed["row"], failed["reason"]) == (2, reason)


def test_repeated_records_get_distinct_ids_that_do_not_change(tmp_path):
    path = written(tmp_path / "seed.json", [row(7), row(7), row(7), row(8)])
    first, second = ([sample.id for sample in read_mmevol(path)] for _ in range(2))
    assert len(set(first)) == 4
    assert first == second


def test_one_id_on_different_pictures_becomes_two():
    samples = [Sample(id="a", images=(name,), source="s", rounds=((),)) for name in ("1.png", "2.png", "1.png")]
    ids = [
        sample.id for sample in convert(iter([{"place": k} for k in range(3)]), lambda row, _: samples[row["place"]])
    ]
    assert ids[0] == "a"
    assert len(set(ids)) == 3


def test_too_many_refused_rows_stop_the_run_and_name_the_reasons(tmp_path):
    path = written(tmp_path / "seed.json", [row(0), row(1, image="absent.png")])
    config = SeedConfig(source="mmevol_json", path=path, image_root=image_root(tmp_path / "images"))
    with pytest.raises(UserError, match=r"1 of 2 rows refused .*image_missing 1"):
        STAGE.run(config, {}, tmp_path / "out")


@pytest.mark.parametrize("text", ['[{"id": "1"', '{"id": "1"}', ""])
def test_a_file_that_is_no_whole_list_is_a_user_error(tmp_path, text):
    (tmp_path / "seed.json").write_text(text)
    with pytest.raises(UserError):
        list(read_mmevol(tmp_path / "seed.json"))


def talk(*values, **more):
    turns = [{"from": ("human", "gpt")[place % 2], "value": value} for place, value in enumerate(values)]
    return {"conversations": turns, **more}


ONE, TWO = {"image": "1.png"}, {"image": ["1.png", "2.png"]}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (talk("What?", "It is <image> that.", **ONE), "image_mark_in_answer"),
        (talk("<image>\nWhat?", "See <image>.", **ONE), "image_mark_in_answer"),
        (talk("Hello", "The tag is <image>."), "image_mark_in_answer"),
        (talk("What does the tag <image> do?", "Nothing"), "image_marks_differ"),
        (talk("What does the tag <image> do?", "Nothing", image=""), "image_marks_differ"),
        (talk("<image><image>\nWhat?", "That", **ONE), "image_marks_differ"),
        (talk("What is left of <image> in the book?", "This", **ONE), "image_mark_in_text"),
        (talk("Describe <image>", "This", **ONE), "image_mark_in_text"),
        (talk("In <image> a cat, in <image> a dog?", "Yes", **TWO), "image_mark_in_text"),
        (talk("<image>\nLike this one?\n<image>", "Yes", **TWO), "image_mark_in_text"),
        (talk("Hello", "Hi", "<image>\nWhat?", "That", **ONE), "image_mark_in_text"),
        (talk("<image>\nWhat?", "That", "<image>\nAnd here?", "This", **TWO), "image_mark_in_text"),
        (talk("half a \ud800 pair", "That"), "not_unicode"),
        (talk("What?", "That", messages=[{"role": "user", "content": "Else?"}]), "turn_keys_differ"),
        (talk("What?", ["A", ["nested", "list"]]), "does_not_fit"),
        (talk("<image>\nWhat?", "That", image="1.png", images=["2.png"]), "image_keys_differ"),
        (talk("<image>\nWhat?", "That", image=[""]), "no_image"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Hi"}]},
                       {"role": "assistant", "content": "Ho"}]}, "image_marks_differ"),  # its picture is nowhere
        ({"messages": [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "Hi"}]},
                       {"role": "assistant", "content": "Ho"}]}, "does_not_fit"),
    ],
)  # fmt: skip
def test_image_marks_that_a_record_cannot_keep_are_refused_by_name(tmp_path, record, reason):
    (found,) = read_llava(written(tmp_path / "rows.json", [record]))
    assert isinstance(found, Failure), found
    assert found.reason == reason


def test_marks_before_the_first_question_are_kept_and_moved_ones_are_counted_for_kept_rows(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for name in ("1.png", "2.png"):
        Image.new("RGB", (8, 8), "red").save(root / name)
    rows = [
        talk("<image>\nWhat?", "That", **ONE),
        talk("<image>What?", "That", images=["1.png"], **ONE),
        talk("<image>\n<image>\nWhat?", "That", **TWO),
        talk("What?", "That", **ONE),  # no mark at all: the image is shown first anyway
        talk("What?\n<image>", "That", **ONE),
        talk("What? <image>", "That", **ONE),
        talk("What?\n<image>\n<image>", "That", **TWO),
        talk("What?\n<image>", "That", image="absent.png"),  # refused, and so not counted as changed
        talk("What?", "That", image=""),
        talk("What?", "That", image=None, images=[]),
    ]
    config = SeedConfig(
        source="llava_json", path=written(tmp_path / "rows.json", rows), image_root=root, max_failed=0.5
    )
    result = STAGE.run(config, {}, tmp_path / "out")
    samples = list(read_samples(result.files["seed"]))
    assert [sample.rounds[0][0].question for sample in samples] == ["What?"] * 9
    assert [len(sample.images) for sample in samples] == [1, 1, 2, 1, 1, 1, 2, 0, 0]
    assert result.metrics["changed"] == {"image_mark_moved": 3}
    assert result.metrics["failed"] == {"image_missing": 1}


def test_a_last_question_and_a_system_prompt_are_left_out_by_name_and_other_orders_refused(tmp_path):
    kind, empty = ({"from": "system", "value": said} for said in ("Be kind.", ""))
    turns = talk("Hi", "Ho", "Cut off")["conversations"]
    rows = [
        talk("Hi", "Ho", "Cut off"),
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"},
                      {"role": "user", "content": ""}]},
        {"conversations": [kind, *turns]},
        {"conversations": [empty, *turns[:2]]},
        talk("Hi"),  # no whole exchange is left
        talk("Hi", "Ho", "<image>\nAnd here?", **ONE),  # what is cut off shows the picture
        {"conversations": [kind, kind, *turns]},
        {"conversations": [*turns[:2], kind, *turns[:2]]},
        {"conversations": [turns[1], turns[0]]},
        {"conversations": [turns[0], turns[0]]},
    ]  # fmt: skip
    path = written(tmp_path / "rows.json", rows)
    *kept, short, shown, _, _, _, _ = found = list(read_llava(path, changes := {}))
    assert [[(qa.question, qa.answer) for qa in sample.rounds[0]] for sample in kept] == [[("Hi", "Ho")]] * 4
    assert [failure.reason for failure in found[6:]] == ["turns_do_not_alternate"] * 4
    assert (short.reason, shown.reason) == ("no_questions", "image_marks_differ")
    dropped = "last_question_dropped"
    assert changes == {1: (dropped,), 2: (dropped,), 3: (dropped, "system_prompt_dropped")}


def test_items_with_an_image_mark_of_their_own_are_no_items_of_records(tmp_path):
    marked = [row(0, conversations_v0=[item(answer="<image> shows it")]), row(1, image="")]
    assert [found.reason for found in read_mmevol(written(tmp_path / "seed.json", marked))] == [
        "image_mark_in_text", "no_image",
    ]  # fmt: skip
    bad = QA(id="q", question="What is <image>?", answer="That")
    write_samples(
        tmp_path / "in.jsonl",
        [Sample(id="a", images=("1.png",), rounds=((bad,),)), Sample(id="b", images=("",), rounds=((bad,),))],
    )
    assert [found.reason for found in read_sample_rows(tmp_path / "in.jsonl")] == ["image_mark_in_text", "no_image"]


def test_llava_rows_may_have_no_image_several_images_and_sharegpt_roles(tmp_path):
    def turns(*values, roles=("human", "gpt")):
        return [{"from": roles[place % 2], "value": value} for place, value in enumerate(values)]

    rows = [
        {"id": "a", "image": "1.png", "conversations": turns("<image>\nWhat?", "This", "And?", "That")},
        {"id": "b", "conversations": turns("Hello", "Hi", roles=("user", "assistant"))},
        {"id": "c", "image": ["1.png", "2.png"], "conversations": turns("<image><image>Compare.", "Same")},
        {"id": "d", "image": "1.png", "conversations": turns("What?", "This", "Cut off")},
    ]
    a, b, c, d = read_llava(written(tmp_path / "llava.json", rows))
    assert [qa.question for qa in a.rounds[0]] == ["What?", "And?"]
    assert b.images == ()
    assert c.images == ("1.png", "2.png")
    assert c.rounds[0][0].question == "Compare."
    assert [qa.question for qa in d.rounds[0]] == ["What?"]


def test_samples_survive_the_way_through_the_seed_stage(tmp_path):
    root = image_root(tmp_path / "images")
    first = STAGE.run(
        SeedConfig(source="mmevol_json", path=written(tmp_path / "s.json", [row()]), image_root=root),
        {},
        tmp_path / "a",
    )
    second = STAGE.run(SeedConfig(source="samples", path=first.files["seed"], image_root=root), {}, tmp_path / "b")
    (one,), (other,) = (list(read_samples(result.files["seed"])) for result in (first, second))
    assert one == other
    assert one.sizes == ((40, 30),)


def test_sharegpt_rows_of_every_spelling_become_the_same_items(tmp_path):
    talk = [{"from": "system", "value": "Be kind."}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": "Ho"},
    ]
    rows = [
        {"conversations": talk},
        {"messages": messages, "images": ["1.png"]},
        {"texts": [{"user": "Hi", "assistant": "Ho", "source": "x"}], "images": ["1.png"]},
        {"messages": messages[:1]},
        {"conversations": [{"from": "human", "value": "<image>\nHi"}, {"from": "gpt", "value": "Ho"}]},
    ]
    *good, short, lost = read_llava(written(tmp_path / "rows.json", rows))
    assert [[(qa.question, qa.answer) for qa in sample.rounds[0]] for sample in good] == [[("Hi", "Ho")]] * 3
    assert (short.reason, lost.reason) == ("no_questions", "image_marks_differ")


def test_json_lines_are_read_as_a_list_is(tmp_path):
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"id": str(n), "conversations": turns}) + "\n" for n in (1, 2))
    )
    assert len(list(read_llava(tmp_path / "rows.jsonl"))) == 2


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(values, max_size=6), chunk=st.integers(1, 40), indent=st.none() | st.integers(0, 2))
def test_elements_are_the_same_wherever_the_chunks_end(tmp_path, monkeypatch, rows, chunk, indent):
    monkeypatch.setattr(stream, "CHUNK", chunk)
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8", errors="surrogatepass")
    assert list(stream.json_rows(path)) == rows


@pytest.mark.parametrize("text", ['[{"id": 1}, {"id', "[1, 2", "[1 2]", "[1,]", '["never closed]', '[{"a": 1}} ]'])
def test_a_list_that_breaks_off_is_refused_with_its_place(tmp_path, text):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(UserError, match=r"not whole JSON.*character \d+"):
        list(stream.json_rows(tmp_path / "rows.json"))


@pytest.mark.parametrize(
    ("value", "why"), [("9" * 5000, "a number of too many digits"), ("[" * 200_000, "lists within lists too deep")]
)
def test_a_value_that_python_cannot_read_is_refused_with_its_place(tmp_path, value, why):
    (tmp_path / "rows.json").write_text('[{"id": 1}, {"id": ' + value + "}]")
    with pytest.raises(UserError, match=rf"not whole JSON: {why}.*character 12"):
        list(stream.json_rows(tmp_path / "rows.json"))


def png(color):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["parquet", "folder", "saved"])
def test_pictures_inside_tables_become_files_once_and_rows_name_them(tmp_path, form):
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "Red"}]
    picture = {"bytes": png("red"), "path": None}
    rows = [
        {"id": "a", "image": picture, "conversations": turns},
        {"id": "b", "image": picture, "conversations": turns},
        {"id": "c", "image": None, "conversations": turns},
    ]
    path = tmp_path / "rows.parquet"
    if form == "saved":
        path = tmp_path / "saved"
        data = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
        datasets.DatasetDict(train=data).save_to_disk(path)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    source = tmp_path if form == "folder" else path
    result = STAGE.run(SeedConfig(source="parquet", path=source), {}, tmp_path / "out")
    first, second, third = read_samples(result.files["seed"])
    assert first.images == second.images
    assert first.id != second.id
    assert (result.files["images"] / first.images[0]).read_bytes() == png("red")
    assert len(list(result.files["images"].rglob("*.png"))) == 1
    assert third.images == ()


def test_parquet_behind_a_linked_folder_is_read(tmp_path):
    record = Sample(id="s", images=(), rounds=((QA(id="q", question="What?", answer="That"),),))
    to_parquet([record], tmp_path / "elsewhere")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "linked").symlink_to("../elsewhere")
    (row,) = read_table(tmp_path / "set", None)
    assert isinstance(row, Sample) and row.latest[0].answer == "That"


def test_our_own_parquet_is_read_back_as_seed(tmp_path):
    root = image_root(tmp_path / "images")
    (sample,) = read_mmevol(written(tmp_path / "s.json", [row()]))
    to_parquet([sample], tmp_path / "set")
    (back,) = read_table(tmp_path / "set", root)
    assert (back.id, back.rounds, back.caption) == (sample.id, sample.rounds, sample.caption)


def test_a_seeds_items_get_distinct_ids_and_keys_that_nobody_knows_are_counted(tmp_path):
    items = [{"id": name, "question": f"{place}?", "answer": "x"} for place, name in enumerate(("q", "q", "", "r"))]
    rows = [
        {"id": "a", "images": [], "rounds": [items]},
        {"id": "b", "images": [], "rounds": [items[3:]], "boxs": []},
        {"id": "c", "images": [], "rounds": [[{**items[3], "Format": "x"}]]},
        {"id": "d", "images": [], "rounds": [items[3:]]},
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, *others = read_sample_rows(tmp_path / "in.jsonl", changes=(changes := {}))
    names = [item.id for item in first.rounds[0]]
    assert (names[0], names[3], len(set(names))) == ("q", "r", 4) and all(names)
    assert [sample.rounds[0][0].id for sample in others] == ["r"] * 3
    assert changes == {1: ("item_ids_renewed",), 2: ("unknown_keys_dropped",), 3: ("unknown_keys_dropped",)}


def test_records_that_were_evolved_already_and_blank_items_are_no_seeds(tmp_path):
    item, blank = QA(id="q", question="Is it red?", answer="yes"), QA(id="b", question="Is it red?", answer=" ")
    rounds = [((item,), (item,)), ((item, blank),), ((item,),), ((item,), ())]
    write_samples(tmp_path / "in.jsonl", [Sample(id=str(n), images=(), rounds=r) for n, r in enumerate(rounds)])
    rows = list(read_sample_rows(tmp_path / "in.jsonl"))
    assert [getattr(row, "reason", "kept") for row in rows] == ["has_rounds", "no_questions", "kept", "has_rounds"]
    checked = list(read_sample_rows(tmp_path / "in.jsonl", evolved=True))
    assert [getattr(row, "reason", "kept") for row in checked] == ["kept", "no_questions", "kept", "kept"]


KEYS = [
    "id", "image", "images", "conversations", "messages", "texts", "user", "assistant", "from", "value", "role",
    "content", "type", "text", "conversations_v0", "caption", "det", "ocr", "label", "bbox", "question", "answer",
    "objects", "skills", "steps", "manipulation", "description", "format", "topic_name", "source", "rounds",
]  # fmt: skip
WORDS = [
    "human",
    "gpt",
    "user",
    "assistant",
    "system",
    "<image>",
    "What?",
    "That",
    "a.png",
    "image",
    "text",
    "",
    " ",
    "\ud800",
]
hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=30,
)
turn = st.fixed_dictionaries({"from": st.sampled_from(WORDS[:5]), "value": hostile})
pair = st.fixed_dictionaries({}, optional=dict.fromkeys(("question", "answer", "objects", "skills", "steps"), hostile))
likely = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("id", "image", "images", "source", "caption", "det", "topic_name", "rounds"), hostile),
        "conversations": st.lists(turn, max_size=4), "conversations_v0": st.lists(pair, max_size=2),
        "messages": hostile,
    },
)  # fmt: skip


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(likely | hostile, min_size=1, max_size=4))
def test_whatever_a_row_holds_it_is_one_record_or_one_failure_that_can_be_written(tmp_path, rows):
    for convert_one in (
        lambda row, noted: from_any(row, captions_alone=True, noted=noted),
        from_conversations,
        lambda row, _: from_mmevol(row),
    ):
        found = list(convert(iter(rows), convert_one, {}))
        assert len(found) == len(rows)
        samples = [row for row in found if isinstance(row, Sample)]
        assert len({sample.id for sample in samples}) == len(samples)
        write_samples(tmp_path / "seed.jsonl", samples)
        assert list(read_samples(tmp_path / "seed.jsonl")) == samples
        for failure in (row for row in found if isinstance(row, Failure)):
            orjson.dumps(asdict(failure))


def test_a_description_alone_is_let_through_only_for_curation(tmp_path):
    (tmp_path / "own.jsonl").write_text('{"id": "a", "images": [], "caption": "A cat."}')
    assert next(read_sample_rows(tmp_path / "own.jsonl", captions_alone=True)).rounds == ((),)
    path = written(tmp_path / "s.json", [row(conversations_v0=[])])
    (refused,), (kept,) = list(read_mmevol(path)), list(read_mmevol(path, captions_alone=True))
    assert refused.reason == "no_questions"
    assert (kept.caption, kept.rounds) == ("A Cat named TOM.", ((),))
