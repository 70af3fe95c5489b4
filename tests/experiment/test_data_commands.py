"""Commands around evolution, as processes: what a user types in docs/dataengine.md."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

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
        "category": "Reasoning", "rows": 4, "usable": 4, "refused": {}, "unused": 1, "out": 3,
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
