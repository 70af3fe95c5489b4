"""Parquet holds the whole lineage and comes back unchanged, by our reader and by `datasets`."""

import json
import subprocess
import sys
from collections import Counter

import datasets
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmevol_core.errors import UserError
from mmevol_core.sample import QA, Box, Sample, Step, Text, from_dict, write_samples
from mmevol_dataengine.export import conversation_rows, to_llama_factory, to_ms_swift, to_parquet

text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
share = st.floats(0, 1)
corners = st.tuples(share, share, share, share)
qa = st.builds(
    QA,
    id=text,
    question=text,
    answer=text,
    objects=st.lists(text, max_size=2).map(tuple),
    steps=st.lists(st.builds(Step, manipulation=text, description=text), max_size=2).map(tuple),
    direction=st.none() | text,
    parent=st.none() | text,
    score=st.none() | st.floats(0, 10),
)
sample = st.builds(
    Sample,
    id=text,
    images=st.lists(text, min_size=1, max_size=2).map(tuple),
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=2).map(tuple),
    boxes=st.lists(st.builds(Box, label=text, xyxy=corners, score=st.none() | share), max_size=2).map(tuple),
    ocr=st.lists(st.builds(Text, text=text, xyxy=st.none() | corners), max_size=2).map(tuple),
    rounds=st.lists(st.lists(qa, max_size=2).map(tuple), max_size=3).map(tuple),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(sample, max_size=5))
def test_records_come_back_unchanged(tmp_path_factory, samples):
    folder = tmp_path_factory.mktemp("export")
    assert to_parquet(samples, folder, shard_rows=2) == len(samples)
    shards = sorted((folder / "data").glob("*.parquet"))
    rows = [row for shard in shards for row in pq.read_table(shard).to_pylist()]
    assert [from_dict(present(row), "row") for row in rows] == samples


def test_records_go_to_parquet_and_back_by_command_to_the_same_bytes(tmp_path):
    box = Box(label="cat", xyxy=(0.1, 0.2, 1 / 3, 0.9), score=0.7)
    item = QA(
        id="q", question="What?", answer="That", objects=("cat",), steps=(Step(manipulation="f", description=""),)
    )
    record = Sample(id="s", images=("a.png",), sizes=((3, 4),), boxes=(box,), ocr=(Text(text="T"),), rounds=((item,),))
    write_samples(tmp_path / "records.jsonl", [record])
    (tmp_path / "images").mkdir()
    calls = ["export records.jsonl set", "import parquet set back --images images --check-images none"]
    for call in calls:
        command = [sys.executable, "-m", "mmevol_experiment", "data", *call.split()]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "back" / "seed.jsonl").read_bytes() == (tmp_path / "records.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("source", "form", "said"),
    [
        ("own.jsonl", "ms_swift", "items_in 3, items_left_out 2, records_in 1, rows_round_2 1, turns_out 1"),
        ("own.jsonl", "llava", "items_in 3, items_left_out 2, records_in 1, rows_round_2 1, turns_out 1"),
        ("mixed.json", "llama_factory", "image_mark_added 1"),
    ],
)
def test_an_export_says_what_it_left_out_or_changed(tmp_path, source, form, said):
    rounds = tuple((QA(id=f"q{place}", question="What?", answer="That"),) for place in range(3))
    write_samples(tmp_path / "own.jsonl", [Sample(id="s", images=("a.png",), rounds=rounds)])
    (tmp_path / "mixed.json").write_text(json.dumps([{"image": "x.png", **talk("What?", "A cup")}]))
    sample = ["--sample", "latest"] if source == "own.jsonl" else []
    command = [sys.executable, "-m", "mmevol_experiment", "data", "export", source, "out", "--as", form, *sample]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("1 rows in out") and said in done.stdout


def present(value):
    """Parquet gives None for what was left out; the records' own defaults stand for that."""
    if isinstance(value, dict):
        return {key: present(inner) for key, inner in value.items() if inner is not None}
    return [present(inner) for inner in value] if isinstance(value, list) else value


def test_a_shorter_export_leaves_no_shard_of_a_longer_one(tmp_path):
    many = [Sample(id=str(number), images=("x.png",), rounds=((),)) for number in range(5)]
    to_parquet(many, tmp_path, shard_rows=2)
    to_parquet(many[:3], tmp_path, shard_rows=2)
    assert [pq.read_table(path).num_rows for path in sorted((tmp_path / "data").iterdir())] == [2, 1]


def test_datasets_loads_it_by_its_card(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    parent = QA(id="a", question="What?", answer="This")
    child = QA(id="b", question="Which?", answer="That", direction="interaction", parent="a", score=7.0)
    to_parquet([Sample(id="s", images=("x.png",), license="MIT", rounds=((parent,), (child,)))], tmp_path / "set")
    (row,) = datasets.load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    assert row["rounds"][1][0]["parent"] == row["rounds"][0][0]["id"] == "a"
    assert row["rounds"][0][0]["image_position"] == "single" and row["rounds"][0][0]["objects"] == []
    assert "MIT" in (tmp_path / "set" / "README.md").read_text()


def talk(question, answer):
    return {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}


ROWS = [
    {"id": "a", "image": "x.png", **talk("<image>\nWhat?", "A cup")},
    {"id": "b", "image": ["x.png", "y.png"], **talk("<image>\n<image>\nSame?", "No")},
    {"id": "c", **talk("Hello", "Hi")},
]


def loaded(path, tmp_path):
    return list(datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")))


def test_llama_factory_finds_file_and_columns_and_every_row_loads(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    (tmp_path / "conversations.json").write_text(json.dumps(ROWS))
    assert (
        to_llama_factory(conversation_rows(tmp_path / "conversations.json", Counter()), tmp_path / "out", "evolved")
        == 3
    )
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())["evolved"]
    assert info["formatting"] == "sharegpt"
    rows = loaded(tmp_path / "out" / info["file_name"], tmp_path)
    assert [row[info["columns"]["images"]] for row in rows] == [["x.png"], ["x.png", "y.png"], []]
    for row in rows:  # as many marks as images, or LLaMA-Factory refuses the row
        marks = sum(turn["value"].count("<image>") for turn in row[info["columns"]["messages"]])
        assert marks == len(row["images"])


def test_ms_swift_gets_messages_with_roles(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    (tmp_path / "conversations.json").write_text(json.dumps(ROWS))
    assert to_ms_swift(conversation_rows(tmp_path / "conversations.json", Counter()), tmp_path / "out") == 3
    first, _, text = loaded(tmp_path / "out" / "mmevol.jsonl", tmp_path)
    assert first["messages"] == [
        {"role": "user", "content": "<image>\nWhat?"},
        {"role": "assistant", "content": "A cup"},
    ]
    assert text["images"] == []


def test_an_empty_image_is_none_an_added_mark_is_counted_and_a_mark_in_an_answer_stops_it(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(
        json.dumps([{"image": "", **talk("Hello", "Hi")}, {"id": "\ud800", "image": "x.png", **talk("What?", "A cup")}])
    )
    text, picture = conversation_rows(path, changed := Counter())
    assert (text["id"], picture["id"]) == ("1", "\\ud800")
    assert "image" not in text
    assert (picture["image"], picture["conversations"][0]["value"]) == ("x.png", "<image>\nWhat?")
    assert changed == {"image_mark_added": 1}
    path.write_text(json.dumps([{"image": "x.png", **talk("What?", "See <image>")}]))
    with pytest.raises(UserError, match="row 1: image_mark_in_answer"):
        list(conversation_rows(path, Counter()))
