"""Whole files, scored by the official evaluators and recorded: items, methods and tables.

`golden/tables.jsonl` holds eighteen made-up files in VLMEvalKit's columns with replies and stored judge outputs, and
what VLMEvalKit at e8e78f05 (`vlmevalkit`, pandas told to leave texts alone) and its copy in MMEvol at 4ba46699
(`mmevol`) made of them, evaluators unmodified. null: the letter was drawn at random; then no table was recorded.
"""

import json
from pathlib import Path

import pytest

from mmevol_core.files import write_jsonl
from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.score import score_file

FILE = Path(__file__).parent / "golden" / "tables.jsonl"
RECORDED = {case["benchmark"]: case for case in map(json.loads, FILE.read_text(encoding="utf-8").splitlines())}


def scored(folder, case, rules, mode):
    write_tsv(folder / "data.tsv", [dict(zip(case["columns"], row, strict=True)) for row in case["rows"]])
    write_jsonl(folder / "p.jsonl", [{"index": index, "prediction": said} for index, said in case["replies"].items()])
    judge = "none"
    if mode == "judge":
        judge = f"replay:{folder / 'judge.jsonl'}"
        write_jsonl(folder / "judge.jsonl", [{"index": i, "outputs": said} for i, said in case["judge"].items()])
    paths = (folder / "data.tsv", folder / "p.jsonl", folder / "out.json")
    return score_file(case["benchmark"], *paths, protocol=rules, judge=judge)


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_item_and_table_is_the_official_one(tmp_path, name):
    case = RECORDED[name]
    for mode, by_rules in case["official"].items():
        for rules, official in by_rules.items():
            result = scored(tmp_path, case, rules, mode)
            items = {item["index"]: item for item in result["items"]}
            assert items.keys() == official["items"].keys()
            for index, verdict in official["items"].items():
                score, method = verdict or (0, "none")
                assert (items[index]["score"], items[index]["method"]) == (pytest.approx(score), method), (rules, index)
            table = official.get("scores", {})
            assert {key: result["scores"].get(key) for key in table} == pytest.approx(table), (rules, mode)
