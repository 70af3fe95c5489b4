"""A served model is evaluated like a checkpoint: what is sent, what is kept, and what a missing answer does."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys

import pytest
from PIL import Image
from support import tiny_llava
from support.model_server import ModelServer, pictures, texts

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, read_jsonl
from mmevol_eval.benchmark import Message
from mmevol_eval.data import BenchmarksConfig, prepare
from mmevol_eval.evaluate import evaluate
from mmevol_eval.models import Prompt
from mmevol_eval.models.endpoint import EndpointModel, ModelEndpoint
from mmevol_eval.predict import model_of, predict
from mmevol_eval.settings import EvaluateConfig, ModelConfig
from mmevol_experiment.__main__ import main

NAMES = ("POPE", "MMStar")


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    root = tmp_path_factory.mktemp("endpoint")
    held_out = tiny_llava.held_out(root / "held_out")
    config = BenchmarksConfig(source="twins", names=NAMES, items=30)
    return prepare(config, {"held_out": held_out}, root / "twins").files["benchmarks"]


def config_of(base_url, **more):
    server = {"base_url": base_url, "model": "served-vlm", "max_attempts": 1, "patience_s": 2}
    endpoint = ModelEndpoint(**server | more.pop("endpoint", {}))
    shared = {"names": NAMES, "blind": False, "probes": False, "resamples": 50, "max_new_tokens": 9}
    return EvaluateConfig(**shared | more, model=ModelConfig(endpoint=endpoint))


def picture(color):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "PNG")
    return buffer.getvalue()


def ask(endpoint, folder, prompts):
    model = EndpointModel(endpoint, folder / "model.sqlite")
    try:
        return {reply.key: reply for reply in model.answer(prompts)}
    finally:
        model.close()


def test_what_is_sent_is_the_message_and_greedy_decoding(tmp_path):
    red, blue = picture("red"), picture("blue")
    prompts = [
        Prompt("a", Message((red, "and", blue, "same?"), system="Be brief.")),
        Prompt("b", Message(("no picture",)), max_new_tokens=5),
    ]
    with ModelServer(lambda body: f" {len(pictures(body))} seen ") as server:
        endpoint = ModelEndpoint(base_url=server.base_url, model="served-vlm", max_tokens=77, extra={"top_k": 1})
        replies = ask(endpoint, tmp_path, prompts)
    assert {key: reply.text for key, reply in replies.items()} == {"a": "2 seen", "b": "0 seen"}
    by_tokens = {body["max_tokens"]: body for body in server.bodies}
    assert by_tokens.keys() == {77, 5}
    assert all((body["temperature"], body["model"], body["top_k"]) == (0, "served-vlm", 1) for body in server.bodies)
    turns = by_tokens[77]["messages"]
    assert turns[0] == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in turns[1]["content"]] == ["image_url", "text", "image_url", "text"]
    sent = [base64.b64decode(url.partition("base64,")[2]) for url in pictures(by_tokens[77])]
    assert sent == [red, blue]  # the very bytes: nothing is reduced


def test_a_temperature_of_null_is_not_sent(tmp_path):
    with ModelServer() as server:
        ask(
            ModelEndpoint(base_url=server.base_url, model="m", temperature=None),
            tmp_path,
            [Prompt("a", Message(("?",)))],
        )
    assert "temperature" not in server.bodies[0]


def test_a_served_model_is_scored_and_named_in_the_protocol(benchmarks, tmp_path):
    with ModelServer(lambda body: "Yes" if "A." not in texts(body) else "A") as server:
        evaluate(config_of(server.base_url), {"benchmarks": benchmarks}, tmp_path / "a")
        evaluate(config_of(server.base_url, endpoint={"model": "other"}), {"benchmarks": benchmarks}, tmp_path / "b")
    a, b = (read_json(tmp_path / f"{name}/scores.json")["benchmarks"]["POPE"] for name in "ab")
    right = [row["answer"] == "Yes" for row in read_jsonl(tmp_path / "a/items.jsonl") if row["benchmark"] == "POPE"]
    share = sum(right) / len(right)
    assert a["score"] == pytest.approx(100 * 2 * share / (1 + share))  # F1 of "always yes": precision is their share
    decoding = a["protocol"]["decoding"]
    assert (decoding["endpoint"], decoding["temperature"], decoding["max_new_tokens"]) == ("served-vlm", 0, 9)
    assert a["protocol_hash"] != b["protocol_hash"] and a["score"] == b["score"]


def test_nothing_that_was_answered_is_asked_again(benchmarks, tmp_path):
    with ModelServer() as server:
        config = config_of(server.base_url)
        evaluate(config, {"benchmarks": benchmarks}, tmp_path)
        asked, scores = len(server.bodies), (tmp_path / "scores.json").read_bytes()
        evaluate(config, {"benchmarks": benchmarks}, tmp_path)  # from the log
        (tmp_path / "predictions.jsonl").unlink()
        evaluate(config, {"benchmarks": benchmarks}, tmp_path)  # from the journal
    assert len(server.bodies) == asked
    assert (tmp_path / "scores.json").read_bytes() == scores


def test_questions_without_an_answer_are_counted_refused_and_asked_again(benchmarks, tmp_path):
    broken = True

    def answer(body):
        return 400 if broken and hash(texts(body)) % 5 == 0 else "Yes"

    with ModelServer(answer) as server:
        config = config_of(server.base_url)
        with pytest.raises(UserError, match=r"questions have no answer: chat: refused \(\d+\)") as error:
            evaluate(config, {"benchmarks": benchmarks}, tmp_path)
        assert not (tmp_path / "scores.json").exists() and "\n" not in str(error.value)
        evaluate(config.model_copy(update={"max_failed": 1.0}), {"benchmarks": benchmarks}, tmp_path)
        counts = {name: entry["failed"] for name, entry in read_json(tmp_path / "scores.json")["benchmarks"].items()}
        rows = list(read_jsonl(tmp_path / "items.jsonl"))
        assert sum(counts.values()) == sum(row["failure"] == "chat: refused" for row in rows) > 0
        assert all(row["score"] == 0 for row in rows if row["failure"])
        broken, before = False, len(server.bodies)
        evaluate(config, {"benchmarks": benchmarks}, tmp_path)
    assert 0 < len(server.bodies) - before <= sum(counts.values())  # those alone; equal ones share a request
    assert all(entry["failed"] == 0 for entry in read_json(tmp_path / "scores.json")["benchmarks"].values())


def test_an_unreadable_picture_is_a_named_failure(tmp_path):
    with ModelServer() as server:
        prompts = [Prompt("bad", Message((b"no picture", "?"))), Prompt("gone", Message((tmp_path / "x.png", "?")))]
        replies = ask(ModelEndpoint(base_url=server.base_url, model="m"), tmp_path, prompts)
    assert {key: reply.failure for key, reply in replies.items()} == {
        "bad": "image: unreadable",
        "gone": "image: missing",
    }
    assert server.bodies == []


def test_an_endpoint_that_is_not_there_stops_with_one_line(benchmarks, tmp_path):
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9") as error:
        evaluate(config_of("http://127.0.0.1:9/v1"), {"benchmarks": benchmarks}, tmp_path)
    assert "\n" not in str(error.value)


def test_nobody_to_evaluate_is_an_error(benchmarks, tmp_path):
    with pytest.raises(UserError, match=r"set evaluate\.model\.endpoint"):
        evaluate(EvaluateConfig(names=NAMES, blind=False), {"benchmarks": benchmarks}, tmp_path)


def test_the_longest_answer_is_set_in_one_place(tmp_path):
    with pytest.raises(UserError, match=r"max_tokens; .*evaluate\.max_new_tokens"):
        config_of("http://x/v1", endpoint={"max_tokens": 100})


@pytest.mark.parametrize(
    ("key", "value"), [("beams", 3), ("processes", 2), ("device", "cpu"), ("batch_size", 8), ("threads", 1)]
)
def test_what_only_checkpoints_have_is_refused_for_endpoints(key, value):
    with pytest.raises(UserError, match=f"evaluate.{key}"):
        config_of("http://x/v1", **{key: value})


@pytest.mark.parametrize(
    ("text", "message"),
    [("nowhere", "no model 'nowhere'; valid"), ("http://x/v1", "which model at http://x/v1"), ("a.yaml", "no model")],
)
def test_what_names_no_model_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        model_of(text)


def test_predict_and_score_on_the_command_line(benchmarks, tmp_path):
    out, env = tmp_path / "pope.jsonl", {**os.environ, "OMP_NUM_THREADS": "1"}

    def mmevol(*words):
        command = [sys.executable, "-m", "mmevol_experiment", *map(str, words)]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    data = ("POPE", "--data", benchmarks / "POPE.tsv")
    with ModelServer() as server:
        model = tmp_path / "served.yaml"
        model.write_text(f"base_url: {server.base_url}\nmodel: m\n")
        for name, said in ((model, 0), (f"{server.base_url}#m", 1)):
            done = mmevol("predict", *data, "--model", name, "--out", out)
            assert (done.returncode, done.stderr.count("answers are those given before")) == (0, said)
            assert done.stderr.count("\n") == said
        asked = len(server.bodies)
    assert asked == len({(texts(body), *pictures(body)) for body in server.bodies})  # the second run asked nothing
    done = mmevol("score", *data, "--predictions", out, "--out", tmp_path / "pope.json")
    assert done.returncode == 0
    scored = read_json(tmp_path / "pope.json")
    assert scored["n"] == sum(1 for _ in read_jsonl(out))
    assert scored["protocol"]["prompts"] == "vlmevalkit"  # as predict says in pope.protocol.json
    assert scored["protocol"]["decoding"]["max_new_tokens"] == 1024
    out.write_bytes(out.read_bytes() + b"\n")  # another file: nobody says how these were asked for
    assert mmevol("score", *data, "--predictions", out, "--out", tmp_path / "again.json").returncode == 0
    assert read_json(tmp_path / "again.json")["protocol"]["prompts"] == "stored"
    assert mmevol("predict", "POPPE", *data[1:], "--model", "x", "--out", out).stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--device", "cpu"], "--device is for checkpoints"),
        (["--batch-size", "64"], "--batch-size is for checkpoints"),
        (["--threads", "1"], "--threads is for checkpoints"),
        (["--data", "nowhere.tsv"], "no data at nowhere.tsv; `mmevol fetch POPE"),
        (["--out", "."], "--out . is a folder"),
        (["--prompts", "mmevl"], "did you mean 'mmevol'"),
        (["--model", "toml.yaml"], "no model 'toml.yaml'"),
    ],
)
def test_what_predict_would_ignore_or_cannot_do_is_refused_in_one_line(benchmarks, words, message, capsys, monkeypatch):
    given = {"--data": str(benchmarks / "POPE.tsv"), "--model": "http://127.0.0.1:9/v1#m", "--out": "never.jsonl"}
    given |= dict([words])
    arguments = [word for pair in given.items() for word in pair]
    monkeypatch.setattr(sys, "argv", ["mmevol", "predict", "POPE", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and message in said


def test_predict_does_not_pass_off_one_servers_answers_as_anothers(benchmarks, tmp_path):
    data, out = benchmarks / "POPE.tsv", tmp_path / "p.jsonl"
    options = EvaluateConfig(names=("POPE",))
    with ModelServer(lambda body: "Yes") as first, ModelServer(lambda body: "No") as second:
        predict("POPE", data, f"{first.base_url}#served-vlm", out, options)
        predict("POPE", data, f"{first.base_url}#served-vlm", out, options)  # the same goes on
        with pytest.raises(UserError, match=r"keeps answers of .* give another --out"):
            predict("POPE", data, f"{second.base_url}#served-vlm", out, options)
        predict("POPE", data, f"{second.base_url}#served-vlm", tmp_path / "q.jsonl", options)
        with pytest.raises(UserError, match="nothing answers"):
            predict("POPE", data, "http://127.0.0.1:9/v1#served-vlm", tmp_path / "r.jsonl", options)
        predict("POPE", data, f"{second.base_url}#served-vlm", tmp_path / "r.jsonl", options)  # the address corrected
    assert {row["prediction"] for row in read_jsonl(tmp_path / "q.jsonl")} == {"No"}
