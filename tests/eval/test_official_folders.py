"""Folders of official JSON: pictures are found by what the records call them, and nobody is asked without them."""

from pathlib import Path

import pytest

from mmevol_core.errors import UserError
from mmevol_core.files import write_json, write_jsonl
from mmevol_eval.benchmark import BenchmarkSettings
from mmevol_eval.benchmarks import find
from mmevol_eval.grading.folder import Pictures
from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.predict import predict
from mmevol_eval.score import score_file
from mmevol_eval.settings import EvaluateConfig
from mmevol_eval.tasks import load_tasks, questions
from mmevol_experiment.compose import compose
from mmevol_experiment.experiment import prepare
from mmevol_experiment.preflight import check

NOBODY = "http://127.0.0.1:1/v1#nobody"  # a question would fail here
VQA = {"question_id": 1, "image_id": 1, "question": "?"}
MMSINST = {"question_id": 1, "image": "1.png", "text": "?", "answer": "1", "source": "chart"}
GQA = {"question": "?", "answer": "red", "imageId": "1", "isBalanced": True}


def pictures(folder: Path, *names: str) -> Pictures:
    for name in names:
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_bytes(name.encode())
    return Pictures(folder)


def gqa(folder: Path, *ids: str) -> Path:
    questions = {index: {"question": "?", "answer": "red", "imageId": f"n{index}", "isBalanced": True} for index in ids}
    write_json(folder / "testdev_balanced_questions.json", questions)
    return folder


def asked(name: str, data: Path, **more: float) -> EvaluateConfig:
    return EvaluateConfig(names=(name,), settings={name: BenchmarkSettings(path=data)}, **more)


def test_a_folder_without_its_pictures_is_scored_but_never_asked(tmp_path):
    data, out = gqa(tmp_path / "gqa", "1", "2", "3", "4"), tmp_path / "p.jsonl"
    pictures(data, "n1.jpg", "n2.jpg", "n3.jpg")
    message = r"the pictures of 1 of 4 items are not there \(first: index 4, .*images/n4\); .*mmevol fetch GQA"
    with pytest.raises(UserError, match=message):
        predict("GQA", data, NOBODY, out, EvaluateConfig(names=("GQA",)))
    with pytest.raises(UserError, match=message):
        load_tasks(asked("GQA", data, max_failed=0.2), None)
    allowing = asked("GQA", data, max_failed=0.25)
    assert len(questions(load_tasks(allowing, None)[0], allowing)) == 8  # each with another's picture, too
    write_jsonl(out, [{"index": index, "prediction": "red"} for index in "1234"])
    assert score_file("GQA", data, out, tmp_path / "o.json")["headline"]["value"] == 100
    pictures(data, "n4.jpg")
    assert len(load_tasks(asked("GQA", data), None)[0].items) == 4


@pytest.mark.parametrize("name", ["there", "there.run"])
def test_a_folder_in_place_of_the_file_to_write_is_refused_before_anything_is_asked(tmp_path, name):
    data, out = gqa(tmp_path / "gqa", "1"), tmp_path / name
    pictures(data, "n1.jpg")
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match=f"--out .*{name} names a folder"):
        predict("GQA", data, NOBODY, out, EvaluateConfig(names=("GQA",)))


def test_a_run_stops_before_it_spends_when_the_pictures_of_a_folder_are_not_there(tmp_path):
    data = gqa(tmp_path / "official" / "GQA", "1", "2")
    pictures(data, "n1.jpg")
    overrides = [
        *("experiment=quickstart", "stages=[evaluation]", "evaluate.names=[GQA]", "evaluate.probes=false"),
        *("benchmarks=official", f"benchmarks.path={data.parent}", f"paths.outputs={tmp_path / 'outputs'}"),
    ]
    with pytest.raises(UserError, match=r"missing: .*GQA: the pictures of 1 of 2 items are not there \(first: index 2"):
        check(prepare(compose(overrides)))
    pictures(data, "n2.jpg")
    check(prepare(compose(overrides)))


def test_a_table_without_pictures_is_scored_but_never_asked(tmp_path):
    data, row = tmp_path / "MMStar.tsv", {"index": "1", "question": "?", "answer": "A", "A": "x", "B": "y"}
    write_tsv(data, [row, row | {"index": "2"}])
    with pytest.raises(UserError, match=r"2 of 2 items of .* have no picture \(first: index 1\)"):
        load_tasks(asked("MMStar", data, max_failed=1), None)
    write_tsv(data, [row | {"image_path": "a.png"}])
    with pytest.raises(UserError, match=r"the pictures of 1 of 1 items are not there \(first: index 1, .*a\.png\)"):
        load_tasks(asked("MMStar", data), None)


def test_pictures_of_one_name_in_several_folders_are_told_apart(tmp_path):
    rows = [
        {"question_id": place, "image": f"images/{source}/1.png", "text": "?", "answer": "1", "source": source}
        for place, source in enumerate(("chart", "maze"))
    ]
    write_json(tmp_path / "questions.json", rows)
    pictures(tmp_path, "chart/1.png", "maze/1.png")
    found = [item.images[0].relative_to(tmp_path).as_posix() for item in find("MMSInst").load(tmp_path)]
    assert found == ["images/chart/1.png", "images/maze/1.png"]


@pytest.mark.parametrize(
    ("files", "name", "file"),
    [
        (("a.jpg", "a.png"), "a.png", "a.png"),
        (("a.jpg", "a.png"), "a.jpg", "a.jpg"),
        (("a.jpg",), "a.png", "a.jpg"),  # saved anew in another format
        (("val2014/COCO_val2014_000000000009.jpg", "val2014/COCO_val2014_000000000090.jpg"), 9,
         "val2014/COCO_val2014_000000000009.jpg"),
        (("a.png", "old/a.png"), "./images/a.png", "a.png"),
        (("a.png", "old/a.png"), "old/a.png", "old/a.png"),
        (("1.jpg",), "https://host/photos/1.jpg", "1.jpg"),
        (("v1/chart/1.png", "v1/maze/1.png"), "data/chart/1.png", "v1/chart/1.png"),
        (("n1.5.jpg",), "n1.5", "n1.5.jpg"),
        ((), "b/a.png", "a.png"),  # is not there
    ],
)  # fmt: skip
def test_a_picture_is_found_by_path_then_by_name_then_by_stem(tmp_path, files, name, file):
    assert list(pictures(tmp_path, *files).of(name)) == [tmp_path / "images" / file]


def test_pictures_behind_a_linked_folder_are_found(tmp_path):
    pictures(tmp_path / "coco", "9.jpg")
    here = pictures(tmp_path / "vqa", "8.jpg")
    (tmp_path / "vqa" / "images" / "val2014").symlink_to(tmp_path / "coco" / "images")
    assert list(here.of(9)) == [tmp_path / "vqa" / "images" / "val2014" / "9.jpg"]


def test_a_picture_that_may_be_either_of_two_files_is_refused_when_it_is_looked_at(tmp_path):
    here = pictures(tmp_path, "a.jpg", "a.png", "x/b.png", "y/b.png")
    for name, files in (("a", "a.jpg or a.png"), ("b.png", "x/b.png or y/b.png")):
        found = here.of(name)  # scoring goes on
        with pytest.raises(UserError, match=f"may be {files}"):
            list(found)


def test_two_names_that_lead_to_one_file_are_refused_when_it_is_looked_at(tmp_path):
    here = pictures(tmp_path, "maze/1.png", "a.png")
    named = [here.of(name) for name in ("chart/1.png", "maze/1.png", "a.png", "images/a.png")]
    with pytest.raises(UserError, match=r"'chart/1\.png' and 'maze/1\.png' both lead to maze/1\.png"):
        list(named[0])
    assert list(named[2]) == list(named[3])


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("VQAv2", {"q.questions.json": {"questions": []}, "q_annotations.json": [1, 2]}, "has no list 'annotations'"),
        ("VQAv2", {"q.questions.json": [1, 2]}, "has no list 'questions'"),
        ("VQAv2", {"q.questions.json": {"questions": [{"question_id": 1}]}}, "record 1: field image_id is missing"),
        ("VQAv2", {"q.questions.json": {"questions": [VQA, VQA]}}, "question 1: this index occurs twice"),
        ("MMSInst", {"questions.json": [MMSINST, MMSINST]}, "question 1: this index occurs twice"),
        ("MMSInst", {"questions.json": [MMSINST, 7]}, "record 2: field question_id is missing"),
        ("GQA", {"questions.json": {"1": {"question": "?"}}}, "record 1: field isBalanced is missing"),
        ("GQA", {"questions.json": {"1": {"isBalanced": True}}}, "record 1: field question is missing"),
        ("GQA", {"questions.json": {"1": GQA | {"types": {}}}}, "record 1: field semantic is missing"),
        ("GQA", {"questions.json": [GQA]}, "holds no questions by their ids"),
        ("MIA-Bench", {"instruction.json": [{"image": "a", "instruction": "?", "type": "x"}]}, "components is missing"),
        ("MIA-Bench", {"instruction.json": {"instruction": "?"}}, "holds no list of records"),
        ("MIA-Bench", {"instruction.json": {"instruction": {"0": "?"}, "image": {}}}, "field image is missing"),
    ],
)  # fmt: skip
def test_a_broken_official_file_is_one_line_that_says_where(tmp_path, name, files, message):
    for file, content in files.items():
        write_json(tmp_path / file, content)
    with pytest.raises(UserError, match=message):
        list(find(name).load(tmp_path))
