"""The check of a picture tree: every kind of damage is named under its folder, and quarantine keeps it out."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from mmevol_core.errors import UserError
from mmevol_core.images import ImagePolicy
from mmevol_core.sample import QA, Sample, write_samples
from mmevol_dataengine.blend import Blend, BlendConfig
from mmevol_dataengine.check import check_tree, read_quarantine, without, write_quarantine
from mmevol_dataengine.merging import Merging, merged
from mmevol_dataengine.seed import STAGE, SeedConfig
from mmevol_dataengine.seeds import read_llava

FOLDERS = ("coco", "vg", "dvqa", "sam", "wikiart")


@pytest.fixture
def tree(tmp_path):
    """Five folders with three pictures each (one of them deep), and four kinds of damage."""
    root = tmp_path / "images"
    for number, name in enumerate(FOLDERS):
        (root / name / "deep").mkdir(parents=True)
        for place, where in enumerate(("a.png", "b.jpg", "deep/c.png")):
            Image.effect_noise((40 + number, 30 + place), 50).save(root / name / where)
    whole = (root / "coco" / "b.jpg").read_bytes()
    (root / "coco" / "b.jpg").write_bytes(whole[: len(whole) // 2])  # truncated
    (root / "vg" / "a.png").write_text("<html>not found</html>")  # unreadable
    Image.new("L", (300, 300)).save(root / "dvqa" / "a.png")  # too large for the policy below
    (root / "sam" / "copy.png").write_bytes((root / "wikiart" / "a.png").read_bytes())  # duplicate
    (root / "sam" / "notes.txt").write_text("no picture")
    rows = [
        {"id": "1", "image": "wikiart/gone.png"},
        {"id": "2", "image": ["coco/a.png", "vizwiz/x.jpg"]},
        {"id": "3"},
        {"image": ""},
    ]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    return root


@pytest.mark.parametrize("processes", [1, 2])
def test_each_damage_is_counted_under_its_folder(tree, tmp_path, processes):
    report = check_tree(tree, [tmp_path / "data.json"], ImagePolicy(max_pixels=50_000), processes)
    found = {name: (folder.pictures, folder.good, dict(folder.bad), folder.missing) for name, folder in
             report.folders.items()}  # fmt: skip
    assert found == {
        "coco": (3, 2, {"truncated": 1}, 0),
        "vg": (3, 2, {"unreadable": 1}, 0),
        "dvqa": (3, 2, {"too_large": 1}, 0),
        "sam": (4, 4, {}, 0),
        "wikiart": (3, 3, {}, 1),
        "vizwiz": (0, 0, {}, 1),  # a folder that only the data file knows
    }
    assert report.duplicates == [["sam/copy.png", "wikiart/a.png"]]
    assert (report.folders["wikiart"].duplicates, report.folders["sam"].other_files) == (1, 1)
    assert [(row.image, row.reason) for row in report.bad] == [
        ("coco/b.jpg", "truncated"),
        ("dvqa/a.png", "too_large"),
        ("vg/a.png", "unreadable"),
        ("vizwiz/x.jpg", "missing"),
        ("wikiart/gone.png", "missing"),
    ]
    assert report.as_dict()["total"]["pictures"] == 16


def test_a_linked_folder_is_looked_at_once_also_where_it_leads_outside(tree, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tree / "sam" / "copy.png").rename(tmp_path / "elsewhere" / "x.png")
    (tree / "linked").symlink_to(tmp_path / "elsewhere")
    (tree / "vg" / "loop").symlink_to(tree)  # a link back to the root
    report = check_tree(tree)
    assert (report.folders["linked"].good, report.folders["linked"].bad) == (1, {})
    assert sum(folder.pictures for folder in report.folders.values()) == 16


def test_names_that_are_no_unicode_are_written_with_escapes(tree, tmp_path):
    (tree / "sam" / os.fsdecode(b"b\xffad.png")).write_text("no picture")
    (tmp_path / "data.json").write_text('[{"image": "\\ud800.png"}]')
    report = check_tree(tree, [tmp_path / "data.json"])
    names = {row.image: row.reason for row in report.bad}
    assert (names["sam/b\\udcffad.png"], names["\\ud800.png"]) == ("unreadable", "missing")
    assert write_quarantine(tmp_path / "bad.jsonl", report) == 4
    json.dumps(report.as_dict(), ensure_ascii=False).encode()


def test_rows_with_quarantined_pictures_are_refused_without_opening_them(tree, tmp_path):
    assert write_quarantine(tmp_path / "bad.jsonl", check_tree(tree)) == 2
    assert read_quarantine(tmp_path / "bad.jsonl") == {"coco/b.jpg": "truncated", "vg/a.png": "unreadable"}
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "That."}]
    rows = [{"id": name, "image": name, "conversations": turns} for name in ("coco/a.png", "coco/b.jpg", "vg/b.jpg")]
    (tmp_path / "seed.json").write_text(json.dumps(rows))
    config = SeedConfig(
        source="llava_json", path=tmp_path / "seed.json", image_root=tree, check_images="none", max_failed=0.5,
        quarantine=tmp_path / "bad.jsonl",
    )  # fmt: skip
    result = STAGE.run(config, {}, tmp_path / "out")
    assert result.metrics["failed"] == {"image_quarantined": 1}
    assert result.metrics["records"] == 2


def test_another_spelling_of_a_name_is_the_same_picture(tree, tmp_path):
    write_quarantine(tmp_path / "bad.jsonl", check_tree(tree))
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "That."}]
    names = ("./coco/b.jpg", "coco//b.jpg", "vg/../coco/b.jpg", "./coco//a.png", "./new/x.png", "new//x.png")
    rows = [{"id": name, "image": name, "conversations": turns} for name in names]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    kept = without(read_llava(tmp_path / "data.json"), read_quarantine(tmp_path / "bad.jsonl"))
    assert [getattr(row, "reason", "kept") for row in kept] == ["image_quarantined"] * 3 + ["kept"] * 3
    blend = Blend(
        BlendConfig(sources={"a": {"path": tmp_path / "data.json"}}, quarantine=tmp_path / "bad.jsonl")
    )  # fmt: skip
    assert blend.accounts["a"].refused == {"image_quarantined": 3}
    items = [(QA(id=name, question=f"{name}?", answer="x"),) for name in names]
    samples = [Sample(id=name, images=(name,), rounds=(item,)) for name, item in zip(names, items, strict=True)]
    write_samples(tmp_path / "seed.jsonl", samples)
    assert [len(row.latest) for row in merged(tmp_path / "seed.jsonl", Merging())] == [3, 1, 2]
    report = check_tree(tree, [tmp_path / "data.json"])
    assert [row.image for row in report.bad if row.reason == "missing"] == ["new/x.png"]
    assert report.folders["new"].missing == 1 and "." not in report.folders and "" not in report.folders


def test_a_file_that_is_no_list_is_refused(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"name": "x"}\n')
    with pytest.raises(UserError, match="no quarantine list"):
        read_quarantine(tmp_path / "bad.jsonl")


def test_the_command_prints_a_line_a_folder_and_exits_with_3(tree, tmp_path):
    command = [sys.executable, "-m", "mmevol_experiment", "data", "check", str(tree), "--data", "data.json"]
    files = ["--json", "report.json", "--quarantine", "bad.jsonl"]
    done = subprocess.run([*command, *files], capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 3
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "truncated 1" in lines["coco"]
    assert "missing 1" in lines["vizwiz"]
    assert json.loads((tmp_path / "report.json").read_text())["total"]["missing"] == 2
    assert len(read_quarantine(tmp_path / "bad.jsonl")) == 4
    assert done.stderr.startswith("mmevol: ")
