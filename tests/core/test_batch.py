"""Batches through the openai SDK against the mock's Files and Batch endpoints."""

import asyncio
import subprocess
import sys
import threading
import time
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest
from support.chatting import endpoint, numbered
from support.mock_teacher import MockTeacher

from mmevol_core import batch
from mmevol_core.chat import ChatFailure, Endpoint, Reply, connect, run, user
from mmevol_core.endpoint import BatchSettings
from mmevol_core.errors import UserError
from mmevol_core.journal import Journal

QUICK = BatchSettings(gather_s=0.05, poll_s=0.05, max_requests=100)


def ask_all(end: Endpoint, journal: Path, questions: list[str], api_key: str | None = None):
    async def work():
        async with connect(end, store, api_key) as chat:

            async def one(question: str):
                try:
                    return await chat.ask([user(question)])
                except ChatFailure as failure:
                    return failure

            return {q: r async for q, r in run(questions, one, chat.rows_in_flight)}, chat.stats

    with Journal(journal) as store:
        return asyncio.run(work())


def test_every_question_is_answered_in_few_batches_and_never_again(tmp_path):
    with MockTeacher() as teacher:
        end = endpoint(teacher.base_url, batch=QUICK)
        replies, _ = ask_all(end, tmp_path / "j.sqlite", numbered(250))
        again, stats = ask_all(endpoint(teacher.base_url), tmp_path / "j.sqlite", numbered(250))
        batches = len(teacher.server.batches.batches)
        assert teacher.stats()["duplicate_requests"] == 0
    assert all(isinstance(reply, Reply) for reply in replies.values())
    assert {q: r.text for q, r in replies.items()} == {q: r.text for q, r in again.items()}
    assert stats.cached == 250  # one journal for both ways of asking
    assert 3 <= batches <= 6


def stop_expiring(teacher: MockTeacher) -> None:
    """The mock expires the same lines every time; wait for the first such batch, then let all be done."""
    while not any(made["status"] == "expired" for made in list(teacher.server.batches.batches.values())):
        time.sleep(0.01)
    teacher.cfg.share_batch_expired = 0.0


def test_expired_and_failed_lines_are_submitted_again_until_answered(tmp_path):
    with MockTeacher(share_batch_expired=0.3, share_500=0.1, share_429=0.1) as teacher:
        end = endpoint(teacher.base_url, batch=QUICK, max_attempts=30)
        threading.Thread(target=stop_expiring, args=(teacher,), daemon=True).start()
        replies, stats = ask_all(end, tmp_path / "j.sqlite", numbered(60))
        assert teacher.stats()["duplicate_requests"] == 0
    assert all(isinstance(reply, Reply) for reply in replies.values())
    assert {"batch_expired", "http_500", "http_429"} <= set(stats.errors)


def test_a_refused_line_costs_only_itself(tmp_path):
    with MockTeacher(share_poison=0.2) as teacher:
        replies, stats = ask_all(endpoint(teacher.base_url, batch=QUICK), tmp_path / "j.sqlite", numbered(80))
    refused = [reply for reply in replies.values() if isinstance(reply, ChatFailure)]
    assert {failure.reason for failure in refused} == {"refused"}
    assert 3 < len(refused) < 40
    assert stats.errors == {"refused": len(refused)}


PROGRAM = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:5]
from test_batch import QUICK, ask_all
from support.chatting import endpoint, numbered
ask_all(endpoint(sys.argv[1], batch=QUICK), Path(sys.argv[2]), numbered(100))
"""


@pytest.mark.parametrize("forget_the_id", [False, True], ids=["noted", "killed before its id was noted"])
def test_a_batch_submitted_by_a_killed_process_is_fetched_by_the_next_one(tmp_path, forget_the_id):
    with MockTeacher(batch_delay=1.5) as teacher:
        here = Path(__file__).parent
        command = [
            sys.executable,
            "-c",
            PROGRAM,
            teacher.base_url,
            str(tmp_path / "j.sqlite"),
            str(here),
            str(here.parent),
        ]
        state = tmp_path / "j.sqlite.batches.json"
        with subprocess.Popen(command) as process:
            while not (state.exists() and "batch_" in state.read_text()):
                assert process.poll() is None
                time.sleep(0.02)
            process.kill()
        if forget_the_id:
            text = state.read_text()
            start = text.index('"batch_')
            state.write_text(text[:start] + "null" + text[text.index(",", start) :])
        replies, _ = ask_all(endpoint(teacher.base_url, batch=QUICK), tmp_path / "j.sqlite", numbered(100))
        assert len(teacher.server.batches.batches) == 1
        assert teacher.stats()["requests"] == 100
    assert all(isinstance(reply, Reply) for reply in replies.values())
    assert all(reply.latency_s < 600 for reply in replies.values())


def test_lines_committed_before_a_kill_are_not_paid_again(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "LINES_AT_ONCE", 20)
    drop, fetch, fetched = batch.BatchChat._end, batch.BatchChat._fetch_file, []

    def killed(chat, job):
        raise UserError("killed before the note was made")

    async def first_half(chat, file_id, job, missing):
        if not fetched:
            fetched.append(file_id)
            await fetch(chat, file_id, job, set(sorted(missing)[:50]))

    with MockTeacher(share_poison=0.2) as teacher:
        end = endpoint(teacher.base_url, batch=QUICK, **PRICES)
        monkeypatch.setattr(batch.BatchChat, "_end", killed)
        monkeypatch.setattr(batch.BatchChat, "_fetch_file", first_half)
        with pytest.raises(UserError, match="killed"):
            ask_all(end, tmp_path / "j.sqlite", numbered(100))
        monkeypatch.setattr(batch.BatchChat, "_end", drop)
        monkeypatch.setattr(batch.BatchChat, "_fetch_file", fetch)
        replies, _ = ask_all(end, tmp_path / "j.sqlite", numbered(100))
        assert teacher.stats()["requests"] == 100
    answered = [reply for reply in replies.values() if isinstance(reply, Reply)]
    assert {reply.reason for reply in replies.values() if isinstance(reply, ChatFailure)} == {"refused"}
    with Journal(tmp_path / "j.sqlite") as store:
        assert (store.counts.attempts, store.counts.answers) == (100, len(answered))
        tokens = sum(reply.prompt_tokens + reply.completion_tokens for reply in answered)
        assert store.counts.usd == pytest.approx(0.5 * 10e-6 * tokens)
        assert store._db.execute("SELECT count(*) FROM fetched").fetchone() == (0,)


def test_money_set_aside_for_an_adopted_batch_is_given_back_on_leaving(tmp_path):
    async def adopt_twice():
        with Journal(tmp_path / "j.sqlite") as store:
            end = endpoint(teacher.base_url, model="teacher", batch=QUICK, **PRICES)
            held = []
            for _ in range(2):
                async with connect(end, store):
                    await asyncio.sleep(0.1)
                    held.append(store.purse("teacher").held)
            return held, store.purse("teacher").held

    with MockTeacher(batch_delay=60) as teacher:
        two_clients(teacher.base_url, tmp_path / "j.sqlite", 2, teacher)
        (first, second), left = asyncio.run(adopt_twice())
    assert first == second > 0 == left


def test_a_refused_batch_and_a_dead_port_stop_the_run_with_a_hint(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "RETRIES", 0)
    with MockTeacher(batch_max_requests=5) as teacher, pytest.raises(UserError, match=r"lower batch\.max_requests"):
        ask_all(endpoint(teacher.base_url, batch=QUICK), tmp_path / "j.sqlite", numbered(20))
    with pytest.raises(UserError, match="no connection"):
        ask_all(endpoint(teacher.base_url, batch=QUICK), tmp_path / "j2.sqlite", numbered(2))


EMPTY = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (402, {"error": "payment"}, "no credit left; top it up"),
        (429, EMPTY, "no credit left; top it up"),
        (403, {}, "access denied to 'mock'; check the environment variable TEACHER_KEY"),
        (429, {"error": "slow down"}, "run the same command again to go on"),
        (400, {"error": "no batches here"}, "check base_url and model"),
    ],
)
def test_what_stops_a_batch_is_told_as_single_requests_tell_it(tmp_path, monkeypatch, status, body, hint):
    monkeypatch.setattr(batch, "RETRIES", 0)
    with MockTeacher() as teacher:
        ask_all(endpoint(teacher.base_url, batch=QUICK), tmp_path / "first.sqlite", ["warm up"])
        teacher.server.batches.create = lambda request: (status, body)
        end = endpoint(teacher.base_url, batch=QUICK, api_key_name="TEACHER_KEY")
        with pytest.raises(UserError, match=hint):
            ask_all(end, tmp_path / "j.sqlite", numbered(2), api_key="wrong-secret")


def test_the_batch_price_is_what_the_journal_counts(tmp_path):
    with MockTeacher() as teacher:
        end = endpoint(teacher.base_url, batch=QUICK, usd_per_m_prompt=10.0, usd_per_m_completion=10.0)
        ask_all(end, tmp_path / "j.sqlite", numbered(10))
    with Journal(tmp_path / "j.sqlite") as journal:
        counts = journal.counts
    # half of the normal price: 10 dollars for a million tokens
    assert counts.usd == pytest.approx(0.5 * 10e-6 * (counts.prompt_tokens + counts.completion_tokens))


PRICES = {"usd_per_m_prompt": 10.0, "usd_per_m_completion": 10.0}


def two_clients(url: str, journal: Path, leave_after: int | None, teacher: MockTeacher):
    """A teacher and a judge ask ten questions each through one journal; leave when so many batches are under way."""

    async def work():
        with Journal(journal) as store:
            async with AsyncExitStack() as stack:
                chats = [
                    await stack.enter_async_context(connect(endpoint(url, model=model, batch=QUICK, **prices), store))
                    for model, prices in (("teacher", PRICES), ("judge", {}))  # the judge is free
                ]
                asked = [asyncio.create_task(chat.ask([user(text)])) for chat in chats for text in numbered(10)]
                while leave_after is not None and len(teacher.server.batches.batches) < leave_after:
                    await asyncio.sleep(0.01)
                if leave_after is None:
                    return await asyncio.gather(*asked)
                await asyncio.sleep(0.1)  # their ids are noted
                for task in asked:
                    task.cancel()

    return asyncio.run(work())


def test_teacher_and_judge_note_their_batches_without_forgetting_each_others(tmp_path):
    with MockTeacher(batch_delay=1.0) as teacher:
        two_clients(teacher.base_url, tmp_path / "j.sqlite", 2, teacher)
        assert len(orjson.loads((tmp_path / "j.sqlite.batches.json").read_bytes())) == 2
        replies = two_clients(teacher.base_url, tmp_path / "j.sqlite", None, teacher)
        assert len(teacher.server.batches.batches) == 2  # fetched, not submitted again
        assert teacher.stats()["requests"] == 20
    assert len(replies) == 20
    tokens = sum(reply.prompt_tokens + reply.completion_tokens for reply in replies[:10])  # the teacher's
    with Journal(tmp_path / "j.sqlite") as store:
        spent = {model: store.purse(model).spent for model in ("teacher", "judge")}
    assert spent == {"teacher": pytest.approx(0.5 * 10e-6 * tokens), "judge": 0.0}


@pytest.mark.parametrize("times", [1, 2])
def test_a_batch_whose_creation_seemed_to_fail_is_not_created_twice(tmp_path, times):
    with MockTeacher() as teacher:
        ask_all(endpoint(teacher.base_url, batch=QUICK), tmp_path / "first.sqlite", ["warm up"])
        create, calls = teacher.server.batches.create, []

        def created_but_answered_502(request):
            calls.append(request)
            if len(calls) < times:
                return 502, {"error": {"message": "bad gateway"}}  # and not created
            made = create(request)
            return (502, {"error": {"message": "bad gateway"}}) if len(calls) == times else made

        teacher.server.batches.create = created_but_answered_502
        replies, _ = ask_all(endpoint(teacher.base_url, batch=QUICK), tmp_path / "j.sqlite", numbered(10))
        assert len(teacher.server.batches.batches) == 2
        assert len(calls) == times
        assert teacher.stats()["duplicate_requests"] == 0
    assert all(isinstance(reply, Reply) for reply in replies.values())


def spoil_first_output(teacher, tmp_path, change):
    """Have the server hand out its next output file with other lines."""
    ask_all(endpoint(teacher.base_url, batch=QUICK), tmp_path / "first.sqlite", ["warm up"])
    add_file, done = teacher.server.batches.add_file, []

    def spoil(name, purpose, data):
        if purpose == "batch_output" and not done:
            done.append(name)
            data = b"\n".join(change(data.splitlines()))
        return add_file(name, purpose, data)

    teacher.server.batches.add_file = spoil


def test_broken_lines_of_an_output_file_cost_only_their_own_questions(tmp_path):
    junk = [b"{half a line", b"[]", b'{"custom_id": "not hexadecimal", "response": {}}', b'{"custom_id": 7}']

    def spoiled(lines):
        first, second, *rest = lines
        silent = orjson.dumps({**orjson.loads(second), "response": None})
        return [first[:-9], silent, *junk, *rest, rest[0]]  # one line twice

    with MockTeacher() as teacher:
        spoil_first_output(teacher, tmp_path, spoiled)
        replies, stats = ask_all(endpoint(teacher.base_url, batch=QUICK), tmp_path / "j.sqlite", numbered(10))
        assert teacher.stats()["duplicate_requests"] == 2
    assert all(isinstance(reply, Reply) for reply in replies.values())
    assert stats.errors == {"batch_missing": 1}


@pytest.mark.parametrize(("status", "answered"), [(425, 10), (410, 9)])
def test_a_line_is_asked_again_for_the_statuses_that_single_requests_are(tmp_path, status, answered):
    def failed(lines):
        response = {"status_code": status, "body": {"error": "not now"}}
        return [orjson.dumps({**orjson.loads(lines[0]), "response": response}), *lines[1:]]

    with MockTeacher() as teacher:
        spoil_first_output(teacher, tmp_path, failed)
        replies, stats = ask_all(endpoint(teacher.base_url, batch=QUICK), tmp_path / "j.sqlite", numbered(10))
    assert sum(isinstance(reply, Reply) for reply in replies.values()) == answered
    assert stats.errors == {f"http_{status}": 1}


def test_a_batch_that_the_server_has_forgotten_stops_the_run_and_names_the_note(tmp_path):
    with MockTeacher(batch_delay=0.5) as teacher:
        two_clients(teacher.base_url, tmp_path / "j.sqlite", 2, teacher)
        teacher.server.batches.batches.clear()
        with pytest.raises(
            UserError, match=r"knows no batch .* delete .*j\.sqlite\.batches\.json to ask, and pay, again"
        ):
            ask_all(endpoint(teacher.base_url, model="judge", batch=QUICK), tmp_path / "j.sqlite", numbered(10))


def test_what_a_killed_process_was_filling_is_removed(tmp_path):
    left = tmp_path / "j.sqlite.0123.batch.jsonl"
    left.write_bytes(b"half")
    with MockTeacher() as teacher:
        ask_all(endpoint(teacher.base_url, batch=QUICK), tmp_path / "j.sqlite", ["one"])
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".lock", ".sqlite"]


def test_the_budget_counts_batches_of_an_earlier_process_that_are_still_under_way(tmp_path):
    prices = {"usd_per_m_prompt": 1000.0, "usd_per_m_completion": 1000.0, "max_tokens": 100, "max_usd": 1.0}

    async def leave_after(batches: int, questions: list[str]) -> None:
        with Journal(tmp_path / "j.sqlite") as store:
            async with connect(endpoint(teacher.base_url, batch=QUICK, **prices), store) as chat:
                asked = [asyncio.create_task(chat.ask([user(text)])) for text in questions]
                while len(teacher.server.batches.batches) < batches:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                for task in asked:
                    task.cancel()

    with MockTeacher(batch_delay=60) as teacher:
        asyncio.run(leave_after(1, numbered(15)))
        asyncio.run(leave_after(2, [f"Something else, number {number}" for number in range(15)]))
        server = teacher.server.batches
        inputs = [server.files[made["input_file_id"]][1] for made in server.batches.values()]
    # 15 * 0.0525 may still be owed for the first batch: beside it 4 more at 0.053 fit into one dollar
    assert [data.count(b"\n") for data in inputs] == [15, 4]
