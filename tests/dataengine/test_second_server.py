"""Twenty records against a server that is not ours: `transformers serve` with a random model, all answers bad.

pip install "transformers[serving]"
pytest tests/dataengine/test_second_server.py -m slow -s
"""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image

from mmevol_core.sample import QA, Box, Sample, write_samples
from mmevol_dataengine.evolve import STAGE, EvolveConfig
from mmevol_dataengine.teacher import TeacherConfig

TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "
RECORDS = 20


def random_model(folder):
    """A Llama of two layers with random weights, and the tokenizer of a stand-in with a chat template."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(str(files("mmevol_train.standins") / "weights" / "llama3"))
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=16_384, **size)
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture
def server(tmp_path):
    """Address and model name of `transformers serve`."""
    if importlib.util.find_spec("fastapi") is None or importlib.util.find_spec("uvicorn") is None:
        pytest.skip('needs pip install "transformers[serving]"')
    random_model(tmp_path / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = shutil.which("transformers", path=str(Path(sys.executable).parent))
    options = ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    with (tmp_path / "server.log").open("wb") as log:
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen([program, "serve", *options], stdout=log, stderr=log, env=environment)
        try:
            wait_until_healthy(f"http://127.0.0.1:{port}/health", process, tmp_path / "server.log")
            yield f"http://127.0.0.1:{port}/v1", str(tmp_path / "model")
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_until_healthy(address, process, log):
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-2000:])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_twenty_records_against_transformers_serve_are_all_accounted_for(tmp_path, server, capsys):
    url, model = server
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    box = Box(label="red circle", xyxy=(0.1, 0.2, 0.5, 0.6))
    items = [
        QA(id=f"{n}", question=f"What is object {n}?", answer="A red circle", skills=("existence",)) for n in range(2)
    ]
    rows = [
        Sample(id=f"s{n}", images=("a.png",), caption=f"Circle {n}.", boxes=(box,), rounds=(tuple(items),))
        for n in range(RECORDS)
    ]
    write_samples(tmp_path / "seed.jsonl", rows)
    teacher = TeacherConfig(
        base_url=url, model=model, max_tokens=24, concurrency=2, deadline_s=300, patience_s=300,
        sees_image=False, structured=True,
    )  # fmt: skip
    config = EvolveConfig(teacher=teacher, recipe={"rounds": 1})
    result = STAGE.run(config, {"seed": tmp_path / "seed.jsonl", "images": tmp_path}, tmp_path / "out")
    ledger = json.loads(result.files["ledger"].read_text())
    with capsys.disabled():
        print("\n" + json.dumps(ledger, indent=1))
    total = ledger["total"]
    assert total["records"] == RECORDS == total["answered"] + sum(total["failed_records"].values())
    assert total["given"] == 2 * RECORDS
    assert total["given"] == total["kept"] + sum(total["eliminated"].values()) + sum(total["failed"].values())
    assert ledger["usage"]["answers"] >= RECORDS  # it did answer
    assert sum(1 for _ in result.files["evolved"].open()) == RECORDS
