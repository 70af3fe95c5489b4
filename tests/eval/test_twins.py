"""The twins: official formats, answers that follow from the annotations, nothing to gain without looking."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from support import tiny_llava

from mmevol_core.errors import UserError
from mmevol_core.files import read_json
from mmevol_eval.benchmark import Item
from mmevol_eval.benchmarks import find
from mmevol_eval.data import TWINS, BenchmarksConfig, locate, prepare
from mmevol_eval.grading.judging import grade_components
from mmevol_eval.twins import mia
from mmevol_eval.twins.scene import COLORS, SHAPES, read_scenes

NAMES = tuple(TWINS)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tiny_llava.held_out(tmp_path_factory.mktemp("held_out"))


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmarks")
    config = BenchmarksConfig(source="twins", names=NAMES, items=300)
    return prepare(config, {"held_out": world}, out).files["benchmarks"]


def items(folder, name):
    rules = find(name)
    return list(rules.load(locate(folder, rules)))


@pytest.mark.parametrize("name", NAMES)
def test_the_official_loader_reads_about_300_items_and_every_picture(folder, name):
    found = items(folder, name)
    assert 280 <= len(found) <= 320
    assert len({item.index for item in found}) == len(found)
    assert all(item.images for item in found)


@pytest.mark.parametrize("name", [name for name in NAMES if not find(name).needs_judge])
def test_a_perfect_reader_of_the_annotations_scores_the_maximum(folder, name):
    rules, found = find(name), items(folder, name)
    profile = "without_nlp" if name == "MMSInst" else rules.rules[0]
    replies = {item.index: _reference(item) for item in found}
    graded = rules.grade_all(found, replies, profile, None)
    headline = rules.headline(profile)
    assert rules.scores(graded, profile)[headline.name] == pytest.approx(headline.maximum)


def _reference(item):
    if item.answer:
        return item.extra.get("answer_option") or item.answer
    return Counter(answer["answer"] for answer in item.extra["answers"]).most_common(1)[0][0]


def test_equal_seeds_write_equal_files_and_other_seeds_others(world, tmp_path):
    def written(seed, name):
        config = BenchmarksConfig(source="twins", names=("MME", "GQA"), items=60, seed=seed)
        root = prepare(config, {"held_out": world}, tmp_path / name).files["benchmarks"]
        return (root / "MME.tsv").read_bytes(), (root / "GQA/testdev_balanced_questions.json").read_bytes()

    assert written(0, "a") == written(0, "b")
    assert written(0, "a") != written(1, "c")


def test_mme_has_fourteen_categories_with_one_yes_and_one_no_a_picture(folder):
    pairs = defaultdict(list)
    for item in items(folder, "MME"):
        assert item.question.endswith("Please answer yes or no.")
        pairs[item.category, item.extra["image_path"]].append(item.answer)
    assert len({category for category, _ in pairs}) == 14
    assert all(sorted(answers) == ["No", "Yes"] for answers in pairs.values())


def test_mme_yes_comes_first_as_often_as_second(folder):
    first = Counter(item.answer for item in items(folder, "MME")[::2])
    assert 0.35 < first["Yes"] / sum(first.values()) < 0.65


def test_pope_answers_are_balanced_in_every_setting(folder):
    found = Counter((item.category, item.answer) for item in items(folder, "POPE"))
    assert {setting for setting, _ in found} == {"random", "popular", "adversarial"}
    assert len(set(found.values())) == 1


def test_mmstar_letters_are_balanced_and_its_six_capabilities_equal(folder):
    found = items(folder, "MMStar")
    letters = Counter(item.answer for item in found)
    assert max(letters.values()) - min(letters.values()) <= 1
    assert len(Counter(item.category for item in found)) == 6
    assert all(len(set(item.options.values())) == 4 for item in found)


def test_gqa_covers_the_structural_types_and_balances_yes_and_no(folder):
    stored = read_json(folder / "GQA/testdev_balanced_questions.json").values()
    assert {one["types"]["structural"] for one in stored} == {"query", "verify", "choose", "logical", "compare"}
    verdicts = Counter(one["answer"] for one in stored if one["answer"] in ("yes", "no"))
    assert abs(verdicts["yes"] - verdicts["no"]) <= 0.12 * sum(verdicts.values())


def test_gqa_choices_put_the_answer_first_and_last_equally_often(folder):
    stored = [
        one for one in read_json(folder / "GQA/testdev_balanced_questions.json").values() if " or " in one["question"]
    ]
    chosen = [one for one in stored if one["types"]["structural"] == "choose"]
    last = sum(one["question"].rstrip("?").removesuffix(" of the picture").endswith(one["answer"]) for one in chosen)
    assert 0.4 <= last / len(chosen) <= 0.6


def test_vqav2_gives_ten_answers_of_all_three_types_and_most_agree(folder):
    stored = read_json(folder / "VQAv2/v2_mscoco_val2014_annotations.json")["annotations"]
    assert {one["answer_type"] for one in stored} == {"yes/no", "number", "other"}
    for one in stored:
        texts = [answer["answer"] for answer in one["answers"]]
        assert len(texts) == 10
        assert texts.count(one["multiple_choice_answer"]) >= 6


def test_a_constant_color_answers_no_more_than_its_share(folder):
    asked = [item for item in items(folder, "GQA") if item.answer in COLORS]
    most = Counter(item.answer for item in asked).most_common(1)[0][1]
    assert most / len(asked) < 0.3


def test_scenes_come_from_boxes_alone(world):
    scene = read_scenes(world)[0]
    assert (scene.color, scene.shape, scene.digit) == ("blue", "circle", None)
    assert scene.shape in SHAPES
    assert scene.corner == "top left"


def test_a_record_that_the_twins_cannot_ask_about_is_named(world, tmp_path):
    line = (world / "annotations.jsonl").read_text().splitlines()[0].replace("blue circle", "purple star")
    (tmp_path / "annotations.jsonl").write_text(line)
    (tmp_path / "images").symlink_to(world / "images")
    with pytest.raises(UserError, match=r"record 0: twins need one box.*purple star"):
        read_scenes(tmp_path)


def test_twins_without_held_out_pictures_say_where_to_get_them(tmp_path):
    with pytest.raises(UserError, match="run stage seed"):
        prepare(BenchmarksConfig(source="twins", names=("MME",)), {}, tmp_path)


def test_official_files_are_linked_counted_and_missed_by_name(folder, tmp_path):
    config = BenchmarksConfig(source="official", names=("POPE", "GQA"), path=folder)
    result = prepare(config, {}, tmp_path / "a")
    assert result.metrics == {"POPE": 300, "GQA": 300}
    with pytest.raises(UserError, match=r"VQAv2: no data at .*mmevol fetch VQAv2 --to FOLDER"):
        prepare(BenchmarksConfig(source="official", names=("VQAv2",), path=tmp_path), {}, tmp_path / "b")


def test_the_scripted_judge_grades_each_component_of_an_instruction():
    judge = mia.ScriptedJudge()
    parts = ["Mention the word red", "Mention the word left", "Use at most 4 words"]
    item = Item(index="0", question="Describe it.", extra={"components": parts, "component_weight": [4, 3, 3]})
    verdict = judge.ask(grade_components(item, "A Red thing."))
    # red is there (4), left is not (0), three words are at most four (3): 7 of 10
    assert verdict.startswith(
        "score of component 1: 4/4, score of component 2: 0/3, score of component 3: 3/3, total score: 7/10."
    )
    graded = find("MIA-Bench").grade(replace_types(item), "A Red thing.", "vlmevalkit", judge)
    assert graded.score == 0.7


def replace_types(item):
    return replace(item, extra={**item.extra, "component_type": ["mention", "perspective", "length_limit"]})


def test_an_empty_reply_follows_no_component_and_a_foreign_one_is_refused():
    assert not mia.follows("Use at most 4 words", " ")
    with pytest.raises(UserError, match="does not know"):
        mia.follows("Be witty", "Ha.")


def test_mia_items_have_components_weights_of_ten_and_balanced_sizes(folder):
    found = items(folder, "MIA-Bench")
    assert {sum(item.extra["component_weight"]) for item in found} == {10}
    assert {len(item.extra["components"]) for item in found} == {2, 3, 4}
