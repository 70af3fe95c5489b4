import json
import random
import time
from itertools import pairwise
from pathlib import Path

import pytest

from mmevol_core.errors import UserError
from mmevol_core.files import write_json, write_jsonl
from mmevol_eval.benchmark import Item
from mmevol_eval.benchmarks.mme import COGNITION, PERCEPTION
from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.predictions import Answer
from mmevol_eval.score import match_answers, score_file

IMAGE = "A" * 68  # never decoded by scoring


def files(folder: Path, rows: list[dict[str, str]], replies: list[str], judge: dict[str, list[str]] | None = None):
    write_tsv(folder / "data.tsv", [{"image": IMAGE, "question": "?", **row} for row in rows])
    write_jsonl(folder / "p.jsonl", _lines(rows, replies))
    write_jsonl(folder / "judge.jsonl", [{"index": index, "outputs": said} for index, said in (judge or {}).items()])
    return folder / "data.tsv", folder / "p.jsonl", folder / "out.json"


def _lines(rows, replies):
    return [{"index": row["index"], "prediction": reply} for row, reply in zip(rows, replies, strict=True)]


def test_mme_points_are_those_counted_by_hand(tmp_path):
    # Each category: two images of two questions. First image both right, second one right.
    # accuracy 3/4 -> 75, both right 1/2 -> 50: 125 points a category; 10 and 4 categories.
    rows, replies = [], []
    for category in (*PERCEPTION, *COGNITION):
        for image, said in (("x.png", "YN"), ("y.png", "YY")):
            for answer, letter in zip(("Yes", "No"), said, strict=True):
                path = f"{category}/{image}"
                rows.append({"index": str(len(rows)), "answer": answer, "category": category, "image_path": path})
                replies.append("yes" if letter == "Y" else "no")
    result = score_file("MME", *files(tmp_path, rows, replies))
    assert result["scores"]["OCR"] == 125
    assert (result["scores"]["perception"], result["scores"]["reasoning"]) == (1250, 500)
    assert result["headline"] == {"name": "total", "value": 1750, "unit": "points", "maximum": 2800}
    fork = score_file("mme", *files(tmp_path, rows, replies), protocol="mmevol")
    assert fork["headline"]["value"] == pytest.approx(500 / 8)
    assert fork["protocol_hash"] != result["protocol_hash"]


def test_pope_counts_a_row_once_for_each_of_its_categories_and_unknown_as_no(tmp_path):
    rows = [
        {"index": "1", "answer": "Yes", "category": "random,popular"},
        {"index": "2", "answer": "Yes", "category": "random"},
        {"index": "3", "answer": "No", "category": "popular"},
    ]
    # said Yes, unreadable, Yes. Exploded rows: 1 twice, 2, 3. tp 2, said 3, present 3: P = R = F1 = 2/3; right 2 of 4.
    result = score_file("POPE", *files(tmp_path, rows, ["yes", "hm", "Yes!"]))
    assert result["headline"]["value"] == pytest.approx(200 / 3)
    assert result["scores"]["acc"] == 50
    assert result["scores"]["random|recall"] == 50
    assert result["unparsed"] == 1


def test_hallusionbench_wants_whole_figures_and_whole_questions(tmp_path):
    # Set 0: two figures x two questions; one of the four is wrong (figure 1, question 1).
    rows = [
        {"index": f"VD_chart_1_0_{figure}_{question}", "answer": "Yes", "category": "VD", "l2-category": "chart"}
        for figure in (0, 1)
        for question in (0, 1)
    ]
    scores = score_file("HallusionBench", *files(tmp_path, rows, ["yes", "yes", "yes", "no"]))["scores"]
    assert (scores["aAcc"], scores["fAcc"], scores["qAcc"]) == (75, 50, 50)
    assert scores["Avg"] == pytest.approx(175 / 3)


def test_seedbench_is_counted_overall_and_by_dimension(tmp_path):
    # Right, wrong, right: 2 of 3 overall; Scene Understanding 1 of 2, Text Recognition 1 of 1.
    rows = [
        {"index": str(n), "answer": "A", "A": "cat", "B": "dog", "category": category}
        for n, category in enumerate(("Scene Understanding", "Scene Understanding", "Text Recognition"))
    ]
    result = score_file("SEEDBench", *files(tmp_path, rows, ["A", "(B)", "cat"]))
    assert result["headline"]["value"] == pytest.approx(200 / 3)
    assert (result["scores"]["Scene Understanding"], result["scores"]["Text Recognition"]) == (50, 100)


def test_mmmu_turns_an_open_question_into_a_choice_of_two(tmp_path):
    rows = [{"index": str(n), "answer": "7 cm", "A": "", "B": "", "split": "validation"} for n in (1, 2)]
    result = score_file("MMMU_DEV_VAL", *files(tmp_path, rows, ["It is 7 cm", "8"]))
    assert [item["score"] for item in result["items"]] == [1, 0]
    assert result["headline"]["value"] == 50


def test_a_circular_item_needs_every_rotation_and_asks_the_judge_only_while_all_are_right(tmp_path):
    options = {"A": "cat", "B": "dog"}
    turned = {"A": "dog", "B": "cat"}
    rows = [{"index": str(i + turn), "answer": answer, **texts, "category": "logic_reasoning"}
            for i in (1, 2, 3) for turn, answer, texts in ((0, "A", options), (1_000_000, "B", turned))]  # fmt: skip
    replies = ["A", "B", "A", "A", "hm", "B"]  # item 1 right, item 2 wrong by rule, item 3 for the judge
    data, predictions, out = files(tmp_path, rows, replies, {"3": ["?", "A"]})
    result = score_file("MMBench_DEV_EN", data, predictions, out, judge=f"replay:{tmp_path / 'judge.jsonl'}")
    assert [(i["index"], i["score"], i["method"]) for i in result["items"]] == [
        ("1", 1, "rule"), ("2", 0, "rule"), ("3", 1, "judge"),
    ]  # fmt: skip
    alone = score_file("MMBench_DEV_EN", data, predictions, out)
    assert [(i["score"], i["method"]) for i in alone["items"]][2] == (0, "none")
    assert alone["scores"]["LR"] == pytest.approx(100 / 3)


def test_a_rotation_without_its_unrotated_row_is_refused(tmp_path):
    rows = [{"index": index, "answer": "A", "A": "cat", "B": "dog"} for index in ("1", "1000001", "1000002", "2000002")]
    with pytest.raises(UserError, match=r"2 rows are rotations of an item .* \(first: index 1000002\)"):
        score_file("MMBench", *files(tmp_path, rows, ["A"] * 4))


def test_a_failed_judge_call_is_not_read_even_when_it_holds_the_text_of_an_option(tmp_path):
    rows = [{"index": "1", "answer": "A", "A": "API", "B": "dog"}]
    paths = files(tmp_path, rows, ["hm"], {"1": ["Failed to obtain answer via API.", "B"]})
    result = score_file("MMStar", *paths, judge=f"replay:{tmp_path / 'judge.jsonl'}")
    assert result["items"][0].items() >= {"index": "1", "score": 0.0, "parsed": "B", "method": "judge"}.items()


def test_mathvista_settles_by_rule_then_by_judge_and_sends_a_right_zero_to_the_judge(tmp_path):
    base = {"question_type": "free_form", "answer_type": "integer", "choices": "", "answer_option": "",
            "task": "geometry", "skills": "['logic', 'algebra']"}  # fmt: skip
    rows = [
        base | {"index": "1", "answer": "7"},
        base | {"index": "2", "answer": "0"},
        base | {"index": "3", "answer": "1.5", "answer_type": "float"},
        base | {"index": "4", "answer": "[1]", "answer_type": "list"},
        base | {"index": "5", "answer": "b", "question_type": "multi_choice", "choices": "['a1', 'b1']",
                "answer_option": "B", "skills": "['logic']"},
    ]  # fmt: skip
    judge = {"2": ["0"], "3": ["Failed to obtain answer via API.", "1.50"], "4": ["[1]"]}
    paths = files(tmp_path, rows, ["7", "0", "1.5 cm", "[1]", "b1"], judge)
    result = score_file("MathVista_MINI", *paths, judge=f"replay:{tmp_path / 'judge.jsonl'}")
    assert [(item["score"], item["method"]) for item in result["items"]] == [
        (1, "rule"), (1, "judge"), (1, "judge"), (0, "judge"), (1, "rule"),
    ]  # fmt: skip
    assert result["scores"]["Overall"] == 80
    assert result["scores"]["algebra|tot"] == 4


def test_mia_bench_reads_one_sentence_and_leaves_other_items_out(tmp_path):
    row = {"components": "['c', 'd']", "component_weight": "[4, 6]", "component_type": "['mention', 'grammar']"}
    rows = [row | {"index": index} for index in "123"]
    good = "score of component 1: 4/4, score of component 2: 3/6, total score: 7/10. Because 1.5: 2/3, and so on"
    judge = {"1": [good], "2": [good.replace("4/4", "3.5/4")], "3": ["I like it"]}
    paths = files(tmp_path, rows, ["x"] * 3, judge)
    replay = f"replay:{tmp_path / 'judge.jsonl'}"
    result = score_file("MIA-Bench", *paths, judge=replay)
    assert result["headline"]["value"] == pytest.approx(70)
    assert (result["scores"]["mention"], result["scores"]["grammar"], result["scores"]["parsed"]) == (1, 0.5, 1)
    assert [item["score"] for item in result["items"]] == [0.7, None, None]
    assert result["unparsed"] == 2
    # MMEvol's script reports the last component instead of the total: 3/6
    assert score_file("MIA-Bench", *paths, protocol="mmevol", judge=replay)["headline"]["value"] == pytest.approx(50)


def test_a_judge_that_is_never_readable_gives_no_score_rather_than_0(tmp_path):
    row = {"components": "['c']", "component_weight": "[4]", "component_type": "['mention']"}
    paths = files(tmp_path, [row | {"index": n} for n in "12"], ["x", "y"], {"1": ["I like it"], "2": ["Sorry"]})
    with pytest.raises(UserError, match="MIA-Bench: none of the judge's replies about 2 items could be read"):
        score_file("MIA-Bench", *paths, judge=f"replay:{tmp_path / 'judge.jsonl'}")


def test_ratings_of_llava_bench_and_mm_vet_follow_their_parsers(tmp_path):
    rows = [{"index": i, "category": "conv", "caption": "c", "gpt4_ans": "g"} for i in "12"]
    paths = files(tmp_path, rows, ["x", "y"], {"1": ["8 6\nwhy"], "2": ["8, 6"]})  # the second has three parts: -1, -1
    scores = score_file("LLaVABench", *paths, judge=f"replay:{tmp_path / 'judge.jsonl'}")["scores"]
    assert scores["Relative Score (main)"] == pytest.approx(71.4)  # (6 - 1) / (8 - 1)
    rows = [{"index": i, "answer": "a", "category": "rec,ocr"} for i in "12"]
    paths = files(tmp_path, rows, ["x", "y"], {"1": ["bad", "1.2", "0.5"], "2": ["no"]})
    result = score_file("MMVet", *paths, judge=f"replay:{tmp_path / 'judge.jsonl'}")
    assert result["scores"] == {"Overall": 25, "rec": 25, "ocr": 25, "rec_ocr": 25}
    assert result["unparsed"] == 1


def vqa_folder(folder: Path) -> Path:
    answers = [{"answer": text, "answer_id": n, "answer_confidence": "yes"} for n, text in enumerate(["2"] * 10)]
    shared = {"question_id": 5, "image_id": 9}
    write_json(folder / "v2_questions.json", {"questions": [shared | {"question": "How many?"}]})
    annotation = shared | {"answer_type": "number", "question_type": "how many", "multiple_choice_answer": "2"}
    write_json(folder / "v2_annotations.json", {"annotations": [annotation | {"answers": answers}]})
    return folder


def test_vqav2_reads_the_official_folder_and_differs_between_raw_and_submitted_replies(tmp_path):
    folder = vqa_folder(tmp_path / "vqa")
    write_jsonl(tmp_path / "p.jsonl", [{"index": 5, "prediction": "Two."}])
    official = score_file("VQAv2", folder, tmp_path / "p.jsonl", tmp_path / "o.json")
    submitted = score_file("VQAv2", folder, tmp_path / "p.jsonl", tmp_path / "o.json", protocol="llava_submission")
    assert (official["headline"]["value"], submitted["headline"]["value"]) == (0, 100)
    assert submitted["scores"]["answer_type|number"] == 100


def test_gqa_reports_the_official_breakdown(tmp_path):
    def question(answer, structural, words):
        types = {"structural": structural, "semantic": "attr", "detailed": "color"}
        steps = [{"operation": "select", "argument": "dog"}, {"operation": "query: name", "argument": ""}]
        return {"question": words, "answer": answer, "imageId": "1", "isBalanced": True, "types": types,
                "semantic": steps, "groups": {"global": "colors"}}  # fmt: skip

    questions = {"1": question("red", "query", "What color ?"), "2": question("red", "query", "Which color ?"),
                 "3": question("no", "verify", "Is it ?"), "4": {"isBalanced": False}}  # fmt: skip
    write_json(tmp_path / "gqa" / "testdev_balanced_questions.json", questions)
    write_jsonl(tmp_path / "p.jsonl", _lines([{"index": i} for i in "123"], ["red", "blue", "no"]))
    scores = score_file("GQA", tmp_path / "gqa", tmp_path / "p.jsonl", tmp_path / "o.json")["scores"]
    assert (scores["open"], scores["binary"], scores["steps|1"]) == (50, 100, pytest.approx(200 / 3))
    # one group: red twice expected and once said, (1-2)^2/2 = 0.5; no once and once, 0. Weighted by size: 0.5 / 100
    assert scores["distribution"] == pytest.approx(0.5 / 100)


def test_self_instruct_leaves_summaries_out_and_scores_routes_by_their_markers(tmp_path):
    rows = [
        {"question_id": 1, "image": "a.png", "text": "?", "answer": "100", "type": "MATH_REASONING", "source": "chart"},
        {"question_id": 2, "image": "a.png", "text": "?", "answer": "a b", "type": "SUMMARY", "source": "chart"},
        {"question_id": 3, "image": "b.png", "text": "?", "answer": "", "source": "maze", "markers": ["A1", "B2"]},
    ]
    write_json(tmp_path / "mmsi" / "questions.json", rows)
    lines = _lines([{"index": i} for i in "123"], ["The answer is 102.", "a b", "go A1, A1"])
    write_jsonl(tmp_path / "p.jsonl", lines)
    paths = (tmp_path / "mmsi", tmp_path / "p.jsonl", tmp_path / "o.json")
    result = score_file("MMSInst", *paths, protocol="without_nlp")
    rouge = {name: pytest.approx(1) for name in ("summary_rouge_l", "chart|summary_rouge_l")}
    assert result["scores"] == {"mean": 75, "chart": 100, "maze": 50, **rouge}
    assert result["items"][1]["score"] is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"index": "1", "prediction": "A"}], "lacks 1 of 2 predictions"),
        ([{"index": "1", "prediction": "A"}, {"index": 1, "prediction": "B"}], "occurs twice"),
        ([{"index": "1", "prediction": None}], "prediction must be text"),
        ([{"id": "1"}], "record 1: expected"),
    ],
)
def test_predictions_that_do_not_fit_stop_the_score(tmp_path, lines, message):
    data, predictions, out = files(tmp_path, [{"index": i, "answer": "A", "A": "x"} for i in "12"], ["A", "A"])
    write_jsonl(predictions, lines)
    with pytest.raises(UserError, match=message):
        score_file("MMStar", data, predictions, out)
    assert not out.exists()


@pytest.mark.parametrize("names", [("01", "1", "02"), ("01", "1", "2")])
def test_an_index_with_and_without_leading_zeros_occurs_twice(tmp_path, names):
    data, predictions, out = files(tmp_path, [{"index": i, "answer": "A", "A": "x"} for i in "12"], ["A", "A"])
    write_jsonl(predictions, [{"index": i, "prediction": "A"} for i in names])
    with pytest.raises(UserError, match="'1' occurs twice"):
        score_file("MMStar", data, predictions, out)


def test_predictions_may_begin_with_the_mark_that_editors_on_windows_write(tmp_path):
    data, predictions, out = files(tmp_path, [{"index": i, "answer": "A", "A": "x"} for i in "12"], ["A", "A"])
    predictions.write_bytes(b"\xef\xbb\xbf" + predictions.read_bytes())
    assert score_file("MMStar", data, predictions, out)["headline"]["value"] == 100


@pytest.mark.parametrize("said", ["", False, None, "cut"])
def test_a_key_failure_of_another_tool_beside_a_reply_is_no_failure(tmp_path, said):
    data, predictions, out = files(tmp_path, [{"index": i, "answer": "A", "A": "x"} for i in "12"], ["A", "A"])
    write_jsonl(predictions, [{"index": i, "prediction": "A", "failure": said} for i in "12"])
    found = score_file("MMStar", data, predictions, out)
    assert (found["headline"]["value"], found["failed"]) == (100.0, 0)


def test_an_index_with_an_underscore_is_no_number():
    items = [Item(index=index, question="q", answer="A") for index in ("1_1", "x")]
    with pytest.raises(UserError, match="lacks 1 of 2"):
        match_answers(items, {"11": Answer("A", None), "x": Answer("A", None)}, Path("p"))


def test_predictions_of_no_item_are_counted(tmp_path):
    data, predictions, out = files(tmp_path, [{"index": i, "answer": "A", "A": "x"} for i in "12"], ["A", "A"])
    assert score_file("MMStar", data, predictions, out)["unused_predictions"] == 0
    write_jsonl(predictions, [{"index": i, "prediction": "A"} for i in "1234"])
    assert score_file("MMStar", data, predictions, out)["unused_predictions"] == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3\tred", '3\t"red', "cut or damaged: a quoted cell never ends"),
        ("2\tred?\tA\tx\ty\n", "2\tred?\tA\tx\ty\tz\n", "row '2' has 6 cells for 5 columns"),
        ("4\tred?\tA\tx\ty\n", "4\tred?\tA", "its last row, '4', has 3 cells for 5 columns"),
    ],
)
def test_a_damaged_file_is_never_scored_on_what_is_left(tmp_path, old, new, message):
    text = "index\tquestion\tanswer\tA\tB\n" + "".join(f"{n}\tred?\tA\tx\ty\n" for n in range(1, 5))
    (tmp_path / "data.tsv").write_text(text.replace(old, new))
    write_jsonl(tmp_path / "p.jsonl", [{"index": n, "prediction": "A"} for n in range(1, 5)])
    with pytest.raises(UserError, match=message):
        score_file("MMStar", tmp_path / "data.tsv", tmp_path / "p.jsonl", tmp_path / "o.json")
    # as pandas and the kit read it: quotes within a cell, text after a quoted one, line ends in one, a short row
    legal = text.replace("3\tred?", '3\tis "red" 5" wide?').replace("2\tred?", '2\t"two\nlines"')
    legal = legal.replace("1\tred?\tA\tx\ty", '1\t"red" or not?\tA\tx')
    (tmp_path / "data.tsv").write_text(legal)
    assert score_file("MMStar", tmp_path / "data.tsv", tmp_path / "p.jsonl", tmp_path / "o.json")["n"] == 4


def test_numbered_predictions_may_have_leading_zeros(tmp_path):
    data, predictions, out = files(tmp_path, [{"index": i, "answer": "A", "A": "x"} for i in ("01", "2")], ["A", "A"])
    write_jsonl(predictions, [{"index": i, "prediction": "A"} for i in ("001", "02")])
    assert score_file("MMStar", data, predictions, out)["headline"]["value"] == 100


def test_a_spare_line_that_is_no_number_takes_no_leading_zeros_away(tmp_path):
    data, predictions, out = files(tmp_path, [{"index": i, "answer": "A", "A": "x"} for i in "12"], ["A", "A"])
    write_jsonl(predictions, [{"index": i, "prediction": "A"} for i in ("01", "2", "note")])
    result = score_file("MMStar", data, predictions, out)
    assert (result["n"], result["unused_predictions"]) == (2, 1)


@pytest.mark.parametrize(
    ("questions", "replies"),
    [
        (("07333408", "17333409"), ("07333408", "17333409")),
        (("07333408", "17333409"), ("7333408", "17333409")),  # a table took them for numbers
        (("7", "07"), ("7", "07")),  # two questions
    ],
)
def test_ids_with_leading_zeros_are_answered_by_their_own_lines(tmp_path, questions, replies):
    asked = {"question": "?", "imageId": "1", "isBalanced": True}
    content = {index: asked | {"answer": answer} for index, answer in zip(questions, ("red", "blue"), strict=True)}
    write_json(tmp_path / "gqa" / "testdev_balanced_questions.json", content)
    lines = [{"index": index, "prediction": said} for index, said in zip(replies, ("red", "blue"), strict=True)]
    write_jsonl(tmp_path / "p.jsonl", lines)
    result = score_file("GQA", tmp_path / "gqa", tmp_path / "p.jsonl", tmp_path / "o.json")
    assert (result["headline"]["value"], result["unused_predictions"]) == (100, 0)
    write_jsonl(tmp_path / "p.jsonl", [{"index": replies[0], "prediction": "red"}])
    with pytest.raises(UserError, match=f"lacks 1 of 2 predictions .first: index '{questions[1]}'"):
        score_file("GQA", tmp_path / "gqa", tmp_path / "p.jsonl", tmp_path / "o.json")


def test_a_judged_benchmark_without_a_judge_and_an_unknown_protocol_are_refused(tmp_path):
    paths = files(tmp_path, [{"index": "1", "answer": "A", "category": "rec"}], ["A"])
    with pytest.raises(UserError, match="--judge"):
        score_file("MMVet", *paths)
    with pytest.raises(UserError, match=r"unknown protocol 'vlmeval'.*vlmevalkit"):
        score_file("MMStar", *paths, protocol="vlmeval")
    with pytest.raises(UserError, match="no judge outputs for item '1'"):
        score_file("MMVet", *paths, judge=f"replay:{paths[1].parent / 'judge.jsonl'}")


def test_the_written_file_is_the_result_and_scoring_twice_gives_the_same(tmp_path):
    paths = files(tmp_path, [{"index": "1", "answer": "A", "A": "None", "B": "N/A"}], ["N/A"])
    first = score_file("MMStar", *paths)
    assert json.loads(paths[2].read_text()) == first == score_file("MMStar", *paths)
    assert first["items"][0].items() >= {"index": "1", "score": 0.0, "parsed": "B", "method": "rule"}.items()


def test_the_hash_changes_with_every_part_of_the_protocol(tmp_path):
    rows = [{"index": "1", "answer": "A", "A": "x", "B": "y"}]
    paths = files(tmp_path, rows, ["A"], {"1": ["A"]})
    replay = f"replay:{tmp_path / 'judge.jsonl'}"
    hashes = [score_file("MMStar", *paths, protocol=rules)["protocol_hash"] for rules in ("vlmevalkit", "mmevol")]
    hashes.append(score_file("MMStar", *paths, judge=replay)["protocol_hash"])
    paths = files(tmp_path, [rows[0] | {"question": "other"}], ["A"])
    hashes.append(score_file("MMStar", *paths)["protocol_hash"])
    assert all(one != other for one, other in pairwise(sorted(hashes)))


def test_ten_thousand_predictions_are_scored_within_five_seconds(tmp_path):
    rng = random.Random(0)
    options = {letter: f"option number {n} of some length" for n, letter in enumerate("ABCD")}
    rows = [{"index": str(n), "answer": rng.choice("ABCD"), **options, "category": "c"} for n in range(10_000)]
    replies = [rng.choice(["A", "The answer is B", "option number 2 of some length", "no idea " * 20]) for _ in rows]
    paths = files(tmp_path, rows, replies)
    start = time.process_time()  # CPU seconds: other work on the machine does not count
    assert score_file("MMStar", *paths)["n"] == 10_000
    assert time.process_time() - start < 5


def test_predictions_without_an_answer_are_counted_beside_the_score(tmp_path):
    rows = [{"index": str(number), "answer": "Yes", "category": "random"} for number in range(4)]
    data, predictions, out = files(tmp_path, rows, ["yes"] * 4)
    assert score_file("POPE", data, predictions, out)["failed"] == 0
    lines = _lines(rows, ["yes", "yes", "yes", ""])
    write_jsonl(predictions, [*lines[:3], lines[3] | {"failure": "chat: timeout"}])
    result = score_file("POPE", data, predictions, out)
    assert (result["failed"], result["scores"]["acc"]) == (1, 75)


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("MMStar", [{"answer": "A", "A": "cat", "B": "dog", "category": "c", "l2_category": "d"}], "A"),
        ("MMVet", [{"answer": "cat", "category": "rec"}], "1.0"),
        ("LLaVABench", [{"answer": "cat", "category": "conv", "gpt4_ans": "cat", "caption": "a cat"}], "9 9"),
        ("POPE", [{"answer": "No", "category": "random"}], "No"),
    ],
)
def test_an_item_without_a_reply_is_wrong_and_no_judge_is_asked_about_it(name, rows, said, tmp_path):
    paths = files(tmp_path, [{"index": "1", **row} for row in rows], [""], judge={"1": [said]})
    write_jsonl(paths[1], [{"index": "1", "prediction": "", "failure": "chat: timeout"}])
    result = score_file(name, *paths, judge=f"replay:{tmp_path / 'judge.jsonl'}")
    assert (result["items"][0]["score"], result["judged"], result["failed"]) == (0, 0, 1)
    write_jsonl(tmp_path / "judge.jsonl", [{"index": "2", "outputs": [said]}])  # it knows nothing of the item
    assert score_file(name, *paths, judge=f"replay:{tmp_path / 'judge.jsonl'}")["headline"]["value"] == 0


def test_a_rotation_without_a_reply_makes_its_question_wrong(tmp_path):
    row = {"A": "cat", "B": "dog", "category": "c", "l2-category": "d", "split": "dev"}
    rows = [row | {"index": "1", "answer": "A"}, row | {"index": "1000001", "A": "dog", "B": "cat", "answer": "B"}]
    paths = files(tmp_path, rows, ["A", ""], judge={"1000001": ["B"]})
    lines = _lines(rows, ["A", ""])
    write_jsonl(paths[1], [lines[0], lines[1] | {"failure": "chat: timeout"}])
    result = score_file("MMBench", *paths, judge=f"replay:{tmp_path / 'judge.jsonl'}")
    assert (result["headline"]["value"], result["judged"]) == (0, 0)


@pytest.mark.parametrize("name", ["MMVet", "MMStar"])
def test_the_scripted_judge_is_refused_for_what_it_cannot_grade(name, tmp_path):
    rows = [{"index": "1", "answer": "A", "A": "cat", "category": "c", "l2_category": "d"}]
    with pytest.raises(UserError, match=f"MIA-Bench twin alone and knows nothing of {name}"):
        score_file(name, *files(tmp_path, rows, ["hm"]), judge="scripted")
