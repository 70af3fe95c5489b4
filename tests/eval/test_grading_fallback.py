"""`mmevol+official_fallback`: the letters that MMEvol's copy of the kit draws, and nothing else, are drawn."""

import random

import pytest

from mmevol_core.errors import UserError
from mmevol_core.files import write_jsonl
from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.score import score_file

IMAGE = "A" * 68  # never decoded by scoring


def files(folder, rows, replies, judge):
    write_tsv(folder / "data.tsv", [{"image": IMAGE, "question": "?", **row} for row in rows])
    lines = [{"index": row["index"], "prediction": reply} for row, reply in zip(rows, replies, strict=True)]
    write_jsonl(folder / "p.jsonl", lines)
    write_jsonl(folder / "judge.jsonl", [{"index": index, "outputs": said} for index, said in judge.items()])
    return folder / "data.tsv", folder / "p.jsonl", folder / "out.json"


def test_the_official_fallback_draws_the_letters_of_mmevols_seed_by_ascending_index_and_counts_them(tmp_path):
    # random.Random(2680).choice over A, B, C, Z three times; the rows stand in the file in another order.
    draw = random.Random(2680)
    drawn = [draw.choice(["A", "B", "C", "Z"]) for _ in range(3)]
    rows = [{"index": i, "answer": drawn[int(i) - 1], "A": "x1", "B": "y1", "C": "z1"} for i in ("3", "1", "2")]
    paths = files(tmp_path, rows, ["hm"] * 3, {i: ["hm"] for i in "123"})
    replay = f"replay:{tmp_path / 'judge.jsonl'}"
    result = score_file("MMStar", *paths, protocol="mmevol+official_fallback", judge=replay)
    assert [(item["parsed"], item["score"], item["method"]) for item in result["items"]] == [
        (drawn[2], 1, "none"), (drawn[0], 1, "none"), (drawn[1], 1, "none"),
    ]  # fmt: skip
    assert (result["unparsed"], result["protocol"]["rules"]) == (3, "mmevol+official_fallback")
    assert "draws" in result["protocol"]["note"]
    assert score_file("MMStar", *paths, protocol="mmevol", judge=replay)["headline"]["value"] == 0
    with pytest.raises(UserError, match=r"mmevol\+official_fallback"):  # the kit draws without a seed
        score_file("MMStar", *paths, protocol="vlmevalkit+official_fallback", judge=replay)


def test_the_official_fallback_of_a_circular_item_goes_rotation_by_rotation(tmp_path):
    draw = random.Random(2680)
    first, second = (draw.choice(["A", "B", "Z"]) for _ in range(2))
    rows = [{"index": i, "answer": a, "A": "x1", "B": "y1", "category": "c"}
            for i, a in (("1", first), ("1000001", second))]  # fmt: skip
    paths = files(tmp_path, rows, ["hm"] * 2, {row["index"]: ["hm"] for row in rows})
    replay = f"replay:{tmp_path / 'judge.jsonl'}"
    result = score_file("MMBench", *paths, protocol="mmevol+official_fallback", judge=replay)
    assert (result["items"][0]["parsed"], result["items"][0]["score"]) == (f"{first},{second}", 1)
