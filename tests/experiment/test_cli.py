import json
import signal
import subprocess
import sys
import urllib.request

import pytest
from PIL import Image

ITEM = {
    "objects": ["cat"],
    "skills": ["grounding"],
    "format": "short_answer",
    "question": "Where is the cat?",
    "steps": [{"manipulation": "grounding_1(cat)->bbx_1", "description": "find the cat"}],
    "answer": "left",
}
RECORD = {
    "id": "r1",
    "images": ["cat.png"],
    "caption": "A cat.",
    "source": "test",
    "rounds": [
        [{"id": "q1", "question": "What is it?", "answer": "a cat"}],
        [{"id": "q2", "question": "Name the animal.", "answer": "cat", "parent": "q1", "direction": "interaction"}],
    ],
}


def mmevol(*arguments, stdin=""):
    """Status, standard output and standard error of a command."""
    command = [sys.executable, "-W", "error::SyntaxWarning", "-m", "mmevol_experiment", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def answer(*arguments, stdin=""):
    """Lines of standard output as JSON, of a command that must succeed and say nothing else."""
    status, out, error = mmevol(*arguments, stdin=stdin)
    assert (status, error) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def refusal(*arguments, status=2, stdin=""):
    """The one line on standard error of a command that must fail."""
    code, _, error = mmevol(*arguments, stdin=stdin)
    assert code == status
    assert error.startswith("mmevol: ")
    assert error.count("\n") == 1
    return error


@pytest.fixture
def file(tmp_path):
    def write(name, value):
        path = tmp_path / name
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return write


@pytest.fixture
def records(file, tmp_path):
    Image.new("RGB", (8, 6), "red").save(tmp_path / "cat.png")
    lost = {**RECORD, "id": "r2", "images": ["lost.png"]}
    return file("records.jsonl", f"{json.dumps(RECORD)}\n{json.dumps(lost)}\n")


def test_parse_reads_items_from_standard_input():
    assert answer("parse", "qas", stdin=f"Sure!\n```json\n{json.dumps([ITEM])}\n```") == [[ITEM]]


def test_parse_reads_scores_from_standard_input():
    scores = [{"improved": "yes", "score": 8, "reason": "harder"}]
    assert answer("parse", "score", stdin=json.dumps(scores)) == [scores]


def test_parse_exits_with_3_when_nothing_can_be_trusted():
    assert "nothing in the text" in refusal("parse", "qas", stdin="I cannot see the image.", status=3)


def test_parse_of_lines_keeps_ids_and_gives_null_where_nothing_can_be_trusted(file):
    rows = [{"id": "a", "raw": json.dumps([ITEM])}, {"id": 7, "raw": "sorry"}]
    found = answer("parse", "qas", "--jsonl", file("raw.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows)))
    assert found == [{"id": "a", "items": [ITEM]}, {"id": 7, "items": None}]


def test_a_broken_line_is_named(file):
    assert "line 2" in refusal("parse", "qas", "--jsonl", file("raw.jsonl", '{"id": 1, "raw": ""}\n{broken\n'))


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    assert str(tmp_path) in refusal("parse", "qas", "--jsonl", tmp_path)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            ("parse", "poems"),
            "value for 'kind': 'poems' is not one of 'qas', 'score' (mmevol parse --help says more)",
        ),
        (("parse",), "missing argument 'kind'. Choose from: qas, score (mmevol parse --help says more)"),
        (("runn",), "no such command 'runn'. Did you mean 'run'? (mmevol --help says more)"),
        (("score", "--nope"), "no such option: --nope (mmevol score --help says more)"),
    ],
)
def test_a_usage_error_is_one_line_that_says_where_help_is(typed, said):
    assert said in refusal(*typed)


def test_no_command_at_all_shows_the_commands():
    status, _, error = mmevol()
    assert status == 2
    assert error.startswith("Usage: mmevol") and "run" in error and error.count("\n") > 5


def test_labels_of_the_answer_mode_cover_answer_and_end_token(file):
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}]
    data = file("rows.json", [{"id": "1", "image": "cat.png", "conversations": turns}])
    options = ("--template", "qwen2", "--stage", "finetune", "--mode", "answer", "--json")
    (row,) = answer("labels", "--data", data, *options)
    assert row.keys() == {"row", "rendered", "supervised"}
    assert [row["rendered"][start:end] for start, end in row["supervised"]] == ["A cat.<|im_end|>"]


def test_labels_of_pretraining_drop_the_question_as_the_reference_does(file):
    turns = [{"from": "human", "value": "Describe.\n<image>"}, {"from": "gpt", "value": "A cat."}]
    data = file("rows.json", [{"id": "1", "image": "cat.png", "conversations": turns}])
    options = ("--template", "llama3", "--stage", "pretrain", "--mode", "mmevol", "--json")
    (row,) = answer("labels", "--data", data, *options)
    assert row == {"row": 0, "rendered": "<|begin_of_text|><image>A cat.\n", "supervised": [[24, 31]]}


def test_labels_of_a_missing_file_are_refused(tmp_path):
    assert "file not found" in refusal("labels", "--data", tmp_path / "none.json", "--json")


def test_tokens_follow_from_sizes_alone(file):
    # 336 x 336: base view 24 x 24 = 576; the grid's content 24 x 24 with a newline a row: 24 * 25 = 600
    # 1000 x 500: grid 24 x 48 fits exactly: 576 + 24 * 49
    (rows,) = answer("tokens", "--sizes", file("sizes.json", [[336, 336], [1000, 500]]), "--backbone", "qwen2_7b")
    assert [row["tokens"] for row in rows] == [576 + 600, 576 + 24 * 49]


@pytest.fixture
def pope(file):
    rows = [(1, "Is there a cat?", "Yes"), (2, "Is there a dog?", "No"), (3, "Is there a cow?", "No")]
    lines = ["index\timage\tquestion\tanswer\tcategory"]
    lines += [f"{index}\t{'A' * 80}\t{question}\t{reply}\trandom" for index, question, reply in rows]
    return file("POPE.tsv", "\n".join(lines) + "\n")


def predictions(*texts):
    return "".join(f"{json.dumps({'index': n, 'prediction': text})}\n" for n, text in enumerate(texts, start=1))


def test_score_writes_the_promised_result(file, tmp_path, pope):
    out = tmp_path / "out" / "result.json"
    stored = file("predictions.jsonl", predictions("Yes", "No.", "yes"))
    status, _, error = mmevol("score", "POPE", "--data", pope, "--predictions", stored, "--out", out)
    assert (status, error) == (0, "")
    result = json.loads(out.read_text())
    assert result.keys() >= {"headline", "scores", "unparsed", "protocol", "protocol_hash", "items"}
    assert result["headline"]["value"] == pytest.approx(100 * 2 / 3)  # F1 of 1 hit, 1 false alarm, 0 misses
    assert [(row["index"], row["score"], row["method"]) for row in result["items"]] == [
        ("1", 1, "rule"),
        ("2", 1, "rule"),
        ("3", 0, "rule"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("NoSuchBench", predictions("Yes", "No", "No"), "unknown benchmark 'NoSuchBench'"),
        ("POPE", predictions("Yes"), "lacks 2 of 3"),
        ("POPE", predictions("Yes") + "{broken\n", "line 2 is not JSON"),
    ],
    ids=["unknown benchmark", "missing predictions", "broken line"],
)
def test_score_refuses_in_one_line_and_writes_nothing(file, tmp_path, pope, name, text, said):
    out, stored = tmp_path / "result.json", file("predictions.jsonl", text)
    assert said in refusal("score", name, "--data", pope, "--predictions", stored, "--out", out)
    assert not out.exists()


def test_data_check_names_and_counts_bad_records(records, tmp_path):
    status, out, error = mmevol("data", "check", records, "--images", tmp_path)
    assert status == 3
    assert out.splitlines() == [
        "record 2 r2: image 'lost.png': missing",
        "2 records: 1 good, 1 bad, image_missing 1",
    ]
    assert error == f"mmevol: {records}: 1 of 2 records are bad\n"


def test_data_stats_count_every_round(records):
    (figures,) = answer("data", "stats", records, "--json")
    assert {number: row["items"] for number, row in figures["rounds"].items()} == {"0": 2, "1": 2}


def test_data_show_prints_the_lineage_of_a_record(records):
    status, out, _ = mmevol("data", "show", records, "0")
    assert status == 0
    assert "q2 <- q1 [interaction] 'Name the animal.' -> 'cat'" in out


def test_data_export_to_llava_and_import_again_keeps_the_questions(records, tmp_path):
    out, back = tmp_path / "llava", tmp_path / "back"
    Image.new("RGB", (4, 4)).save(tmp_path / "lost.png")
    assert mmevol("data", "export", records, out, "--as", "llava")[0] == 0
    source = ("data", "import", "llava_json", out / "conversations.json", back, "--images", tmp_path)
    assert mmevol(*source)[0] == 0
    samples = [json.loads(line) for line in (back / "seed.jsonl").read_text().splitlines()]
    questions = [item["question"] for sample in samples for item in sample["rounds"][0]]
    assert questions == ["What is it?", "Name the animal."] * 2


def test_data_export_to_parquet_keeps_every_record(records, tmp_path):
    from mmevol_dataengine.seeds import read_table

    assert mmevol("data", "export", records, tmp_path / "parquet")[0] == 0
    assert [sample.id for sample in read_table(tmp_path / "parquet", tmp_path)] == ["r1", "r2"]


def test_the_teacher_serves_until_it_is_told_to_stop(tmp_path):
    log = tmp_path / "teacher.jsonl"
    command = [sys.executable, "-m", "mmevol_experiment", "teacher", "--port", "0", "--log", str(log)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
        try:
            word, address = server.stdout.readline().split()
            with urllib.request.urlopen(f"{address}/v1/models", timeout=10) as reply:
                assert json.load(reply)["data"]
        finally:
            server.send_signal(signal.SIGTERM)
        assert word == "READY"
        assert server.wait(timeout=20) == 0


def test_parse_score_and_data_do_not_load_torch():
    source = "\n".join(
        [
            "import sys, mmevol_experiment.__main__",
            "import mmevol_dataengine.parse, mmevol_dataengine.analysis, mmevol_dataengine.seeds, mmevol_eval.score",
            "sys.exit('torch' in sys.modules)",
        ]
    )
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0


def test_two_scores_are_compared_and_the_difference_is_kept(file, tmp_path, pope):
    for name, texts in (("one", ("Yes", "No", "No")), ("two", ("Yes", "No", "Yes"))):
        stored = file(f"{name}.jsonl", predictions(*texts))
        status, said, _ = mmevol("score", "POPE", "--data", pope, "--predictions", stored, "--out", tmp_path / name)
        assert status == 0 and "POPE Overall: " in said and " [" in said
    out = tmp_path / "difference.json"
    status, said, _ = mmevol("compare-scores", tmp_path / "one", tmp_path / "two", "--out", out)
    assert status == 0 and "difference +33.3" in said and "95 % interval -100.0 to +100.0" in said
    assert json.loads(out.read_text())["n"] == 3
