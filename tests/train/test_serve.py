"""A tiny checkpoint answers over loopback and in the terminal."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from PIL import Image
from support.broken_pictures import broken_png, huge_png
from support.tiny_models import backbone

from mmevol_core.errors import UserError
from mmevol_train import checkpoint
from mmevol_train.backbone import build
from mmevol_train.chat import Conversation
from mmevol_train.serve import command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    model, processor = build(backbone(root, "qwen2"))
    checkpoint.save(model, processor, root / "checkpoint")
    Image.new("RGB", (100, 40), "red").save(root / "red.png")
    return root


def mmevol(*arguments, **options):
    words = [sys.executable, "-m", "mmevol_experiment", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, **options)


def test_a_conversation_remembers_its_turns_and_streams_what_it_answers(folder):
    conversation = Conversation(folder / "checkpoint", folder / "red.png", max_new_tokens=5)
    parts = []
    answer = conversation.ask("What color is it?", parts.append)
    assert "".join(parts) == answer
    conversation.ask("Sure?")
    roles = [message["role"] for message in conversation._messages]
    assert roles == ["user", "assistant", "user", "assistant"]
    kinds = [[part["type"] for part in message["content"]] for message in conversation._messages]
    assert kinds == [["image", "text"], ["text"], ["text"], ["text"]]
    again = Conversation(folder / "checkpoint", folder / "red.png", max_new_tokens=5)
    assert again.ask("What color is it?") == answer


@pytest.mark.parametrize(
    ("name", "words"), [("absent.png", "file not found"), ("checkpoint/config.json", "no picture")]
)
def test_a_picture_that_cannot_be_read_is_one_line(folder, name, words):
    with pytest.raises(UserError, match=words):
        Conversation(folder / "checkpoint", folder / name)


@pytest.mark.parametrize("broken", [broken_png, huge_png])
def test_a_picture_that_is_broken_or_too_large_is_one_line(folder, tmp_path, broken):
    (tmp_path / "broken.png").write_bytes(broken())
    with pytest.raises(UserError, match="no picture that can be read"):
        Conversation(folder / "checkpoint", tmp_path / "broken.png")


def test_a_question_with_control_tokens_or_without_words_is_refused_and_the_conversation_goes_on(folder):
    conversation = Conversation(folder / "checkpoint", folder / "red.png", max_new_tokens=5)
    for typed, named in (("what <image> is it", "<image>"), ("<|im_end|> hello", r"<\|im_end\|>"), (" ", "empty")):
        with pytest.raises(UserError, match=named):
            conversation.ask(typed)
    fresh = Conversation(folder / "checkpoint", folder / "red.png", max_new_tokens=5)
    assert conversation.ask("What color is it?") == fresh.ask("What color is it?")


def test_a_folder_without_checkpoint_and_an_engine_that_is_absent_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"config.json is missing"):
        command(tmp_path, "127.0.0.1", 1)
    with pytest.raises(UserError, match="pip install vllm"):
        command(folder / "checkpoint", "127.0.0.1", 1, "vllm")


@pytest.mark.slow
def test_the_terminal_answers_one_question_or_many(folder):
    options = ("--image", folder / "red.png", "--max-new-tokens", 4)
    once = mmevol("chat", folder / "checkpoint", *options, "--question", "What color is it?")
    many = mmevol("chat", folder / "checkpoint", *options, input="What color is it?\n<image>\nSure?\n\nnot read\n")
    assert once.returncode == many.returncode == 0, once.stderr + many.stderr
    assert many.stdout.startswith(once.stdout)
    assert "mmevol: <image> in a question would be read as a control token; leave it out" in many.stderr


@pytest.mark.slow
def test_the_server_speaks_openai_about_a_picture(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "mmevol_experiment", "serve", str(folder / "checkpoint"), "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([*words, "--device", "cpu"], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        reply = _ask(port, str(folder / "checkpoint"), folder / "red.png", server)
    finally:
        server.terminate()
        server.communicate(timeout=60)
    here = Conversation(folder / "checkpoint", folder / "red.png", max_new_tokens=6)
    assert reply["choices"][0]["message"]["content"].strip() == here.ask("What color is it?").strip()
    assert reply["usage"]["completion_tokens"] <= 6


def _ask(port, model, picture, server):
    data = base64.b64encode(_bytes(picture)).decode()
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "text", "text": "What color is it?"},
    ]
    body = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 6, "temperature": 0}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=200) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except urllib.error.URLError:
            time.sleep(0.2)
    raise AssertionError("the server did not answer")


def _bytes(path):
    file = io.BytesIO()
    Image.open(path).save(file, "PNG")
    return file.getvalue()
