"""Mixtures: arms differ in rows only, and every item becomes one turn."""

import json

import pytest

from mmevol_core.errors import UserError
from mmevol_core.files import write_jsonl
from mmevol_core.sample import QA, Sample, write_samples
from mmevol_dataengine.ledger import REJECTED, Rejected
from mmevol_dataengine.mixture import LETTER_ANSWER, SHORT_ANSWER, STAGE, MixtureConfig

SEED = (QA(id="a", question="What is it?", answer="A cup"), QA(id="b", question="Tell me more.", answer="It is a cup."))
ONE = (QA(id="c", question="Which?\nA. cup\nB. dog", answer="A", format="multi_choice", direction="interaction"),)
TWO = (QA(id="d", question="Where?", answer="left", direction="fine_grained_perception", parent="c"),)
SAMPLES = [
    Sample(id="x", images=("x.png",), rounds=(SEED, ONE, (), TWO)),
    Sample(id="y", images=("y.png", "z.png"), rounds=(SEED[:1],)),
    Sample(id="t", images=(), rounds=(SEED[1:], (), (), ())),
]


def mixed(folder, arm, eliminated=None, **changes):
    write_samples(folder / "evolved.jsonl", SAMPLES)
    inputs = {"evolved": folder / "evolved.jsonl"}
    if eliminated is not None:
        write_jsonl(folder / "eliminated.jsonl", eliminated)
        inputs["eliminated"] = folder / "eliminated.jsonl"
    result = STAGE.run(MixtureConfig(arm=arm, **changes), inputs, folder)
    return json.loads(result.files["conversations"].read_text()), result.metrics


def test_the_seed_arm_has_one_row_a_record_with_an_image_line_for_each_image(tmp_path):
    rows, metrics = mixed(tmp_path, "seed")
    assert [row["id"] for row in rows] == ["x_r0", "y_r0", "t_r0"]
    assert [row.get("image") for row in rows] == ["x.png", ["y.png", "z.png"], None]
    assert rows[0]["conversations"] == [
        {"from": "human", "value": f"<image>\nWhat is it?\n{SHORT_ANSWER}"},
        {"from": "gpt", "value": "A cup"},
        {"from": "human", "value": "Tell me more."},
        {"from": "gpt", "value": "It is a cup."},
    ]
    assert rows[1]["conversations"][0]["value"].startswith("<image>\n<image>\nWhat")
    assert rows[2]["conversations"][0]["value"] == "Tell me more."
    assert (metrics["records_in"], metrics["rows_out"], metrics["turns_out"]) == (3, 3, 4)


def test_the_evolved_arm_has_a_row_for_each_round_that_is_not_empty(tmp_path):
    rows, metrics = mixed(tmp_path, "evolved")
    assert [row["id"] for row in rows] == ["x_r0", "x_r1", "x_r3", "y_r0", "t_r0"]
    assert rows[1]["conversations"][0]["value"] == f"<image>\nWhich?\nA. cup\nB. dog\n{LETTER_ANSWER}"
    assert rows[2]["conversations"][0]["value"] == "<image>\nWhere?"
    assert metrics["items_in"] == metrics["turns_out"] == 6
    assert metrics["empty_rounds"] == 4


@pytest.mark.parametrize(("arm", "rows"), [("interaction", ["x_r1"]), ("fine_grained_perception", ["x_r3"])])
def test_an_arm_of_one_direction_takes_its_items_and_the_seed(tmp_path, arm, rows):
    ids = [row["id"] for row in mixed(tmp_path, arm)[0]]
    assert [ident for ident in ids if not ident.endswith("r0")] == rows
    assert sum(ident.endswith("r0") for ident in ids) == 3


def test_the_unfiltered_arm_adds_what_was_eliminated_but_not_what_could_not_be_judged(tmp_path):
    def row(status, question):
        item = QA(id=question, question=question, answer="yes", direction="interaction")
        rejected = Rejected(item=item, status=status, reason="copy_of_parent", detail="same")
        return {"sample": "x", "round": 2, "direction": "interaction", **REJECTED.dump_python(rejected, mode="json")}

    rows, _ = mixed(tmp_path, "evolved_unfiltered", [row("eliminated", "Bad?"), row("failed", "Lost?")])
    (second,) = [row for row in rows if row["id"] == "x_r2"]
    assert [turn["value"] for turn in second["conversations"]] == ["<image>\nBad?", "yes"]


def test_the_unfiltered_arm_needs_the_eliminated_items(tmp_path):
    with pytest.raises(UserError, match="eliminated"):
        mixed(tmp_path, "evolved_unfiltered")


@pytest.mark.parametrize(("turns", "scope", "expected"), [("none", "seed", 0), ("all", "seed", 2), ("all", "all", 3)])
def test_where_short_answers_are_asked_for_is_configured(tmp_path, turns, scope, expected):
    rows, _ = mixed(tmp_path, "evolved", short_answers=turns, short_scope=scope)
    assert json.dumps(rows).count(SHORT_ANSWER) == expected


@pytest.mark.parametrize(
    ("form", "ids", "left_out"),
    [
        ("image_round", ["x_r0", "x_r1", "x_r3", "y_r0", "t_r0"], 0),
        ("image", ["x", "y", "t"], 0),
        ("item", ["x_r0_0", "x_r0_1", "x_r1_0", "x_r3_0", "y_r0_0", "t_r0_0"], 0),
        ("latest", ["x_r3", "y_r0", "t_r0"], 3),  # of x the two seed items and the one of round 1
    ],
)
def test_what_one_training_sample_is_can_be_chosen(tmp_path, form, ids, left_out):
    rows, metrics = mixed(tmp_path, "evolved", sample=form)
    assert [row["id"] for row in rows] == ids
    assert metrics["items_left_out"] == left_out
    assert metrics["items_in"] == metrics["turns_out"] + left_out == 6
    assert all(
        row["conversations"][0]["value"].count("<image>") == bool(row.get("image")) + (row["id"][0] == "y")
        for row in rows
    )
