"""Commands around evolution, as processes: what a user types in docs/dataengine.md."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmevol_core.errors import UserError
from mmevol_experiment.__main__ import app
from mmevol_experiment.compose import compose
from mmevol_experiment.experiment import prepare
from mmevol_experiment.preflight import check

TALK = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cup"}]


def mmevol(folder, *arguments):
    """Status, standard output, standard error of `mmevol data ...` run in a folder."""
    command = [sys.executable, "-m", "mmevol_experiment", "data", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    return done.returncode, done.stdout, done.stderr


def test_mix_skips_and_names_missing_files_and_export_reads_what_it_wrote(tmp_path):
    rows = [{"id": str(number), "image": "coco/a.jpg", "conversations": TALK} for number in range(4)]
    (tmp_path / "gqa.json").write_text(json.dumps(rows))
    options = ["blend.missing=skip", "blend.sources.gqa.path=gqa.json", "blend.category_caps.Reasoning=3"]
    status, out, error = mmevol(tmp_path, "mix", "mixed", *options)
    assert (status, error) == (0, "")
    assert "Reasoning" in out
    assert "missing: ai2d" in out
    accounts = json.loads((tmp_path / "mixed" / "accounts.json").read_text())
    assert accounts["sources"]["gqa"] == {
        "category": "Reasoning", "rows": 4, "usable": 4, "refused": {}, "changed": {}, "unused": 1, "out": 3,
    }  # fmt: skip
    status, _, error = mmevol(tmp_path, "export", "mixed/conversations.json", "swift", "--as", "ms_swift")
    assert (status, error) == (0, "")
    lines = (tmp_path / "swift" / "mmevol.jsonl").read_text().splitlines()
    assert [json.loads(line)["images"] for line in lines] == [["coco/a.jpg"]] * 3


def test_mix_without_its_files_names_them_in_one_line(tmp_path):
    status, _, error = mmevol(tmp_path, "mix", "mixed")
    assert status == 2
    assert error.startswith("mmevol: mix: files not found: ai2d (")
    assert error.count("\n") == 1


def test_import_of_parquet_needs_no_image_root_and_other_kinds_do(tmp_path):
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108020000"
        "00907753de0000000c4944415408d763f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
    )
    row = {"id": "a", "image": {"bytes": png, "path": None}, "conversations": TALK}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    options = ["--check-images", "exists"]
    status, out, error = mmevol(tmp_path, "import", "parquet", "rows.parquet", "records", *options)
    assert (status, error) == (0, "")
    assert '"records":1' in out
    assert len(list((tmp_path / "records" / "images" / "embedded").rglob("*.png"))) == 1
    status, _, error = mmevol(tmp_path, "import", "llava_json", "rows.json", "records")
    assert status == 2
    assert "needs --images" in error


def test_a_plan_names_the_files_of_a_blend_before_anything_is_spent(tmp_path):
    blend = [f"+blend@mixtures.{arm}.blend=table5" for arm in ("seed", "evolved")]
    command = [sys.executable, "-m", "mmevol_experiment", "plan", "experiment=quickstart", *blend]
    command.append(f"paths.outputs={tmp_path}")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert done.stderr.count("gqa.json (mixtures.ARM.blend)") == 1


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with one input of every kind, good and bad, as the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 6), "red").save(tmp_path / "images" / "a.png")
    item = {"id": "q", "question": "What?", "answer": "A cup"}
    (tmp_path / "good.jsonl").write_text(json.dumps({"id": "r", "images": ["a.png"], "rounds": [[item]]}) + "\n")
    (tmp_path / "mixed.json").write_text(json.dumps([{"id": "1", "image": "a.png", "conversations": TALK}]))
    (tmp_path / "silent.json").write_text('[{"id": "1"}]')
    (tmp_path / "none.json").write_text("[]")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "bytes.jsonl").write_bytes(bytes(range(128, 200)))
    return tmp_path


REFUSED = {
    # options that a kind of input has no use for
    "export good.jsonl out --sample item": "--sample item: Parquet holds whole records",
    "export mixed.json out --as ms_swift --sample item": "--sample item: mixed.json holds training samples already",
    "export mixed.json out --as llava": "mixed.json is LLaVA JSON already",
    "check images --images images": "--images is for records",
    "check good.jsonl --images images --strict --json r.json": "--json, --strict: for folders of pictures",
    "check good.jsonl --images images --data x --quarantine q": "--data, --quarantine: for folders of pictures",
    "check good.jsonl --images images --processes 2": "--processes: for folders of pictures",
    "import llava_json mixed.json out --images images --captions-alone": "llava_json holds questions",
    "curate good.jsonl out --images images teacher.base_url=http://localhost:1/v1": "has no base_url",
    "curate good.jsonl out --images images experiment=quickstart": "unknown config group 'experiment'",
    # wrong paths, wrong kinds, nothing in it
    "check nowhere": "not found: nowhere",
    "check images --json images": "images is a folder",
    "check good.jsonl --images nowhere": "image folder not found: nowhere",
    "check empty.jsonl --images images": "empty.jsonl holds no records",
    "import llava_json nowhere.json out --images images": "file not found: nowhere.json",
    "import llava_json silent.json out --images images": "none of 1 rows is usable (no_questions 1)",
    "import samples bytes.jsonl out --images images": "bytes.jsonl line 1 is not JSON",
    "export nowhere.jsonl out": "file not found: nowhere.jsonl",
    "export empty.jsonl out": "empty.jsonl holds no records",
    "export none.json out --as llama_factory": "none.json holds no records",
    "export other.jsonl out --as llava": "other.jsonl record 1: field id",
    "export silent.json out --as llama_factory": "silent.json row 1: no_questions",
    "stats empty.jsonl": "empty.jsonl holds no questions",
    "show good.jsonl 7": "good.jsonl holds no record '7'",
    "figures nowhere": "file not found: nowhere",
    "curate nowhere out --images images": "file not found: nowhere",
    "curate good.jsonl out --images nowhere": "image folder not found: nowhere",
    "curate good.jsonl out --images images curation=nope": "unknown curation 'nope'",
    "mix out blend.missing=skip": "mix: no row can be used",
    "mix out blend.missing=skip blend.image_root=nowhere": "image folder not found: nowhere",
}


@pytest.mark.parametrize("typed", REFUSED)
def test_a_data_command_that_cannot_be_obeyed_says_why_in_one_line_and_writes_no_result(files, typed):
    with pytest.raises(UserError) as refused:
        app(["data", *typed.split()], standalone_mode=False)
    assert REFUSED[typed] in str(refused.value)
    assert "\n" not in str(refused.value) and refused.value.status in (2, 3)
    results = ("seed.jsonl", "conversations.json", "mmevol.json", "mmevol.jsonl", "README.md", "r.json", "q")
    assert not [path for name in results for path in files.rglob(name)]


def test_an_export_of_records_for_trainers_leaves_a_mixture_in_the_folder_alone(files, capsys):
    (files / "conversations.json").write_text("[]")
    app(["data", "export", "good.jsonl", ".", "--as", "ms_swift"], standalone_mode=False)
    assert (files / "conversations.json").read_text() == "[]"
    (row,) = map(json.loads, (files / "mmevol.jsonl").read_text().splitlines())
    assert row["messages"][0] == {"role": "user", "content": "<image>\nWhat?"}


def planned(tmp_path, *overrides):
    return prepare(compose(["experiment=quickstart", f"paths.outputs={tmp_path}", *overrides]))


def test_curation_stands_between_seed_and_evolve_only_when_it_is_chosen(tmp_path):
    plain, curated = planned(tmp_path), planned(tmp_path, "curation=mmevol", "+teacher@curation.judge=vllm")
    assert "curation" not in plain.jobs
    assert plain.jobs["evolve"].inputs["seed"] == ("seed", "seed")
    assert curated.jobs["curation"].inputs == {"seed": ("seed", "seed"), "images": ("seed", "images")}
    assert curated.jobs["evolve"].inputs["seed"] == ("curation", "seed")
    assert curated.jobs["curation"].node.config["judge"]["model"] == "Qwen/Qwen2-VL-72B-Instruct"
    assert {"curation", "distribution", "manifest.curation"} <= set(curated.jobs["report"].inputs)
    same = [key for key, job in plain.jobs.items() if job.fingerprint == curated.jobs[key].fingerprint]
    assert same == ["seed", "benchmarks", "pretrain"]  # what does not see the records


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["stages=[curation]"], "nothing is curated: add curation=default | mmevol"),
        (["curation.limit=5"], "curation.limit is set, but nothing is curated: add curation=default"),
        (["data.path=seed.json"], "source tiny_world reads no files: leave out path"),
        (["recipe.rounds=0"], "recipe"),
    ],
)
def test_settings_without_effect_are_refused(tmp_path, overrides, said):
    with pytest.raises(UserError) as refused:
        planned(tmp_path, *overrides)
    assert said in str(refused.value)


def test_a_missing_key_is_answered_with_its_name_and_a_way_without_it(tmp_path):
    with pytest.raises(UserError) as refused:
        check(
            planned(tmp_path, "teacher=openai", "teacher.api_key_name=NOBODY_SETS_THIS", "recipe.personas=nowhere.txt")
        )
    said = str(refused.value)
    assert "environment variable NOBODY_SETS_THIS (teacher.api_key_name; export it, or choose teacher=scripted" in said
    assert "nowhere.txt (recipe.personas)" in said
    assert "scale=tiny" not in said  # it is tiny already


def test_tools_and_keys_of_curation_are_missed_before_anything_is_spent(tmp_path):
    with pytest.raises(UserError) as refused:
        check(
            planned(
                tmp_path,
                "curation=mmevol",
                "+teacher@curation.judge=openai",
                "curation.judge.api_key_name=NOBODY_SETS_THIS",
                "curation.annotate.detector=/nowhere/owl",
                "curation.topics.embedder=nowhere/bert",
            )
        )
    said = str(refused.value)
    assert "NOBODY_SETS_THIS (curation.judge.api_key_name" in said
    assert "/nowhere/owl (curation.annotate.detector; " in said
    assert "nowhere/bert (curation.topics.embedder; " in said


def test_a_curation_that_asks_nobody_needs_no_key(tmp_path):
    plan = planned(
        tmp_path,
        "curation=default",
        "curation.teacher=null",
        "teacher=openai",
        "teacher.api_key_name=NOBODY_SETS_THIS",
        "stages=[curation]",
    )
    check(plan)
    assert "curation" in plan.jobs
