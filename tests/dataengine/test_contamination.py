"""The contamination gate finds what a benchmark holds, in whatever form, and nothing else."""

import base64
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.broken_pictures import broken_png, huge_png

from mmevol_core.errors import UserError
from mmevol_core.images import ImageStore
from mmevol_core.sample import QA, Sample, write_samples
from mmevol_dataengine.contamination import Gate, GateConfig
from mmevol_dataengine.seed import STAGE, SeedConfig

LONG = "Which of the four boats behind the lighthouse in the old harbour carries the largest striped sail today"


def picture(seed, side=64):
    noise = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image, kind="png", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sample(name="a.png", question="What is it?", ident="s"):
    return Sample(id=ident, images=(name,), rounds=((QA(id="q", question=question, answer="x"),),))


@pytest.fixture
def folders(tmp_path):
    for name in ("images", "benchmarks"):
        (tmp_path / name).mkdir()
    (tmp_path / "images" / "a.png").write_bytes(encoded(picture(1)))
    (tmp_path / "images" / "flat.png").write_bytes(encoded(Image.new("RGB", (64, 64), "white")))
    return tmp_path


def sign(folders, record=None, **changes):
    gate = Gate(GateConfig(benchmarks=folders / "benchmarks", **changes))
    met = gate.check(record or sample(), ImageStore(folders / "images"))
    return met[0].sign if met else None


def test_the_same_pixels_are_found_in_another_encoding(folders):
    (folders / "benchmarks" / "x.bmp").write_bytes(encoded(picture(1), "bmp"))
    assert sign(folders) == "same_image"


def test_a_picture_inside_a_tsv_is_found(folders):
    image = base64.b64encode(encoded(picture(1))).decode()
    (folders / "benchmarks" / "MMStar.tsv").write_text(f"index\tquestion\timage\n0\tShort?\t{image}\n1\tOther?\t0\n")
    assert sign(folders) == "same_image"


def test_a_smaller_recompressed_copy_looks_the_same_and_another_picture_does_not(folders):
    (folders / "benchmarks" / "x.jpg").write_bytes(encoded(picture(1, 48), "jpeg", quality=70))
    assert sign(folders) == "similar_image"
    (folders / "benchmarks" / "x.jpg").write_bytes(encoded(picture(2), "jpeg"))
    assert sign(folders) is None


def test_flat_pictures_are_not_taken_for_each_other(folders):
    (folders / "benchmarks" / "x.png").write_bytes(encoded(Image.new("RGB", (64, 64), "black")))
    assert sign(folders, sample("flat.png")) is None


@pytest.mark.parametrize("name", ["gqa.json", "pope.jsonl"])
def test_a_long_run_of_words_is_a_sign_and_a_common_question_is_not(folders, name):
    row = json.dumps({"items": [{"question": f"{LONG.upper()}?"}]})
    (folders / "benchmarks" / name).write_text(row)
    assert sign(folders, sample(question=f"Tell me: {LONG}, please?")) == "same_question"
    assert sign(folders, sample(question="Which of the four boats is it?")) is None
    assert sign(folders, sample(question="Which of the four boats is it?"), words=4) == "same_question"


def test_the_seed_stage_drops_or_keeps_counts_and_lists_what_it_found(folders):
    (folders / "benchmarks" / "x.png").write_bytes(encoded(picture(1)))
    (folders / "benchmarks" / "broken.json").write_text("{")
    (folders / "images" / "b.png").write_bytes(encoded(picture(5)))
    write_samples(folders / "seed.jsonl", [sample(ident="s1"), sample("b.png", ident="s2")])
    for action, records in (("drop", 1), ("keep", 2)):
        gate = GateConfig(benchmarks=folders / "benchmarks", action=action)
        config = SeedConfig(
            source="samples", path=folders / "seed.jsonl", image_root=folders / "images", contamination=gate
        )
        result = STAGE.run(config, {}, folders / action)
        metrics = result.metrics
        (listed,) = [json.loads(line) for line in result.files["contaminated"].read_text().splitlines()]
        assert listed == {"id": "s1", "sign": "same_image", "action": action}
        (item,) = [json.loads(line) for line in result.files["contaminated_items"].read_text().splitlines()]
        assert item == {"benchmark": "x", "picture": "x.png", "how": "same_image", "record": "s1"}
        assert metrics["records"] == records
        assert metrics["contamination"]["met"] == {"x": 1}
        assert metrics["contamination"]["found"] == {"same_image": 1}
        assert metrics["contamination"]["benchmark_files_unread"] == ["broken.json"]
        assert metrics["rows"] == 2 == metrics["records"] + sum(metrics["failed"].values())


def test_every_item_that_is_met_is_named_as_the_benchmark_numbers_it(folders):
    """Row 7 holds the picture, row 9 refers to it, row 8 a list of two, the second of them recompressed."""
    own, other = (base64.b64encode(encoded(picture(seed))).decode() for seed in (1, 2))
    near = base64.b64encode(encoded(picture(1, 48), "jpeg", quality=70)).decode()
    cells = {"9": "7", "7": own, "8": f"['{other}', '{near}']", "6": other}
    rows = "".join(f"{index}\tShort?\t{cell}\n" for index, cell in cells.items())
    (folders / "benchmarks" / "MMStar.tsv").write_text("index\tquestion\timage\n" + rows)
    (folders / "benchmarks" / "GQA").mkdir()
    (folders / "benchmarks" / "GQA" / "q.json").write_text(json.dumps({"0812": {"question": LONG, "imageId": "n1"}}))
    (folders / "benchmarks" / "GQA" / "n1.png").write_bytes(encoded(picture(1)))
    (folders / "benchmarks" / "VQAv2").mkdir()
    listed = {"questions": [{"question": "Short?", "question_id": 4}, {"question": LONG, "question_id": 5}]}
    (folders / "benchmarks" / "VQAv2" / "q.json").write_text(json.dumps(listed))
    gate = Gate(GateConfig(benchmarks=folders / "benchmarks"))
    met = [one.row("s") for one in gate.check(sample(question=LONG), ImageStore(folders / "images"))]
    assert not gate.skipped
    assert sorted((row["how"], row["benchmark"], row.get("index") or row["picture"]) for row in met) == [
        ("same_image", "GQA", "GQA/n1.png"),
        ("same_image", "MMStar", "7"),
        ("same_image", "MMStar", "9"),
        ("same_question", "GQA", "0812"),
        ("same_question", "VQAv2", "5"),
        ("similar_image", "MMStar", "8"),
    ]


def test_files_of_every_kind_give_their_questions_and_pictures_and_those_that_give_none_are_named(folders):
    """The forms in which benchmarks are published; each holds a question or a picture that nothing else holds."""
    where = folders / "benchmarks"
    raws = {seed: encoded(picture(seed)) for seed in range(1, 8)}
    text = {seed: base64.b64encode(raw).decode() for seed, raw in raws.items()}
    asked = [LONG.replace(" ", f" {number} ") for number in range(1, 7)]
    rows = [{"id": "m_1", "question": "Short?", "image_1": {"bytes": raws[1], "path": "x.png"}, "image_2": None}]
    pq.write_table(pa.Table.from_pylist(rows), where / "MMMU.parquet")
    picture(2).save(where / "two.gif")
    picture(3).save(where / "three.tiff")
    (where / "up.tsv").write_text(f"\ufeffIndex\tQuestion\tImage\n7\t{asked[0]}\t{text[4]}\n", encoding="utf-8")
    (where / "hall.csv").write_text(f'question,visual\n"{asked[1]}, please",1\n')
    (where / "math.json").write_text(json.dumps([{"problem": asked[2], "pid": 3, "image": f"images/{'x' * 80}.png"}]))
    turns = [{"from": "human", "value": asked[3]}, {"from": "gpt", "value": asked[5]}]
    parts = [{"role": "user", "content": [{"type": "text", "text": asked[4]}]}]
    (where / "talk.json").write_text(json.dumps([{"id": "t", "conversations": turns}, {"messages": parts}]))
    (where / "pictures.jsonl").write_text(
        json.dumps({"image": text[5]}) + "\n" + json.dumps({"Images": [f"data:image/png;base64,{text[6]}"]})
    )
    (where / "none.json").write_text('[{"name": "nothing that is asked"}]')
    (where / "head.tsv").write_text("index\tquestion\n")
    (where / "README.md").write_text("# Read me")
    (where / "all.zip").write_bytes(b"x")
    (where / ".DS_Store").write_bytes(b"x")
    gate, store = Gate(GateConfig(benchmarks=where)), ImageStore(folders / "images")
    for seed, raw in raws.items():
        (folders / "images" / f"{seed}.png").write_bytes(raw)
    records = [sample(f"{seed}.png") for seed in raws]
    records += [sample("flat.png", question=question) for question in asked]
    met = [[meeting.row("s") for meeting in gate.check(one, store)] for one in records]
    assert [[(row["benchmark"], row.get("index")) for row in rows] for rows in met] == [
        [("MMMU", "m_1")], [("two", None)], [("three", None)], [("up", "7")], [("pictures", "0")], [("pictures", "1")],
        [], [("up", "7")], [("hall", "0")], [("math", "3")], [("talk", "t")], [("talk", "1")], [],
    ]  # fmt: skip
    assert gate.sources() == {
        "benchmark_files": 8, "benchmark_files_unread": ["README.md", "all.zip"],
        "benchmark_files_empty": ["head.tsv", "none.json"],
    }  # fmt: skip


def test_chinese_questions_are_compared_by_characters_each_half_a_word(folders):
    long = "图中左边的红色小鸟有多少只坐在河边那棵老橡树的树枝上，请你仔细数一数然后回答这个问题"
    (folders / "benchmarks" / "cn.tsv").write_text(f"index\tquestion\n1\t{long}\n", encoding="utf-8")
    assert sign(folders, sample(question=f"你好：{long[:27]}？")) == "same_question"  # 26 characters and a comma
    assert sign(folders, sample(question=f"你好：{long[:25]}？")) is None
    assert sign(folders, sample(question=f"你好：{long[:24]}？"), words=12) == "same_question"


def test_texts_about_pictures_are_no_pictures_and_cost_no_file(folders):
    asked = "Which of the many small boats on the long grey river carries a man with a red hat?"
    rows = [{"image_caption": "图" * 70, "image_hash": "a1" * 64, "question": "short"}, {"question": asked}]
    (folders / "benchmarks" / "x.json").write_text(json.dumps(rows), encoding="utf-8")
    assert sign(folders, sample("flat.png", question=asked)) == "same_question"


def test_a_missing_folder_is_a_user_error(folders):
    with pytest.raises(UserError, match="benchmark folder not found"):
        Gate(GateConfig(benchmarks=folders / "nowhere"))


def test_broken_pictures_of_a_benchmark_are_skipped_and_listed_and_those_of_seeds_are_left_to_their_check(folders):
    for name, broken in (("torn.png", broken_png), ("huge.png", huge_png)):
        (folders / "benchmarks" / name).write_bytes(broken())
        (folders / "images" / name).write_bytes(broken())
        assert sign(folders, sample(name)) is None
    assert sorted(Gate(GateConfig(benchmarks=folders / "benchmarks")).skipped) == ["huge.png", "torn.png"]
