import base64
import re
from pathlib import Path

import pytest
import yaml

import mmevol_eval.benchmarks
from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_eval.benchmark import PublishedData
from mmevol_eval.benchmarks import MODULES, find, names
from mmevol_eval.grading.tsv import read_items, write_tsv

ROOT = Path(__file__).parents[2]
PICTURE = base64.b64encode(b"\x89PNG" + b"\0" * 80).decode()
ROW = {"index": "1", "image": PICTURE, "question": "?", "answer": "A", "A": "x", "B": "y"}


def test_the_table_the_modules_and_the_configurations_agree():
    modules = {file.stem for file in Path(mmevol_eval.benchmarks.__file__).parent.glob("*.py")} - {"__init__"}
    configurations = {file.stem: yaml.safe_load(file.read_text()) for file in (ROOT / "conf/benchmark").glob("*.yaml")}
    assert modules == set(MODULES.values()) == set(configurations)
    published = {stem: fit(PublishedData, values, stem).name for stem, values in configurations.items()}
    assert published == {module: name for name, module in MODULES.items()}


@pytest.mark.parametrize("name", names())
def test_every_benchmark_states_its_rules(name):
    benchmark = find(name)
    text = __import__(f"mmevol_eval.benchmarks.{MODULES[name]}", fromlist=["x"]).__doc__
    assert benchmark.name == name
    for word in ("Data:", "Prompt:", "Unparsed:", "Formula", "Source:"):
        assert re.search(rf"^{word}", text, re.MULTILINE), f"{name} does not state {word}"


def test_names_of_the_kit_are_found_and_a_wrong_one_is_answered_with_the_nearest():
    aliases = ("AI2D_TEST", "GQA_TestDev_Balanced", "MIA-Bench", "MMBench_DEV_EN", "ScienceQA_TEST", "TextVQA_VAL")
    assert [find(name).name for name in aliases] == ["AI2D_TEST", "GQA", "MIA-Bench", "MMBench", "ScienceQA", "TextVQA"]
    with pytest.raises(UserError, match="MMStar"):
        find("MMStr")


def test_raw_strings_stay_raw(tmp_path):
    path = tmp_path / "x.tsv"
    write_tsv(path, [ROW | {"A": "None", "B": "N/A", "C": "nan", "D": "", "hint": 'a "quoted"\ttab\nline'}])
    (item,) = read_items(path)
    assert dict(item.options) == {"A": "None", "B": "N/A", "C": "nan"}
    assert item.extra["hint"] == 'a "quoted"\ttab\nline'


def test_a_short_image_cell_is_the_index_of_the_row_that_holds_the_image(tmp_path):
    path = tmp_path / "x.tsv"
    write_tsv(path, [ROW, ROW | {"index": "2", "image": "1"}, ROW | {"index": "3", "image": str([PICTURE, PICTURE])}])
    first, second, third = read_items(path)
    assert list(first.images) == list(second.images) == [base64.b64decode(PICTURE)]
    assert first.cluster == second.cluster != third.cluster
    assert len(third.images) == 2


def test_a_row_may_refer_to_an_earlier_one_that_refers_on(tmp_path):
    path = tmp_path / "x.tsv"
    write_tsv(path, [ROW, ROW | {"index": "2", "image": "1"}, ROW | {"index": "3", "image": "2"}])
    assert [list(item.images) for item in read_items(path)] == [[base64.b64decode(PICTURE)]] * 3


def test_image_paths_are_absolute_or_beside_the_file_or_where_the_kit_puts_them(tmp_path):
    path, row = tmp_path / "Set.tsv", {"index": "1", "question": "?", "answer": "A"}
    kept = tmp_path / "images" / "Set" / "a.png"
    kept.parent.mkdir(parents=True)
    kept.touch()
    write_tsv(path, [row | {"image_path": f"['a.png', 'b.png', '{tmp_path / 'c.png'}']"}])
    (item,) = read_items(path)
    assert item.images == (kept, tmp_path / "b.png", tmp_path / "c.png")


def test_rows_without_an_image_are_left_out_as_in_the_kit(tmp_path):
    path = tmp_path / "x.tsv"
    write_tsv(path, [ROW, ROW | {"index": "2", "image": ""}])
    assert [item.index for item in read_items(path)] == ["1"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW], "row 1: this index occurs twice"),
        ([ROW | {"image": "9"}], "refers to row '9'"),
        ([{"index": "1", "image": PICTURE, "question": "?"}], "no column 'answer'"),
        ([{"id": "1", "question": "?"}], "no column 'index'"),
        ([{key: value for key, value in ROW.items() if key != "image"} | {"image_path": "../../x.png"}], "leaves"),
    ],
)
def test_a_wrong_file_is_one_line_that_says_where(tmp_path, rows, message):
    path = tmp_path / "x.tsv"
    write_tsv(path, rows)
    with pytest.raises(UserError, match=message):
        list(read_items(path))


def test_broken_base64_is_an_error_when_the_image_is_looked_at_and_not_before(tmp_path):
    path = tmp_path / "x.tsv"
    write_tsv(path, [ROW | {"image": "A" * 65}])
    (item,) = read_items(path)
    with pytest.raises(UserError, match="row 1: its image is not base64"):
        item.images[0]
