"""The mix: weights, caps and shares come out exactly, and every row of every source is accounted for."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl, write_jsonl
from mmevol_core.sample import QA, Sample, write_samples
from mmevol_dataengine.blend import Blend, BlendConfig
from mmevol_dataengine.mixture import STAGE, MixtureConfig
from mmevol_experiment.compose import compose, compose_groups
from mmevol_experiment.graph import build


def row(name, image="a.png", mark="<image>\n"):
    turns = [{"from": "human", "value": f"{mark if image else ''}What is {name}?"}, {"from": "gpt", "value": "It."}]
    return {"id": name, **({"image": image} if image else {}), "conversations": turns}


@pytest.fixture
def folder(tmp_path):
    def write(name, rows):
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
        return {"path": tmp_path / f"{name}.json"}

    return write


def blended(sources, **more):
    blend = Blend(BlendConfig(sources=sources, **more))
    return list(blend.rows()), blend.as_dict()


def test_weights_and_caps_choose_rows_and_what_is_not_taken_is_counted(folder):
    ten = [row(str(number)) for number in range(10)]
    sources = {
        "half": {**folder("half", ten), "weight": 0.5},
        "twice": {**folder("twice", ten[:3]), "weight": 2},
        "more": {**folder("more", ten[:4]), "weight": 1.5, "category": "M"},
        "capped": {**folder("capped", ten), "cap": 4, "category": "M"},
    }
    rows, books = blended(sources)
    counts = {name: (account["out"], account["unused"]) for name, account in books["sources"].items()}
    assert counts == {"half": (5, 5), "twice": (6, 0), "more": (6, 0), "capped": (4, 6)}
    assert len(rows) == books["rows_out"] == 21
    assert books["categories"]["M"] == {"rows": 10, "share": round(10 / 21, 4)}
    assert len({row["id"] for row in rows}) == 21
    assert [row["id"] for row in rows if row["id"].startswith("twice/0")] == ["twice/0", "twice/0+1"]
    assert blended(sources)[0] == rows  # the choice depends on the seed alone


def test_a_category_cap_is_met_exactly_and_shared_in_proportion(folder):
    sources = {
        name: {**folder(name, [row(str(number)) for number in range(count)]), "category": "K"}
        for name, count in (("a", 7), ("b", 2), ("c", 1))
    }
    _, books = blended(sources, category_caps={"K": 5})
    # 7, 2, 1 of 10 cut to 5: 3.5, 1.0, 0.5 -> 3, 1, 0 and the one left over goes to the first of the largest remainders
    assert [account["out"] for account in books["sources"].values()] == [4, 1, 0]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=4), cap=st.integers(0, 12), weight=st.floats(0.1, 3))
def test_no_cap_is_passed_and_every_row_is_somewhere(folder, counts, cap, weight):
    sources = {
        f"s{number}": {**folder(f"s{number}", [row(str(place)) for place in range(count)]), "weight": weight,
                       "category": "K"}
        for number, count in enumerate(counts)
    }  # fmt: skip
    rows, books = blended(sources, category_caps={"K": cap})
    wanted = sum(round(count * weight) for count in counts)
    assert len(rows) == books["rows_out"] == min(cap, wanted)
    for name, account in books["sources"].items():
        taken = {row["id"].split("+")[0] for row in rows if row["id"].startswith(f"{name}/")}
        assert len(taken) + account["unused"] == account["usable"]


def test_rows_that_cannot_be_used_are_refused_by_reason(folder, tmp_path):
    (tmp_path / "images" / "coco").mkdir(parents=True)
    for name in ("a.png", "bad.png"):
        (tmp_path / "images" / "coco" / name).write_bytes(b"x")
    (tmp_path / "bad.jsonl").write_text('{"image": "coco/bad.png", "reason": "truncated"}\n')
    sources = {
        "pictures": {
            **folder("pictures", [row("1"), row("2", "gone.png"), row("3", "bad.png"), "text"]),
            "prefix": "coco/",
        },
        "text": {
            **folder("text", [row("1", image=None), {**row("3", image=None), "image": ""}, row("2")]),
            "text_only": True,
        },
    }
    rows, books = blended(sources, image_root=tmp_path / "images", quarantine=tmp_path / "bad.jsonl")
    assert [row.get("image") for row in rows] == ["coco/a.png", None, None]
    assert books["sources"]["pictures"]["refused"] == {
        "image_missing": 1, "image_quarantined": 1, "not_an_object": 1,
    }  # fmt: skip
    assert books["sources"]["text"]["refused"] == {"has_image": 1}


@pytest.fixture
def gated(folder, tmp_path):
    """Three rows: the benchmark's picture, its question behind a mark in the text, and a clean one."""
    for name in ("images", "benchmarks"):
        (tmp_path / name).mkdir()
    long = "which of the four boats behind the lighthouse carries the largest striped sail of all"
    for name, seed in (("a.png", 1), ("b.png", 2)):
        noise = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / name)
    Image.open(tmp_path / "images" / "a.png").save(tmp_path / "benchmarks" / "x.bmp")
    (tmp_path / "benchmarks" / "q.tsv").write_text(f"index\tquestion\n7\t{long}\n")
    asked = long.replace(" ", "<image> ", 1)
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": "It."}]
    rows = [{}, row("1"), {"image": "b.png", "conversations": turns}, row("3", "b.png")]
    return {"sources": {"a": folder("a", rows)}, "image_root": tmp_path / "images"}


@pytest.mark.parametrize(("action", "out"), [("drop", 1), ("keep", 3)])
def test_rows_that_meet_a_benchmark_are_refused_or_kept_and_listed_by_their_number_in_the_file(
    gated, tmp_path, action, out
):
    blend = Blend(BlendConfig(**gated, contamination={"benchmarks": tmp_path / "benchmarks", "action": action}))
    assert len(list(blend.rows())) == out == blend.accounts["a"].out
    refused = {"contaminated_same_image": 1, "contaminated_same_question": 1} if action == "drop" else {}
    assert blend.accounts["a"].refused == {"no_questions": 1, **refused}
    files, account = blend.write_found(tmp_path)
    assert account["contamination"]["found"] == {"same_image": 1, "same_question": 1}
    assert account["contamination"]["benchmark_files"] == 2
    assert list(read_jsonl(files["contaminated"])) == [
        {"id": "a:2", "sign": "same_image", "action": action}, {"id": "a:3", "sign": "same_question", "action": action},
    ]  # fmt: skip
    assert [line["record"] for line in read_jsonl(files["contaminated_items"])] == ["a:2", "a:3"]


def test_the_stage_hands_on_what_the_blend_keeps_together_with_what_the_seeds_kept(gated, tmp_path):
    item = QA(id="q", question="What?", answer="That")
    write_samples(tmp_path / "evolved.jsonl", [Sample(id="s", images=("a.png",), rounds=((item,),))])
    write_jsonl(tmp_path / "seeds.jsonl", [{"benchmark": "MME", "index": "4", "how": "same_image", "record": "s"}])
    gate = {"benchmarks": tmp_path / "benchmarks", "action": "keep"}
    config = MixtureConfig(arm="seed", blend=BlendConfig(**gated, contamination=gate))
    inputs = {"evolved": tmp_path / "evolved.jsonl", "contaminated": tmp_path / "seeds.jsonl"}
    result = STAGE.run(config, inputs, tmp_path / "out")
    listed = [line["record"] for line in read_jsonl(result.files["contaminated_items"])]
    assert listed == ["s", "a:2", "a:3"]
    assert result.metrics["blend"]["contamination"]["met"] == {"q": 1, "x": 1}


def test_an_evaluation_gets_the_list_of_its_own_mixture_when_the_blend_keeps_what_it_meets():
    gate = "{benchmarks: bm, action: keep}"
    blend = ["+blend@mixtures.seed.blend=table5", f"mixtures.seed.blend.contamination={gate}"]
    chosen = ["stages=[seed,evolve,mixture,pretrain,finetune,benchmarks,evaluate]", *blend]
    for more, mixture in (([], None), ([f"data.contamination={gate}"], ("seed", "contaminated_items"))):
        nodes = {node.key: node for node in build(compose(["experiment=quickstart", *chosen, *more]))}
        assert nodes["mixture.seed"].inputs.get("contaminated") == mixture
        assert nodes["evaluate.seed"].inputs["contaminated"] == ("mixture.seed", "contaminated_items")
        assert nodes["evaluate.evolved"].inputs.get("contaminated") == mixture


def test_a_gate_without_an_image_root_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="set image_root"):
        BlendConfig(sources={"a": folder("a", [])}, contamination={"benchmarks": tmp_path})


def test_an_image_without_a_mark_gets_one_and_is_counted(folder):
    rows, books = blended({"a": folder("a", [row("1", mark=""), row("2")])})
    assert [row["conversations"][0]["value"] for row in rows] == ["<image>\nWhat is 1?", "<image>\nWhat is 2?"]
    assert books["sources"]["a"]["changed"] == {"image_mark_added": 1}


def test_marks_stay_where_the_row_has_them_and_those_of_answers_are_refused(folder):
    def talk(*values, **more):
        turns = [{"from": ("human", "gpt")[place % 2], "value": value} for place, value in enumerate(values)]
        return {"conversations": turns, **more}

    two = ["a.png", "b.png"]
    kept = [
        talk("In <image> this, in <image> that?", "Yes", image=two),
        talk("<image>\nWhat?", "A", "<image>\nAnd here?", "B", image=two),
        talk("What?\n<image>", "A", image="a.png"),
    ]
    lost = [
        talk("What?", "<image> is it", image="a.png"),  # was taken for the mark of the question
        talk("Hello", "The tag <image>"),
        talk("The tag <image>?", "Yes", image=""),
    ]
    rows, books = blended({"a": folder("a", [*kept, *lost])})
    assert [row["conversations"] for row in rows] == [row["conversations"] for row in kept]
    assert [row["image"] for row in rows] == [two, two, "a.png"]
    account = books["sources"]["a"]
    assert account["refused"] == {"image_mark_in_answer": 2, "image_marks_differ": 1}
    assert account["changed"] == {}


def test_a_system_prompt_is_kept_and_a_last_question_left_out_and_counted(folder):
    turns = [{"from": "system", "value": "Be kind."}, *row("1")["conversations"], {"from": "human", "value": "And?"}]
    (only,), books = blended({"a": folder("a", [{"image": "a.png", "conversations": turns}])})
    assert only["conversations"] == turns[:3]
    assert books["sources"]["a"]["changed"] == {"last_question_dropped": 1}


def test_all_missing_files_are_named_at_once_or_skipped_and_named(folder, tmp_path):
    sources = {"a": folder("a", [row("1")]), "b": {"path": tmp_path / "b.json"}, "c": {"path": tmp_path / "c.json"}}
    with pytest.raises(UserError, match=r"b \(.*b\.json\), c \(.*c\.json\)"):
        blended(sources)
    rows, books = blended(sources, missing="skip")
    assert (len(rows), books["missing"]) == (1, ["b", "c"])


def test_a_cap_of_an_unknown_category_is_refused(folder):
    with pytest.raises(UserError, match="Knowlege"):
        blended({"a": folder("a", [])}, category_caps={"Knowlege": 1})


def test_the_stage_mixture_appends_the_blend_to_the_arms_rows(folder, tmp_path):
    item = QA(id="q", question="What?", answer="That")
    write_samples(tmp_path / "evolved.jsonl", [Sample(id="s", images=("a.png",), rounds=((item,),))])
    config = MixtureConfig(arm="seed", blend=BlendConfig(sources={"more": folder("more", [row("1"), row("2")])}))
    result = STAGE.run(config, {"evolved": tmp_path / "evolved.jsonl"}, tmp_path / "out")
    rows = json.loads(result.files["conversations"].read_text())
    assert [row["id"] for row in rows] == ["s_r0", "more/0", "more/1"]
    assert result.metrics["blend"]["rows_out"] == 2


def test_the_papers_table_is_a_file_that_fits():
    config = fit(BlendConfig, compose_groups({"blend": "table5"}, [])["blend"], "blend")
    # table 5 sums to 1,634K, of which 447K are the arm's own
    assert sum(config.category_caps.values()) == 1_634_000 - 447_000
    assert {source.category for source in config.sources.values()} == set(config.category_caps)
