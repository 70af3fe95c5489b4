"""The chat client against a server that breaks every rule: no row lost, none paid twice, none able to hurt another."""

import asyncio
import email.utils
import gzip
import socket
import time

import orjson
import pytest
from support.chatting import ask_all, endpoint, numbered
from support.hostile import FINE, Hostile, envelope, http
from support.mock_teacher import MockTeacher

from mmevol_core import chat, transport
from mmevol_core.chat import Chat, ChatFailure, Endpoint, Reply, user
from mmevol_core.errors import UserError
from mmevol_core.journal import Journal

PRICES = {"usd_per_m_prompt": 1000.0, "usd_per_m_completion": 1000.0, "max_tokens": 100}
WHOLE = envelope()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
JUNK = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"
BUSY = b'{"error": {"message": "upstream is busy", "code": 503}}'

AGAIN = {  # what a server says first: (pieces, class of the failure)
    "a body that drips past the deadline": ([http(200, b"", length=9)[:-1], b"\n", *[b" ", 0.3] * 4], "timeout"),
    "no answer at all": ([2.0], "timeout"),
    "a connection closed at once": ([], "connection"),
    "bytes that are not HTTP": ([b"\x00\xff garbage \r\n\r\n"], "connection"),
    "a header of 100 KB": ([JUNK], "connection"),
    "headers that never end": ([b"HTTP/1.1 200 OK\r\nX-A: b\r\n"], "connection"),
    "JSON cut short, its length right": ([http(200, WHOLE[:-20])], "not_json"),
    "a body shorter than its length": ([http(200, WHOLE[:-20], length=len(WHOLE))], "cut_body"),
    "a chunked body without an end": ([CHUNKED, 0.1, b"5\r\n{\"cho\r\n"], "cut_body"),
    "a chunk with a wrong size": ([CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"], "connection"),
    "gzip that is not gzip": ([http(200, WHOLE, "Content-Encoding: gzip")], "cut_body"),
    "a page of a proxy": ([http(200, b"<html>Bad gateway</html>", "Content-Type: text/html")], "not_json"),
    "nothing, with status 200": ([http(200, b"")], "not_json"),
    "a stream of events": ([http(200, b"data: " + WHOLE + b"\n\ndata: [DONE]\n\n")], "not_json"),
    "no choice": ([http(200, envelope(choices=[]))], "not_json"),
    "choices that are text": ([http(200, envelope(choices="none"))], "not_json"),
    "content that is a number": ([http(200, envelope(7))], "not_json"),
    "an answer that broke off inside a router": ([http(200, envelope("half", "error"))], "not_json"),
    "a router's error inside status 200": ([http(200, BUSY)], "http_503"),
    "a body without an end": ([CHUNKED, *[b"10000\r\n" + b" " * 65536 + b"\r\n"] * 40], "cut_body"),
    "request timeout": ([http(408, b"")], "http_408"),
    "too early": ([http(425, b"")], "http_425"),
    "unknown 5xx": ([http(529, b"overloaded")], "http_529"),
}  # fmt: skip


@pytest.mark.parametrize(("first", "reason"), AGAIN.values(), ids=AGAIN)
def test_what_is_no_answer_is_asked_for_again_and_only_that_row(tmp_path, monkeypatch, first, reason):
    monkeypatch.setattr(transport, "LARGEST", 1 << 20)
    monkeypatch.setattr(chat, "FIRST_PAUSE_S", 0.01)

    def say(question, attempt):
        return first if question.endswith(" 3?") and attempt == 1 else [FINE]

    with Hostile(say) as server:
        end = endpoint(server.url, deadline_s=0.6)
        replies, stats = ask_all(end, tmp_path / "j.sqlite", numbered(8))
    assert [reply.text for reply in replies.values()] == ["fine"] * 8
    assert dict(stats.errors) == {reason: 1}
    assert sorted(server.asked.values()) == [1] * 7 + [2]


TOO_LARGE = b'{"error": {"message": "Request too large for m on tokens per min: Limit 100, Requested 900"}}'
CONTEXT = b'{"error": {"code": "context_length_exceeded", "message": "the schema and messages are 9000 tokens"}}'
NEVER = {  # (what the server says, reason of the row)
    "longer than the context": (http(400, CONTEXT), "too_long"),
    "larger than the account's limit": (http(429, TOO_LARGE), "too_long"),
    "vLLM's words for it": (http(400, b"This model's maximum context length is 4096 tokens."), "too_long"),
    "a body too large": (http(413, b"Payload Too Large"), "http_413"),
    "a policy": (http(400, b'{"error": {"code": "content_policy_violation"}}'), "refused"),
    "the filter at the end": (http(200, envelope("half of", "content_filter")), "refused"),
    "a refusal": (http(200, envelope({"content": None, "refusal": "I cannot"})), "refused"),
    "a refusal beside empty text": (http(200, envelope({"content": "", "refusal": "I cannot"})), "refused"),
}


@pytest.mark.parametrize(("said", "reason"), NEVER.values(), ids=NEVER)
@pytest.mark.parametrize("structured", [False, True])
def test_what_can_never_be_answered_costs_one_request_and_one_row(tmp_path, said, reason, structured):
    with Hostile(lambda question, _: [said if question.endswith(" 3?") else FINE]) as server:
        replies, _ = ask_all(endpoint(server.url, structured=structured), tmp_path / "j.sqlite", numbered(6))
    failed = [reply for reply in replies.values() if isinstance(reply, ChatFailure)]
    assert [failure.reason for failure in failed] == [reason]
    assert set(server.asked.values()) == {1}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (http(403, b'{"error": {"message": "this model requires moderation and your input was flagged"}}'), "refused"),
        (http(403, b"no"), "http_403"),
        (http(404, b"no route for this input"), "http_404"),
    ],
)
def test_a_question_that_alone_is_denied_costs_its_row_and_not_the_run(tmp_path, said, reason):
    denied = numbered(30)[9::10]
    with Hostile(lambda question, _: [said if question in denied else FINE]) as server:
        replies, _ = ask_all(endpoint(server.url, concurrency=4), tmp_path / "j.sqlite", numbered(30))
    assert {q: r.reason for q, r in replies.items() if isinstance(r, ChatFailure)} == dict.fromkeys(denied, reason)


def test_flagged_questions_alone_do_not_stop_the_same_command_again(tmp_path):
    flagged = http(403, b'{"error": {"message": "your input was flagged"}}')
    with Hostile(lambda *_: [flagged]) as server:
        replies, _ = ask_all(endpoint(server.url), tmp_path / "j.sqlite", numbered(30))
    assert {reply.reason for reply in replies.values()} == {"refused"}


def test_an_account_that_was_flagged_stops_the_run(tmp_path):
    said = http(403, b'{"message": "Your account has been flagged", "code": "account_deactivated"}')
    with Hostile(lambda *_: [said]) as server, pytest.raises(UserError, match="access denied"):
        ask_all(endpoint(server.url, concurrency=4), tmp_path / "j.sqlite", numbered(30))


def test_an_endpoint_that_begins_to_deny_everything_stops_the_run(tmp_path):
    with (
        Hostile(lambda question, _: [FINE if question in numbered(20) else http(403, b"no")]) as server,
        pytest.raises(UserError, match="access denied"),
    ):
        ask_all(endpoint(server.url, concurrency=4), tmp_path / "j.sqlite", numbered(100))
    assert sum(server.asked.values()) <= 20 + 8 + 4


def test_tokens_of_prompts_are_set_aside_as_the_server_counts_them(tmp_path):
    """1,000 characters are expected to be 250 tokens, 0.25 USD; the server counts 2,500: 80 requests cost 200 USD."""
    body = envelope(usage={"prompt_tokens": 2500, "completion_tokens": 0})
    end = {"usd_per_m_prompt": 1000.0, "max_tokens": 1, "max_usd": 200.0, "concurrency": 20}
    with Hostile(lambda *_: [0.01, http(200, body)]) as server:
        with pytest.raises(UserError, match="max_usd"):
            ask_all(endpoint(server.url, **end), tmp_path / "j.sqlite", [f"{n:04d}" * 250 for n in range(150)])
        assert 70 <= sum(server.asked.values()) <= 80


READ = {  # (body, text, tokens)
    "declared as a page": (WHOLE, "fine", 110),
    "no usage": (envelope(usage=None), "fine", 0),
    "usage in words": (envelope(usage="some"), "fine", 0),
    "usage below zero": (envelope(usage={"prompt_tokens": -5, "completion_tokens": 10}), "fine", 10),
    "usage beyond every number": (envelope(usage={"prompt_tokens": 10**30, "completion_tokens": 10}), "fine", 10),
    "usage of floats": (envelope(usage={"prompt_tokens": 99.5, "completion_tokens": 1.0}), "fine", 100),
    "parts, some without text": (envelope([{"text": "fi"}, {"text": None}, {"image": 1}, {"text": "ne"}]), "fine", 110),
    "a tool call instead of text": (envelope({"content": None, "tool_calls": [{"id": "1"}]}, "tool_calls"), "", 110),
    "cut off at max_tokens": (envelope("half of i", "length"), "half of i", 110),
    "cut off within a character": (envelope("x?").replace(b"?", b"\\ud83d"), "x\ufffd", 110),
    "a finish reason that is no text": (envelope(finish=7), "fine", 110),
}


@pytest.mark.parametrize(("body", "text", "tokens"), READ.values(), ids=READ)
def test_a_strange_answer_is_still_the_answer_and_is_read_from_the_journal_alike(tmp_path, body, text, tokens):
    with Hostile(lambda *_: [http(200, body, "Content-Type: text/html")]) as server:
        first, _ = ask_all(endpoint(server.url), tmp_path / "j.sqlite", ["one"])
        again, _ = ask_all(endpoint(server.url), tmp_path / "j.sqlite", ["one"])
    assert (first["one"].text, again["one"].text, again["one"].cached) == (text, text, True)
    with Journal(tmp_path / "j.sqlite") as store:
        assert store.counts.prompt_tokens + store.counts.completion_tokens == tokens
    assert server.asked["one"] == 1


def test_gzip_is_read(tmp_path):
    packed = http(200, gzip.compress(WHOLE), "Content-Encoding: gzip")
    with Hostile(lambda *_: [packed]) as server:
        replies, _ = ask_all(endpoint(server.url), tmp_path / "j.sqlite", ["one"])
    assert replies["one"].text == "fine"


def test_retry_after_as_a_date_is_obeyed_and_costs_no_attempt(tmp_path):
    def say(question, attempt):
        date = email.utils.formatdate(time.time() + 2, usegmt=True)  # whole seconds: between one and two away
        return [http(503, b"starting", f"Retry-After: {date}") if attempt <= 2 else FINE]

    with Hostile(say) as server:
        began = time.monotonic()
        replies, _ = ask_all(endpoint(server.url, max_attempts=1), tmp_path / "j.sqlite", ["one"])
    assert isinstance(replies["one"], Reply)
    assert time.monotonic() - began > 1.9


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (http(401, b'{"error": "expired"}'), "access denied"),
        (http(200, b'{"error": {"message": "no credit", "code": 402}}'), "no credit left"),
        (http(308, b"", "Location: https://elsewhere/v1"), "redirection to 'https://elsewhere/v1'.*base_url"),
    ],
    ids=["a key that expires", "an empty account inside status 200", "a redirection"],
)
def test_what_stops_the_run_in_the_middle_keeps_the_answers(tmp_path, said, hint):
    broken = True

    def say(question, attempt):
        return [0.01, said if broken and int(question.rstrip("?").split()[-1]) >= 40 else FINE]

    with Hostile(say) as server:
        end = endpoint(server.url, concurrency=8)
        with pytest.raises(UserError, match=hint):
            ask_all(end, tmp_path / "j.sqlite", numbered(100))
        refused = sum(server.asked.values()) - 40
        assert refused <= 16  # those in flight, not sixty
        broken = False
        replies, _ = ask_all(end, tmp_path / "j.sqlite", numbered(100))
    assert all(isinstance(reply, Reply) for reply in replies.values())
    assert all(server.asked[question] == 1 for question in numbered(40))  # answered ones were not asked again


def test_a_server_that_restarts_loses_no_row_whatever_the_number_of_attempts(tmp_path):
    async def work(store: Journal) -> int:
        first = MockTeacher(latency=0.02)
        with first:
            url = first.base_url
        async with Chat(endpoint(url, max_attempts=2, concurrency=8, patience_s=20), store) as client:

            async def one(number: int) -> Reply:
                return await client.ask([user(f"question {number}")])

            with MockTeacher(latency=0.02, port=first.port):
                before = await asyncio.gather(*(one(number) for number in range(40)))
                rest = [asyncio.create_task(one(number)) for number in range(40, 80)]
                await asyncio.sleep(0.03)
            await asyncio.sleep(3)  # time for more than two attempts
            with MockTeacher(latency=0.02, port=first.port):
                return len(before) + len(await asyncio.gather(*rest))

    with Journal(tmp_path / "j.sqlite") as store:
        assert asyncio.run(work(store)) == 80


def test_a_server_without_tls_behind_an_https_address_stops_the_run_in_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "CONNECT_S", 0.2)
    with MockTeacher() as server, pytest.raises(UserError, match="nothing answers at https"):
        ask_all(endpoint(server.base_url.replace("http:", "https:")), tmp_path / "j.sqlite", numbered(5))


def test_a_host_that_takes_no_connection_stops_the_run_and_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "CONNECT_S", 0.2)
    with socket.socket() as silent, socket.socket() as first, socket.socket() as second:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for filling in (first, second):  # the queue holds one, whoever comes later waits for ever
            filling.setblocking(False)
            filling.connect_ex(silent.getsockname())
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(UserError, match="nothing answers at"):
            ask_all(endpoint(url, **PRICES), tmp_path / "j.sqlite", numbered(5))
    with Journal(tmp_path / "j.sqlite") as store:
        assert store.counts.usd == 0


def test_the_budget_holds_when_the_server_never_says_what_it_took(tmp_path):
    with Hostile(lambda *_: [http(200, envelope(usage=None))]) as server, pytest.raises(UserError, match="max_usd=1"):
        ask_all(endpoint(server.url, max_usd=1.0, **PRICES), tmp_path / "j.sqlite", numbered(100))
    # a question is 21 or 22 characters, 5 tokens, and at most 100 come back: 0.105 dollars, nine times
    assert sum(server.asked.values()) == 9


def test_teacher_and_judge_have_each_their_own_budget_in_every_run(tmp_path):
    def run(models: list[str], questions: list[str], most: float) -> float:
        for model in models:
            ask_all(endpoint(server.url, model=model, max_usd=most, **PRICES), tmp_path / "j.sqlite", questions)
        with Journal(tmp_path / "j.sqlite") as store:
            return store.counts.usd

    with Hostile(lambda *_: [FINE]) as server:  # 110 tokens, 0.11 dollars
        assert run(["teacher", "judge"], numbered(5), 0.8) == pytest.approx(1.1)
        assert run(["judge", "teacher"], numbered(6), 0.8) == pytest.approx(1.32)  # 0.66 each
        with pytest.raises(UserError, match=r"0\.77.* of max_usd=0\.8"):
            run(["teacher"], numbered(9), 0.8)


def test_one_row_that_a_server_blames_on_the_schema_does_not_take_it_from_the_others(tmp_path):
    async def work(store: Journal) -> list[object]:
        async with Chat(Endpoint(base_url=server.url, model="m", structured=True), store) as client:
            found: list[object] = []
            for question in ("bad", "good", "better"):
                try:
                    found.append((await client.ask([user(question)], schema={"type": "object"})).text)
                except ChatFailure as failure:
                    found.append(failure.reason)
            return found

    blamed = http(400, b'{"error": {"message": "the JSON schema met something odd"}}')
    with Hostile(lambda question, _: [blamed if question == "bad" else FINE]) as server:
        with Journal(tmp_path / "j.sqlite") as store:
            assert asyncio.run(work(store)) == ["refused", "fine", "fine"]
            assert store.notes == {}
        with Journal(tmp_path / "j.sqlite") as store:
            assert store.notes == {}
    assert ["response_format" in body for body in server.bodies] == [True, False, True, True]


def test_the_journal_holds_what_was_said_when_it_was_no_answer(tmp_path):
    with Hostile(lambda _, attempt: [FINE if attempt > 1 else http(200, b"<html>busy</html>")]) as server:
        ask_all(endpoint(server.url, **PRICES), tmp_path / "j.sqlite", ["one"])
    with Journal(tmp_path / "j.sqlite") as store:
        counts = store.counts
    assert (counts.attempts, counts.answers) == (2, 1)
    # lost: 3 characters are no token, 100 at most came back; then 110 tokens
    assert counts.usd == pytest.approx(0.1 + 0.11)
    assert orjson.loads(WHOLE)["usage"] == {"prompt_tokens": 100, "completion_tokens": 10}
