"""The report: its sentences follow from the items, its ledger keeps records and items apart, its check can fail."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mmevol_core.files import read_json, write_json, write_jsonl
from mmevol_core.sample import QA, Box, Sample, write_samples
from mmevol_experiment.findings import findings, labels
from mmevol_experiment.readme import table
from mmevol_experiment.report import ReportConfig, run

CHECK = Path(__file__).parents[2] / ".ci/check_report.py"
ARMS = ("seed", "seed_matched", "evolved")
NAMES = ("GQA", "POPE2", "MMStar2")  # names without rules of their own: plain means
# Right answers of ten questions, with the item's own picture and with another's. The evolved arm is better on MMStar2
# alone (10 of 10 against 0), so: average (0 + 0 + 100) / 3 = +33.3, without MMStar2 0.0.
RIGHT = {
    "seed": {"GQA": (5, 2), "POPE2": (5, 2), "MMStar2": (4, 2)},
    "seed_matched": {"GQA": (5, 2), "POPE2": (5, 2), "MMStar2": (0, 0)},
    "evolved": {"GQA": (5, 2), "POPE2": (5, 0), "MMStar2": (10, 0)},
}
TOKENS = {"seed": (828_000, 48_000), "seed_matched": (3_700_000, 213_000), "evolved": (3_700_400, 558_000)}
ROW = {
    "records": 10, "answered": 9, "failed_records": {"unparsable": 1},
    "given": 40, "kept": 30, "eliminated": {"low_score": 4, "unchanged": 1}, "failed": {"unparsable": 5},
    "generated": 36, "unwritten": 5, "surplus": {"item_count": 1},
}  # fmt: skip


def items(arm):
    rows = []
    for name in NAMES:
        real, exchanged = RIGHT[arm][name]
        for number in range(10):
            row = {"benchmark": name, "headline": "accuracy", "index": str(number), "cluster": str(number)}
            scores = {"score": float(number < real), "blind_score": float(number < exchanged)}
            rows.append({**row, **scores, "category": "", "answer": "red", "prediction": ""})
    return rows


def scores(arm):
    def entry(real, exchanged):
        unparsed = 1 if real else 10  # the control's answers to MMStar2 cannot be read
        numbers = {"score": 10.0 * real, "ci95": [0.0, 100.0], "n": 10, "unparsed": unparsed, "blind": 10.0 * exchanged}
        numbers |= {"real_minus_blind": 10.0 * (real - exchanged), "percent": 10.0 * real}
        numbers["mde"] = 5.0 + real  # MMStar2: 9, 5 and 15
        return {**numbers, "protocol": {"rules": "official"}, "protocol_hash": "0123456789abcdef"}

    benchmarks = {name: entry(*RIGHT[arm][name]) for name in NAMES}
    benchmarks["POPE2"] |= {"empty": 2, "truncated": None, "without_answer": ["7"] if arm == "seed" else []}
    benchmarks["POPE2"]["clean"] = {"score": 43.2, "ci95": [20.0, 60.0], "n": 8, "left_out": 2}
    average = {"score": 40.0, "ci95": [30.0, 50.0], "n": 30, "unit": "percent", "blind": 20.0, "real_minus_blind": 20.0}
    seen = {"real": 0.7, "blind": 0.3, "real_minus_blind": 0.4, "n": 10}
    cells = {"right": 0.4, "other": 0.35, "n": 20}
    return {"benchmarks": benchmarks, "average": average, "gates": {"seed_type": seen, "cell_binding_4": cells}}


def receipt(config=None, metrics=None):
    seconds = {"seconds": 1.5, "finished": "2026-01-01T00:00:00+00:00", "fingerprint": "ab", "version": "1"}
    return {**seconds, "config": config or {}, "metrics": metrics or {}, "versions": {"python": "3.11"}}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    found = {}

    def put(role, value, writer=write_json):
        found[role] = root / role
        writer(found[role], value)

    seed = QA(id="q0", question="what color?", answer="red")
    child = QA(id="q1", question="Which color?", answer="red", parent="q0", direction="interaction", score=8.0)
    box = Box(label="red circle", xyxy=(0.1, 0.1, 0.5, 0.5))
    sample = Sample(
        id="r", images=("r.png",), caption="A red circle.", source="test", boxes=(box,), rounds=((seed,), (child,))
    )
    (root / "images").mkdir()
    Image.new("RGB", (8, 8), "red").save(root / "images/r.png")
    found["images"] = root / "images"
    put("evolved", [sample], write_samples)
    rounds = [{"round": 1, "direction": "interaction", **ROW}, {"round": 2, "direction": "interaction", **ROW}]
    total = {key: {r: 2 * n for r, n in v.items()} if isinstance(v, dict) else 2 * v for key, v in ROW.items()}
    put("ledger", {"records": 10, "rounds": rounds, "total": total})
    put("manifest.evolve", receipt({"teacher": {"kind": "scripted"}}))
    put("manifest.pretrain", receipt({"backbone": {"vision_tower": "standin:clip_tower"}}))
    put("losses.pretrain", [{"step": n, "loss": 1.0 / n} for n in (1, 2, 3)], write_jsonl)
    for arm in ARMS:
        put(f"scores.{arm}", scores(arm))
        put(f"items.{arm}", items(arm), write_jsonl)
        tokens, supervised = TOKENS[arm]
        trained = {"train_samples": 10, "train_tokens": tokens, "supervised_tokens": supervised, "final_loss": 0.5}
        put(f"manifest.finetune.{arm}", receipt(metrics=trained))
        put(f"manifest.evaluate.{arm}", receipt({"judge": "scripted", "names": ["GQA", "MIA-Bench"]}))
    put("manifest.evaluate.seed", {**receipt({"judge": "scripted"}), "versions": {"python": "3.12"}})
    return found


@pytest.fixture(scope="module")
def made(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    run(ReportConfig(name="quickstart", arms=ARMS), inputs, out)
    return out


@pytest.fixture(scope="module")
def numbers(made):
    return read_json(made / "report.json")


def test_the_answer_says_what_one_benchmark_carries_with_an_interval(numbers):
    first = numbers["findings"][0]
    assert first.startswith(
        "The evolved arm is 33.3 points (95 % interval of the difference +16.0 to +50.4) above its control"
    )
    assert "on the average of the 3 benchmarks" in first
    assert first.endswith("Without MMStar2, which moves it most (+100.0), it would be +0.0 [-18.5, +19.0].")


def test_what_is_format_alone_is_told_apart(numbers):
    assert numbers["findings"][1] == (
        "In 1 of the 3 benchmarks half or more of the answers of one of the two cannot be parsed, which is format; "
        "on the other 2 alone it would be +0.0 [-18.5, +19.0]."
    )
    assert {tuple(row["benchmarks"]) for row in numbers["readable"]} == {("GQA", "POPE2")}
    assert {(row["a"], row["b"]) for row in numbers["readable"]} == {
        ("evolved", "seed_matched"),
        ("seed_matched", "seed"),
    }


def test_evolved_against_plain_seed_is_said_too(numbers):
    # (0 + 0 + 60) / 3: six of thirty questions won and none lost, which chance does in 2 of 2^6 cases, 3 %
    interval = r"\(95 % interval of the difference \+[12]\.\d to \+3\d\.\d\)"
    text = rf"It is 20\.0 points {interval} above the plain seed data; the interval lies above zero\."
    assert re.fullmatch(text, numbers["findings"][2])


def test_real_minus_exchanged_pictures_has_its_own_leave_one_out(numbers):
    text = numbers["findings"][3]
    # evolved: GQA 3, POPE2 5, MMStar2 10 of 10; control: 3, 3, 0: 0, 20, 100 on average 40, without MMStar2 10
    assert "real minus exchanged pictures" in text and "it is 40.0 points" in text
    assert "Without MMStar2, which moves it most (+100.0), it would be +10.0 [" in text
    assert "blind" not in numbers["headline"]


def test_matched_tokens_are_not_called_matched_supervision(numbers):
    assert numbers["findings"][4] == (
        "The control matches the evolved arm in training tokens, not in supervision; answers, which alone are learned "
        "from, are: evolved 558 K of 3.7 M, seed_matched 213 K of 3.7 M, seed 48 K of 828 K tokens."
    )
    assert {arm: entry["supervised_tokens"] for arm, entry in numbers["arms"].items()} == {
        arm: supervised for arm, (_, supervised) in TOKENS.items()
    }


def test_the_headline_is_all_findings(numbers):
    assert numbers["headline"] == " ".join(numbers["findings"])


def test_a_seed_arm_that_does_not_see_is_a_caution():
    row = {
        "a": "evolved",
        "b": "seed_matched",
        "benchmark": "average",
        "measure": "score",
        "delta": 1.0,
        "ci95": [-1.0, 2.0],
    }
    assert findings({}, [row], [], [], False)[-1].startswith("Caution: the seed arm does not see")
    assert "no difference is shown" in findings({}, [row], [], [], None)[0]


def test_without_a_control_nothing_is_claimed():
    assert len(findings({}, [], [], [], None)) == 1


def test_the_measure_is_explained_where_its_key_says_blind(numbers):
    assert "another item's picture" in numbers["measures"]["real_minus_blind"]


def test_labels_name_every_program_that_stands_in(numbers):
    assert [label.partition(":")[0] for label in numbers["labels"]] == [
        "scripted teacher",
        "tiny stand-ins",
        "scripted judge",
    ]
    assert labels({"evaluate.seed": receipt({"judge": "scripted", "names": ["GQA"]})}) == []


def test_the_page_keeps_records_and_items_in_tables_of_their_own(made):
    page = (made / "report.html").read_text()
    first, second = (
        re.search(rf"<thead><tr><th>{unit}</th>.*?</table>", page, re.S).group() for unit in ("records", "items")
    )
    # two rounds of 10 records, 9 answered; two rounds of 40 items: 30 kept, 5 eliminated, 5 failed
    assert "<td>all rounds</td><td>20</td><td>18</td><td>2</td>" in first
    assert "<td>all rounds</td><td>80</td><td>60</td><td>10</td><td>10</td>" in second


def test_the_page_says_what_is_detectable_and_shows_clean_scores_beside_the_full_ones(made):
    page = (made / "report.html").read_text()
    assert "in the unit of the score: GQA 10.0, POPE2 10.0, MMStar2 15.0." in page  # the largest of the arms'
    assert page.count("<br>clean 43.2, 2 left out") == len(ARMS)


def test_the_page_says_which_replies_and_items_were_empty(made):
    page = (made / "report.html").read_text()
    assert "Empty replies: POPE2 2 / 2 / 2." in page
    assert "so that no reply to them is right: POPE2 1 / 0 / 0." in page
    assert "longest answer allowed" not in page  # nobody knows


def test_the_page_says_what_a_cell_reading_means_and_that_mosaics_are_off(made):
    page = (made / "report.html").read_text()
    assert "mosaics stay out of the training data until right cell reaches 0.8" in page
    assert "cell binding 4: right cell" in page and "cell binding 4: other cell" in page


def test_the_page_never_calls_exchanged_pictures_blind(made):
    assert "blind" not in re.sub(r"<style>.*?</style>", "", (made / "report.html").read_text(), flags=re.S)


def test_readme_table_has_a_row_a_benchmark_and_the_paired_difference(numbers):
    lines = table(numbers).splitlines()
    assert lines[0] == "| benchmark | seed | seed_matched | evolved | evolved - seed_matched |"
    assert [line.split(" | ")[0] for line in lines[2:6]] == ["| GQA", "| POPE2", "| MMStar2", "| average"]
    assert lines[4].endswith("| +100.0 [+47.3, +100.0] |")


def beside(folder, evolved):
    """What lies beside a report: the questions of two mixtures and of the items."""
    for arm, question in (("seed", "Is it red?"), ("evolved", evolved)):
        (folder / f"mixture.{arm}").mkdir(exist_ok=True)
        turns = [{"from": "human", "value": f"<image>\n{question}\nYes or no?"}, {"from": "gpt", "value": "yes"}]
        write_json(folder / f"mixture.{arm}" / "conversations.json", [{"conversations": turns}])
    (folder / "evaluate.evolved").mkdir(exist_ok=True)
    item = {"benchmark": "GQA", "question": "is it green"}
    write_jsonl(folder / "evaluate.evolved" / "items.jsonl", [item])


def check(path):
    return subprocess.run([sys.executable, str(CHECK), str(path)], capture_output=True, text=True, check=False)


def test_the_check_of_a_report_passes_this_one(made):
    beside(made, evolved="Does it look green?")
    found = check(made / "report.json")
    assert found.returncode == 0, found.stderr


def test_the_check_finds_a_question_of_a_benchmark_that_only_the_evolved_data_holds(made):
    beside(made, evolved="Is it green?")
    found = check(made / "report.json")
    assert found.returncode == 1 and "('GQA', 'is it green')" in found.stderr


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("ledger", "rounds", 1, "kept"), 29),
        (("ledger", "total", "given"), 81),
        (("ledger", "rounds", 0, "answered"), 10),
        (("ledger", "rounds", 0, "surplus"), {}),
        (("arms", "seed_matched", "supervised_tokens"), 0),
        (("leave_one_out",), []),
    ],
)
def test_the_check_of_a_report_fails_when_something_does_not_close(made, numbers, tmp_path, path, value):
    broken = copy.deepcopy(numbers)
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    write_json(tmp_path / "report.json", broken)
    (tmp_path / "report.html").write_bytes((made / "report.html").read_bytes())
    found = check(tmp_path / "report.json")
    assert found.returncode == 1 and "AssertionError" in found.stderr


def test_a_stage_that_ran_with_other_packages_says_so(made, numbers):
    others = {key: one["other_versions"] for key, one in numbers["provenance"].items() if one["other_versions"]}
    assert others == {"evaluate.seed": {"python": "3.12"}}
    assert "<td>python 3.12</td>" in (made / "report.html").read_text()


def test_each_arm_has_a_page_of_its_own_results(made):
    for arm in ARMS:
        assert f'<script type="application/json" id="data">{{"title":"quickstart: {arm}"' in (
            made / f"results.{arm}.html"
        ).read_text(encoding="utf-8")
