"""What is counted beside a score: the same names whoever asked and whoever graded."""

import sys
from pathlib import Path

import pytest
import torch
from support import tiny_llava
from support.model_server import ModelServer

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, read_jsonl, write_jsonl
from mmevol_eval.backends.known import OfficialConfig
from mmevol_eval.backends.vlmeval import score_official
from mmevol_eval.data import BenchmarksConfig, prepare
from mmevol_eval.evaluate import evaluate
from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.models.decoding import Made, truncated
from mmevol_eval.models.endpoint import ModelEndpoint
from mmevol_eval.results_page import write_results
from mmevol_eval.score import score_file
from mmevol_eval.settings import EvaluateConfig, ModelConfig
from mmevol_experiment.__main__ import main

ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv-vlmeval"
ROW = {"image": "x" * 100, "question": "Which?", "A": "cat", "B": "dog", "answer": "A", "category": "c"}
COUNTS = {"failed": 1, "empty": 1, "truncated": 1, "unused_predictions": 2, "without_answer": ["2"]}


@pytest.fixture
def stored(tmp_path):
    """Item 1 right, 2 without an answer in the file, 3 an empty reply, 4 no reply, 5 cut short; and two strangers."""
    rows = [ROW | {"index": str(number)} for number in range(1, 6)]
    rows[1]["answer"] = " "
    write_tsv(tmp_path / "MMStar.tsv", rows)
    replies = [
        {"index": "1", "prediction": "A", "truncated": False},
        {"index": "2", "prediction": "A"},
        {"index": "3", "prediction": " \n"},
        {"index": "4", "prediction": "", "failure": "chat: refused"},
        {"index": "5", "prediction": "Let me think about", "truncated": True},
        {"index": "8", "prediction": "", "failure": "chat: refused", "truncated": True},
        {"index": "9", "prediction": "A"},
    ]
    write_jsonl(tmp_path / "p.jsonl", replies)
    return tmp_path / "MMStar.tsv", tmp_path / "p.jsonl", tmp_path / "out.json"


def test_a_score_counts_and_names_what_it_is_made_of(stored):
    result = score_file("MMStar", *stored)
    assert {key: result[key] for key in COUNTS} == COUNTS
    assert result["headline"]["value"] == pytest.approx(20)  # one of five, whatever the others lack


@pytest.mark.parametrize(("name", "said"), [("MMMU_DEV_VAL", "A"), ("OCRBench", "any"), ("GQA", "")])
def test_no_reply_is_right_where_the_file_has_no_answer(name, said, tmp_path):
    """Every text contains an empty one, an open question of MMMU turns it into option A, and nothing equals nothing."""
    row = {
        "image": "x" * 100,
        "question": "?",
        "answer": "",
        "category": "Regular Text Recognition",
        "l2-category": "x",
    }
    write_tsv(tmp_path / "data.tsv", [row | {"index": "1"}])
    write_jsonl(tmp_path / "p.jsonl", [{"index": "1", "prediction": said}])
    result = score_file(name, tmp_path / "data.tsv", tmp_path / "p.jsonl", tmp_path / "out.json")
    assert (result["items"][0]["score"], result["without_answer"]) == (0, ["1"])


@pytest.mark.slow
@pytest.mark.skipif(not ENVIRONMENT.is_dir(), reason="no .venv-vlmeval: run `make vlmeval-env`")
def test_the_official_package_is_accounted_for_alike(stored):
    rows = list(read_jsonl(stored[1]))
    write_jsonl(stored[1], [rows[0] | {"prediction": "A\u2028\x85"}, *rows[1:]])  # line ends in JSON, but not of it
    result = score_official("MMStar", *stored, config=OfficialConfig(environment=ENVIRONMENT))
    assert {key: result[key] for key in COUNTS} == COUNTS


def test_the_command_says_each_count_in_a_line(stored, capsys, monkeypatch):
    data, predictions, out = map(str, stored)
    monkeypatch.setattr(
        sys, "argv", ["mmevol", "score", "MMStar", "--data", data, "--predictions", predictions, "--out", out]
    )
    with pytest.raises(SystemExit, match="0"):
        main()
    said = capsys.readouterr().out.splitlines()
    begins = [" ".join(line.removeprefix(f"{predictions}: ").split()[:3]) for line in said[:-1]]
    assert begins == ["2 predictions are", "1 items have", "1 replies are", "1 replies ended", "1 items have"]
    assert "(first: index '2')" in said[-2]


def test_replies_of_which_nobody_knows_are_not_called_whole(stored):
    data, predictions, out = stored
    rows = [{key: row[key] for key in ("index", "prediction")} for row in read_jsonl(predictions)]
    write_jsonl(predictions, rows)
    assert score_file("MMStar", data, predictions, out)["truncated"] is None


def test_a_benchmark_that_compares_with_nothing_lacks_no_answer(tmp_path):
    row = {"index": "1", "image": "x" * 100, "question": "?", "category": "conv", "caption": "c", "gpt4_ans": ""}
    write_tsv(tmp_path / "LLaVABench.tsv", [row, row | {"index": "2", "gpt4_ans": "good"}])
    write_jsonl(tmp_path / "p.jsonl", [{"index": index, "prediction": "x"} for index in "12"])
    write_jsonl(tmp_path / "judge.jsonl", [{"index": index, "outputs": ["8 7"]} for index in "12"])
    files = (tmp_path / "LLaVABench.tsv", tmp_path / "p.jsonl", tmp_path / "out.json")
    result = score_file("LLaVABench", *files, judge=f"replay:{tmp_path / 'judge.jsonl'}")
    assert result["without_answer"] == ["1"]  # its reference answer is another column


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    root = tmp_path_factory.mktemp("accounting")
    config = BenchmarksConfig(source="twins", names=("MMStar",), items=20)
    return prepare(config, {"held_out": tiny_llava.held_out(root / "held_out")}, root / "twins").files["benchmarks"]


def test_what_a_server_cut_short_or_left_empty_is_counted_in_the_result_and_on_the_page(benchmarks, tmp_path):
    said = [("The first", "length"), ("", "stop"), ("", "length"), ("A", "")]
    with ModelServer(lambda body: said.pop() if said else "A") as server:
        endpoint = ModelEndpoint(base_url=server.base_url, model="m", max_attempts=1, patience_s=2, concurrency=1)
        config = EvaluateConfig(
            names=("MMStar",), blind=False, probes=False, resamples=50, model=ModelConfig(endpoint=endpoint)
        )
        evaluate(config, {"benchmarks": benchmarks}, tmp_path)
        first = (tmp_path / "scores.json").read_bytes()
        evaluate(config, {"benchmarks": benchmarks}, tmp_path)  # from the log
    assert (tmp_path / "scores.json").read_bytes() == first
    entry = read_json(tmp_path / "scores.json")["benchmarks"]["MMStar"]
    assert (entry["truncated"], entry["empty"], entry["failed"], entry["without_answer"]) == (2, 2, 0, [])
    write_results(tmp_path, tmp_path / "r.html", benchmarks)
    page = (tmp_path / "r.html").read_text()
    assert '"truncated":2' in page and '"empty":2' in page and page.count('"truncated":true') == 2


def test_a_checkpoint_says_which_of_its_answers_were_cut(benchmarks, tmp_path):
    checkpoint = tiny_llava.save(tmp_path)
    shared = {"names": ("MMStar",), "blind": False, "probes": False, "resamples": 50}
    inputs = {"benchmarks": benchmarks, "checkpoint": checkpoint}
    evaluate(EvaluateConfig(**shared, max_new_tokens=1), inputs, tmp_path / "one")
    entry = read_json(tmp_path / "one" / "scores.json")["benchmarks"]["MMStar"]
    assert entry["truncated"] == entry["n"]  # one token, and it is not the end
    tokens = torch.tensor([[5, 2, 0], [5, 6, 7], [2, 0, 0], [5, 6, 2]])
    assert truncated(Made(tokens, None), [2, 3]) == [False, True, False, False]


def test_an_index_given_twice_is_still_refused(stored):
    data, predictions, out = stored
    write_jsonl(predictions, [*read_jsonl(predictions), {"index": "01", "prediction": "B"}])
    with pytest.raises(UserError, match="occurs twice"):
        score_file("MMStar", data, predictions, out)
