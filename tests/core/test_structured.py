"""Structured output: used where the server has it, done without where it refuses, and the ledger says so."""

import asyncio
import json
import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.mock_teacher import MockTeacher

from mmevol_core.chat import Chat, ChatFailure, Endpoint, user
from mmevol_core.failures import NO_STRUCTURE, classify
from mmevol_core.journal import Journal
from mmevol_core.sample import QA, Box, Sample, write_samples
from mmevol_dataengine.evolve import STAGE, EvolveConfig
from mmevol_dataengine.teacher import TeacherConfig

SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}}
REFUSAL = b'{"error": {"message": "Unexpected keys in the request: {\'response_format\'}"}}'


class Plain(BaseHTTPRequestHandler):
    """A server that answers plain questions and refuses a schema."""

    status, asked, taken = 422, [], 0  # taken: so many schemas before the first is refused

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append("response_format" in body)
        answer = {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}], "usage": {}}
        refused = "response_format" in body and sum(self.asked) > self.taken
        self._send(self.status, REFUSAL) if refused else self._send(200, json.dumps(answer).encode())

    def _send(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words):
        pass


@pytest.fixture(params=[400, 422])
def plain(request):
    """Its address, and the handler that remembers what was asked."""
    handler = type("Handler", (Plain,), {"status": request.param, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", handler
    server.shutdown()
    server.server_close()


def ask(end, path, questions):
    async def work():
        with Journal(path) as journal:
            async with Chat(end, journal) as chat:
                replies = [await chat.ask([user(text)], schema=SCHEMA) for text in questions]
            return [reply.text for reply in replies], chat.stats, journal.notes

    return asyncio.run(work())


def test_a_server_without_schemas_is_asked_plainly_and_the_journal_counts_it(tmp_path, plain):
    url, handler = plain
    end = Endpoint(base_url=url, model="m", structured=True)
    texts, stats, notes = ask(end, tmp_path / "j.sqlite", ["one", "two", "three"])
    assert texts == ["hello"] * 3
    assert handler.asked == [True, False, False, False]  # refused once, not tried again
    assert notes == {"asked without a schema, which m refused": 3}
    assert stats.errors == {"no_structure": 1}
    again, stats, notes = ask(end, tmp_path / "j.sqlite", ["one", "two", "three", "four"])
    assert again == ["hello"] * 4
    assert handler.asked[4:] == [False]  # what was answered is not asked again, nor is the schema tried again
    assert list(notes.values()) == [4]  # three and "four": what the journal answers is not asked


def test_what_was_answered_before_a_schema_was_refused_is_not_asked_again(tmp_path, plain):
    url, handler = plain
    handler.taken = 2
    end = Endpoint(base_url=url, model="m", structured=True)
    ask(end, tmp_path / "j.sqlite", ["one", "two", "three"])
    assert handler.asked == [True, True, True, False]
    _, stats, _ = ask(end, tmp_path / "j.sqlite", ["one", "two", "three", "four"])
    assert handler.asked[4:] == [False]
    assert stats.cached == 3


@pytest.mark.parametrize(
    "earlier", [False, True], ids=["this journal", "a journal that kept the words and the address"]
)
def test_that_a_schema_was_refused_is_known_at_another_address(tmp_path, plain, earlier):
    url, handler = plain
    ask(Endpoint(base_url=url, model="m", structured=True), tmp_path / "j.sqlite", ["one", "two"])
    if earlier:
        with closing(sqlite3.connect(tmp_path / "j.sqlite")) as db:
            words = f"note: asked without a schema, which {url} (m) refused"
            assert db.execute("UPDATE totals SET name = ? WHERE name = 'note: no_schema m'", (words,)).rowcount == 1
            db.commit()
    elsewhere = Endpoint(base_url=url.replace("127.0.0.1", "localhost"), model="m", structured=True)
    for _ in range(2):
        texts, _, notes = ask(elsewhere, tmp_path / "j.sqlite", ["one", "two", "three"])
        assert texts == ["hello"] * 3
        assert notes == {"asked without a schema, which m refused": 3}
    assert handler.asked == [True, False, False, False]


@pytest.mark.parametrize(
    ("status", "raw", "refused"),
    [
        (400, b"Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.", True),
        (422, b"[{'type': 'extra_forbidden', 'loc': ('body', 'response_format')}]", True),
        (400, b"Your request was flagged by our content policy.", False),
        (400, b"We cannot answer a question about the schema of a guided tour.", False),
        (500, b"response_format", False),
    ],
)
def test_only_an_error_that_speaks_of_the_schema_refuses_it(status, raw, refused):
    assert (classify(status, raw, structured=True) == NO_STRUCTURE) is refused
    assert classify(status, raw, structured=False) != NO_STRUCTURE


def test_any_other_refusal_stays_the_failure_of_its_row(tmp_path):
    with MockTeacher(share_poison=1.0) as teacher:
        end = Endpoint(base_url=teacher.base_url, model="m", structured=True)
        with pytest.raises(ChatFailure, match="refused"):
            ask(end, tmp_path / "j.sqlite", ["one"])


def test_the_recipe_asks_for_structure_and_reads_the_object_that_comes(tmp_path):
    item = QA(id="a", question="What is it?", answer="A cup", skills=("existence",))
    box = Box(label="cup", xyxy=(0.1, 0.1, 0.4, 0.4))
    write_samples(tmp_path / "seed.jsonl", [Sample(id="s", images=("x.png",), boxes=(box,), rounds=((item,),))])
    with MockTeacher(log=str(tmp_path / "log.jsonl")) as teacher:
        end = TeacherConfig(base_url=teacher.base_url, model="m", structured=True, sees_image=False)
        config = EvolveConfig(teacher=end, recipe={"rounds": 1})
        result = STAGE.run(config, {"seed": tmp_path / "seed.jsonl", "images": tmp_path}, tmp_path / "out")
    journal = (tmp_path / "out" / "journal.sqlite").read_bytes()
    assert b'{\\"' in journal  # the answers that came were objects
    assert (result.metrics["answered"], result.metrics["generated"]) == (1, 1)
    assert json.loads(result.files["ledger"].read_text())["notes"] == {}
