"""The official package beside us: same numbers, same verdicts. The slow tests need `make vlmeval-env`."""

import sys
from pathlib import Path

import pytest
from support import hostile_replies, official_data, tiny_llava

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, read_jsonl, write_jsonl
from mmevol_eval.backends import process, vlmeval
from mmevol_eval.backends.known import RULES, OfficialConfig
from mmevol_eval.backends.vlmeval import BackendConfig, Stored
from mmevol_eval.data import BenchmarksConfig, prepare
from mmevol_eval.evaluate import evaluate
from mmevol_eval.score import score_file
from mmevol_eval.settings import EvaluateConfig

ROOT = Path(__file__).resolve().parents[2]
CONFIG = BackendConfig(environment=ROOT / ".venv-vlmeval")
installed = pytest.mark.skipif(not CONFIG.environment.is_dir(), reason="no .venv-vlmeval: run `make vlmeval-env`")
ITEMS = 60


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    root = tmp_path_factory.mktemp("official")
    return official_data.write_all(tiny_llava.held_out(root / "held_out"), root, ITEMS)


def as_the_package_reads(case, folder):
    """Our documented deviation undone: the package takes some replies for missing cells and reads `nan`."""
    rows = [
        row | {"prediction": "nan" if row["prediction"] in official_data.MISSING else row["prediction"]}
        for row in read_jsonl(case.predictions)
    ]
    write_jsonl(folder / "as_read.jsonl", rows)
    return folder / "as_read.jsonl"


def ours(case, folder):
    predictions = as_the_package_reads(case, folder)
    return score_file(case.benchmark, case.data, predictions, folder / "ours.json", "vlmevalkit-0.2rc1", case.judge)


def differences(mine, theirs, guessed):
    """Rows that differ, without those whose option the package drew."""
    verdicts = {row["index"]: row for row in mine["items"] if row["index"] not in guessed}
    rows = {row["index"]: row for row in theirs["items"] if row["index"] not in guessed}
    assert verdicts.keys() == rows.keys()
    return [
        (mine["benchmark"], verdicts[index], rows[index])
        for index in rows
        if verdicts[index]["score"] != pytest.approx(rows[index]["score"])
        or verdicts[index]["method"] != rows[index]["method"]
    ]


@pytest.mark.slow
@installed
@pytest.mark.parametrize("judged", [False, True], ids=["without a judge", "with a judge"])
def test_every_verdict_and_every_number_is_the_packages_own(cases, judged, tmp_path):
    chosen = [case for case in cases if (case.judge != "none") == judged]
    assert len(chosen) == 14
    stored = [Stored(case.benchmark, case.data, case.predictions, case.judge) for case in chosen]
    official = vlmeval.score_all(stored, tmp_path / "work", CONFIG)
    wrong, drawn = [], 0
    for case in chosen:
        theirs, mine = official[case.benchmark], ours(case, tmp_path)
        guessed = set(theirs["guessed"])
        drawn += len(guessed)
        wrong += differences(mine, theirs, guessed)
        assert {row["method"] for row in mine["items"] if row["index"] in guessed} <= {"none"}
        if not guessed:
            assert mine["scores"].keys() >= theirs["scores"].keys(), case.benchmark
            for name, value in theirs["scores"].items():
                if mine["scores"][name] != pytest.approx(value):
                    wrong.append((case.benchmark, name, mine["scores"][name], value))
    assert not wrong
    assert bool(drawn) == judged  # the replay file has unreadable judges in it, and nobody else draws


@pytest.mark.slow
@installed
@pytest.mark.parametrize("judged", [False, True], ids=["without a judge", "with a judge"])
def test_replies_that_nobody_expects_get_the_packages_verdicts(judged, tmp_path):
    """BLINK's rows with a number for an option are left out: the package turns it into a fraction (docs/parity.md)."""
    held_out = tiny_llava.held_out(tmp_path / "held_out")
    cases = official_data.write_all(held_out, tmp_path, len(hostile_replies.REPLIES), hostile_replies.REPLIES)
    chosen = [case for case in cases if (case.judge != "none") == judged]
    stored = [Stored(case.benchmark, case.data, case.predictions, case.judge) for case in chosen]
    official = vlmeval.score_all(stored, tmp_path / "work", CONFIG)
    wrong = []
    for case in chosen:
        theirs = official[case.benchmark]
        numbers = {item.index for item in case.items if any(text.isdigit() for text in item.options.values())}
        left_out = set(theirs["guessed"]) | (numbers if case.benchmark == "BLINK" else set())
        wrong += differences(ours(case, tmp_path), theirs, left_out)
    assert not wrong


def test_without_its_environment_one_line_names_the_command(cases, tmp_path):
    case = cases[0]
    with pytest.raises(UserError, match="run `make vlmeval-env`"):
        vlmeval.score_official(
            case.benchmark,
            case.data,
            case.predictions,
            tmp_path / "out.json",
            config=BackendConfig(environment=tmp_path / "nowhere"),
        )


@pytest.mark.parametrize(("name", "reason"), [("VQAv2", "MMStar"), ("MMSInst", "Valid"), ("MIA-Bench", "judge")])
def test_what_the_package_cannot_score_is_refused_before_it_starts(cases, tmp_path, name, reason):
    case = next(case for case in cases if case.benchmark == "MIA-Bench")
    with pytest.raises(UserError, match=reason):
        vlmeval.score_official(name, case.data, case.predictions, tmp_path / "out.json")


def test_a_benchmark_has_the_packages_name_under_any_of_ours():
    assert [vlmeval.official(name)[1] for name in ("GQA", "gqa_testdev_balanced", "MMBench", "mmbench_dev_cn")] == [
        "GQA_TestDev_Balanced",
        "GQA_TestDev_Balanced",
        "MMBench_DEV_EN",
        "MMBench_DEV_CN",
    ]


ANSWERING = """
import json, sys
from pathlib import Path
request = json.loads(Path(sys.argv[2]).read_text())
for name, files in request["datasets"].items():
    answer = Path(request["work"]) / "answers" / f"{name}.json"
    if not answer.exists():
        answer.write_text(json.dumps({"made_from": files["made_from"]}))
        print(name)
"""
NAMES = ("MME", "MMStar", "HallusionBench")
STAGE = {"names": NAMES, "max_new_tokens": 3, "resamples": 50, "probes": False}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("stage")
    held_out = tiny_llava.held_out(root / "held_out")
    made = prepare(BenchmarksConfig(source="twins", names=NAMES, items=12), {"held_out": held_out}, root / "twins")
    return {"checkpoint": tiny_llava.save(root), "benchmarks": made.files["benchmarks"], "held_out": held_out}


@pytest.mark.slow
@installed
def test_in_a_run_the_package_asks_and_scores_and_goes_on_after_the_last_whole_benchmark(inputs, tmp_path):
    config = EvaluateConfig(**STAGE, blind=False, backend=OfficialConfig(environment=CONFIG.environment))
    evaluate(config, inputs, tmp_path)
    entries = read_json(tmp_path / "scores.json")["benchmarks"]
    assert {name: entry["protocol"]["rules"] for name, entry in entries.items()} == dict.fromkeys(NAMES, RULES)
    assert entries["MME"]["protocol"]["decoding"] == {
        "beams": 1, "max_new_tokens": 3, "sampling": False, "precision": "float32",
    }  # fmt: skip
    rows = list(read_jsonl(tmp_path / "items.jsonl"))
    assert {(row["benchmark"], row["index"], row["prediction"]) for row in rows} == {
        (row["benchmark"], row["index"], row["prediction"]) for row in read_jsonl(tmp_path / "predictions.jsonl")
    }
    answers = tmp_path / "official/real/answers"
    kept = {name: (answers / f"{name}.json").stat().st_mtime_ns for name in NAMES[:2]}
    (answers / "HallusionBench.json").unlink()  # as if it had been killed while it asked the last
    (tmp_path / "scores.json").unlink()
    evaluate(config, inputs, tmp_path)
    assert {name: (answers / f"{name}.json").stat().st_mtime_ns for name in kept} == kept
    again = read_json(tmp_path / "scores.json")["benchmarks"]
    for entry in (entries["HallusionBench"], again["HallusionBench"]):
        entry.pop("seconds")
    assert again == entries


@pytest.mark.slow
@installed
def test_in_a_run_the_package_gives_our_answers_the_scores_that_our_rules_give_them(inputs, tmp_path):
    ours = EvaluateConfig(**STAGE, rules="vlmevalkit-0.2rc1")
    evaluate(ours, inputs, tmp_path / "ours")
    backend = OfficialConfig(environment=CONFIG.environment, asks=False)
    evaluate(EvaluateConfig(**STAGE, backend=backend), inputs, tmp_path / "official")
    mine, theirs = (read_json(tmp_path / name / "scores.json") for name in ("ours", "official"))
    for name in NAMES:
        for key in ("score", "ci95", "blind", "real_minus_blind", "unparsed", "n"):
            assert theirs["benchmarks"][name][key] == pytest.approx(mine["benchmarks"][name][key]), (name, key)
        protocol = theirs["benchmarks"][name]["protocol"]
        assert (protocol["rules"], protocol["prompts"]) == (RULES, "vlmevalkit")
        assert protocol["decoding"] == mine["benchmarks"][name]["protocol"]["decoding"]


def test_an_answer_that_was_kept_belongs_to_the_same_replies_data_judge_and_checkpoint(tmp_path):
    """The driver is a program of ours here: it answers what has no answer, and says which."""
    python = tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{sys.executable}\n{ANSWERING}")
    python.chmod(0o755)
    files = {role: tmp_path / f"{role}.jsonl" for role in ("data", "predictions", "judge")}
    for path in files.values():
        path.write_text("1\n")
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "weights").write_text("1")

    def answered(beams=1):
        request = {"datasets": {"POPE": files}, "checkpoint": checkpoint, "decoding": {"beams": beams}}
        work = process.folder_of(tmp_path / "work", keep=True)
        process.run(OfficialConfig(environment=tmp_path / "environment"), work, request, process.unwatched)
        return (work / process.LOG).read_text().split()

    assert (answered(), answered()) == (["POPE"], [])
    for path in (*files.values(), checkpoint / "weights"):
        path.write_text("2, other\n")
        assert (answered(), answered()) == (["POPE"], []), path
    assert (answered(beams=2), answered(beams=2)) == (["POPE"], [])


def test_threads_are_told_to_the_package_and_are_no_part_of_the_protocol():
    for threads in (1, 2):
        told = BackendConfig(threads=threads)
        assert told.decoding == {"beams": 1, "max_new_tokens": 20, "sampling": False}
        assert told.told["threads"] == threads


def test_in_a_run_a_missing_package_stops_before_anything_is_asked(inputs, tmp_path):
    config = EvaluateConfig(**STAGE, blind=False, backend=OfficialConfig(environment=tmp_path / "nowhere"))
    with pytest.raises(UserError, match="run `make vlmeval-env`"):
        evaluate(config, inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()
