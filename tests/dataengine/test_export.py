"""Parquet holds the whole lineage and comes back unchanged, by our reader and by `datasets`."""

import datasets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmevol_core.sample import QA, Box, Sample, Step, Text
from mmevol_dataengine.export import from_parquet, to_parquet

text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
corners = st.sampled_from([(0.0, 0.25, 0.5, 1.0), (0.125, 0.5, 0.75, 0.875)])
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
    boxes=st.lists(st.builds(Box, label=text, xyxy=corners), max_size=2).map(tuple),
    ocr=st.lists(st.builds(Text, text=text, xyxy=st.none() | corners), max_size=2).map(tuple),
    rounds=st.lists(st.lists(qa, max_size=2).map(tuple), max_size=3).map(tuple),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(sample, max_size=5))
def test_records_come_back_unchanged(tmp_path_factory, samples):
    folder = tmp_path_factory.mktemp("export")
    assert to_parquet(samples, folder, shard_rows=2) == len(samples)
    assert list(from_parquet(folder)) == samples


def test_datasets_loads_it_by_its_card(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    parent = QA(id="a", question="What?", answer="This")
    child = QA(id="b", question="Which?", answer="That", direction="interaction", parent="a", score=7.0)
    to_parquet([Sample(id="s", images=("x.png",), license="MIT", rounds=((parent,), (child,)))], tmp_path / "set")
    (row,) = datasets.load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    assert row["rounds"][1][0]["parent"] == row["rounds"][0][0]["id"] == "a"
    assert "MIT" in (tmp_path / "set" / "README.md").read_text()
