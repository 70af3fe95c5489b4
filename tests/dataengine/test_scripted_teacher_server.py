"""The scripted teacher as a real process over HTTP: answers, log, statistics, and when it ends."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.scripted_world import evolve_prompt, picture, seed_items

from mmevol_dataengine.scripted_teacher.answer import reply_to

COMMAND = [sys.executable, "-m", "mmevol_dataengine.scripted_teacher"]


@contextmanager
def teacher(*arguments):
    process = subprocess.Popen([*COMMAND, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("READY http://127.0.0.1:")
        yield process, line.removeprefix("READY ").strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(url, text, **body):
    content = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "text", "text": text},
    ]
    messages = [{"role": "system", "content": "Be helpful."}, {"role": "user", "content": content}]
    return post(url, {"model": "any", "messages": messages, **body})


def post(url, body):
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def get(url, path):
    with urllib.request.urlopen(url + path, timeout=20) as answer:
        return json.load(answer)


def prompts(count):
    rng = random.Random(2)
    for _ in range(count):
        shown = picture(rng)
        yield evolve_prompt(shown, "interaction", seed_items(shown))


def test_it_answers_logs_and_counts_over_http(tmp_path):
    log, port_file = tmp_path / "logs" / "teacher.jsonl", tmp_path / "port.txt"
    asked = list(prompts(30))
    with teacher("--seed", "9", "--log", str(log), "--port-file", str(port_file), "--error-rate", "0.5") as (_, url):
        assert port_file.read_text() == url.rsplit(":", 1)[1]
        assert get(url, "/v1/models")["data"][0]["id"] == "scripted-teacher"
        for text in [*asked, asked[0]]:
            answer = ask(url, text)
            expected = reply_to(text, seed=9, error_rate=0.5)
            assert answer["choices"][0]["message"] == {"role": "assistant", "content": expected.content}
            assert answer["choices"][0]["finish_reason"] == "stop"
            assert answer["model"] == "scripted-teacher"
            assert answer["usage"]["prompt_tokens"] > 0
        stats = get(url, "/stats")
    assert (stats["requests"], stats["duplicates"], stats["unique_prompts"], stats["items"]) == (31, 1, 30, 124)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows) == 31
    assert [row["duplicate"] for row in rows] == [False] * 30 + [True]
    assert {(row["task"], row["direction"], row["status"]) for row in rows} == {("evolve", "interaction", 200)}
    wanted = [kind for text in [*asked, asked[0]] for _, kind in reply_to(text, seed=9, error_rate=0.5).mistakes]
    assert [mistake["kind"] for row in rows for mistake in row["mistakes"]] == wanted
    assert len(wanted) == stats["mistakes"] > 20


def test_a_body_that_is_no_chat_request_is_refused_with_400(tmp_path):
    log = tmp_path / "teacher.jsonl"
    with teacher("--log", str(log)) as (_, url):
        for body in ([], {}, {"messages": "hello"}, {"messages": ["hello"]}):
            with pytest.raises(urllib.error.HTTPError) as refused:
                post(url, body)
            assert refused.value.code == 400
            assert "messages" in json.load(refused.value)["error"]["message"]
        assert post(url, {"messages": []})["choices"][0]["message"]["content"].endswith(".")
        assert get(url, "/stats")["requests"] == 5
    assert [json.loads(line)["status"] for line in log.read_text().splitlines()] == [400, 400, 400, 400, 200]


def test_it_ends_when_its_standard_input_closes():
    with teacher() as (process, url):
        assert get(url, "/stats")["requests"] == 0
        process.stdin.close()
        assert process.wait(timeout=15) == 0


def test_it_ends_when_its_parent_is_killed(tmp_path):
    port_file = tmp_path / "port.txt"
    starter = (
        "import subprocess, sys, time\n"
        f"command = {COMMAND!r} + ['--watch-parent', '--port-file', {str(port_file)!r}]\n"
        "child = subprocess.Popen(command, stdin=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    wait_until(port_file.exists)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not running(child))


def test_it_ends_with_0_on_a_signal_and_with_one_line_on_a_taken_port():
    with teacher() as (process, url):
        taken = subprocess.run([*COMMAND, "--port", url.rsplit(":", 1)[1]], capture_output=True, text=True, timeout=30)
        assert taken.returncode == 2
        assert taken.stderr.startswith("scripted teacher: ")
        assert len(taken.stderr.splitlines()) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0


def wait_until(true, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    return state != "Z"  # a dead process may wait to be collected
