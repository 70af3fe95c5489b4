"""The chat client against a real HTTP server on loopback that fails in every way servers do."""

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.chatting import ask_all, endpoint, numbered
from support.mock_teacher import MockTeacher

from mmevol_core.chat import Chat, ChatFailure, Endpoint, Reply, run, user
from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_core.journal import Journal

PROGRAM = Path(__file__).parents[1] / "support" / "chatting.py"


def test_every_question_is_answered_once_and_a_second_run_sends_nothing(tmp_path):
    with MockTeacher(latency=0.005) as teacher:
        end = endpoint(teacher.base_url)
        first, stats = ask_all(end, tmp_path / "j.sqlite", numbered(100))
        assert teacher.stats()["requests"] == 100
        again, later = ask_all(end, tmp_path / "j.sqlite", numbered(120))
        sent = teacher.stats()
    assert (stats.cached, later.cached) == (0, 100)
    assert (stats.brief(), later.brief()) == ({}, {"cached": 100})
    assert {q: again[q].text for q in first} == {q: r.text for q, r in first.items()}
    assert all(r.prompt_tokens > 0 and r.completion_tokens > 0 for r in again.values())
    assert sent["requests"] == 120
    assert sent["duplicate_requests"] == 0


def test_hard_faults_cost_retries_but_no_row_and_no_duplicate(tmp_path):
    faults = {"share_500": 0.05, "share_429": 0.05, "share_drop": 0.02, "share_non_json": 0.01, "share_drop_mid": 0.02}
    with MockTeacher(**faults, share_503=0.02, retry_after=0.2) as teacher:
        replies, stats = ask_all(endpoint(teacher.base_url), tmp_path / "j.sqlite", numbered(400))
        sent = teacher.stats()
    assert all(isinstance(reply, Reply) for reply in replies.values())
    assert sent["duplicate_requests"] == 0
    faulty = {"http_500", "http_503", "http_429", "connection", "not_json", "cut_body"}
    assert set(stats.errors) == faulty  # each kind really happened
    with Journal(tmp_path / "j.sqlite") as journal:
        assert journal.counts.attempts == 400 + stats.errors.total()
    assert stats.brief()["errors"].startswith(" ".join(map(str, stats.errors.most_common(1)[0])))


def test_a_row_that_always_fails_is_named_and_costs_only_itself(tmp_path):
    with MockTeacher(share_poison=0.1, seed=3) as teacher:
        replies, _ = ask_all(endpoint(teacher.base_url), tmp_path / "j.sqlite", numbered(200))
        sent = teacher.stats()
    failed = [reply for reply in replies.values() if isinstance(reply, ChatFailure)]
    assert 5 < len(failed) < 40
    assert {failure.reason for failure in failed} == {"refused"}
    assert sent["requests"] == 200  # a refusal is not asked again in the same run


def test_attempts_are_limited_and_the_row_fails_with_the_last_error(tmp_path):
    with MockTeacher(share_500=1.0) as teacher:
        end = endpoint(teacher.base_url, max_attempts=2)
        replies, stats = ask_all(end, tmp_path / "j.sqlite", ["one"])
        assert teacher.stats()["requests"] == 2
    assert replies["one"].reason == "http_500"
    assert stats.errors == {"http_500": 2}


def test_a_hanging_answer_is_abandoned_at_the_deadline_and_asked_again(tmp_path):
    with MockTeacher(share_hang=0.2, seed=1) as teacher:
        began = time.monotonic()
        end = endpoint(teacher.base_url, deadline_s=0.3)
        replies, stats = ask_all(end, tmp_path / "j.sqlite", numbered(40))
    assert all(isinstance(reply, Reply) for reply in replies.values())
    assert stats.errors["timeout"] > 0
    assert time.monotonic() - began < 30  # the mock hangs for 600 s


def test_retry_after_delays_its_row_and_no_other(tmp_path):
    with MockTeacher(latency=0.01, share_429=0.1, retry_after=1.0, seed=5) as teacher:
        done: list[float] = []

        async def work(store: Journal) -> None:
            async with Chat(endpoint(teacher.base_url, concurrency=8), store) as chat:

                async def one(question: str) -> None:
                    began = time.monotonic()
                    await chat.ask([user(question)])
                    done.append(time.monotonic() - began)

                async for _ in run(numbered(60), one, 60):
                    pass

        with Journal(tmp_path / "j.sqlite") as store:
            asyncio.run(work(store))
        limited = teacher.stats()["by_fault"]["429"]
    assert 0 < limited < 20
    waited = sorted(done)
    assert sum(seconds >= 1.0 for seconds in done) >= limited - 2  # a row may be limited twice
    assert waited[60 - limited - 1] < 0.9  # all others were served meanwhile


def test_a_rate_limited_server_loses_no_row_however_often_it_says_no(tmp_path):
    with MockTeacher(rpm=1200, rpm_burst=5) as teacher:  # 20 a second
        end = endpoint(teacher.base_url, max_attempts=2)
        replies, _ = ask_all(end, tmp_path / "j.sqlite", numbered(40))
    assert all(isinstance(reply, Reply) for reply in replies.values())


def test_the_configured_rpm_is_kept_from_our_side(tmp_path):
    with MockTeacher() as teacher:
        began = time.monotonic()
        ask_all(endpoint(teacher.base_url, rpm=1200), tmp_path / "j.sqlite", numbered(50))
        took = time.monotonic() - began
        assert teacher.stats()["requests"] == 50
    assert took > 1.2  # 20 at once (one second's worth), the other 30 at 20 a second: 1.5 s


def test_a_wrong_key_stops_the_run_naming_the_variable_and_not_the_key(tmp_path):
    with MockTeacher(api_key="right") as teacher:
        end = endpoint(teacher.base_url, api_key_name="TEACHER_KEY")
        with pytest.raises(UserError, match="TEACHER_KEY") as caught:
            ask_all(end, tmp_path / "j.sqlite", numbered(200), api_key="wrong-secret")
        assert "wrong-secret" not in str(caught.value)
        assert teacher.stats()["requests"] <= end.concurrency
        replies, _ = ask_all(end, tmp_path / "j.sqlite", numbered(200), api_key="right")
    assert len(replies) == 200


@pytest.mark.parametrize(
    ("status", "hint"), [(404, "check base_url and model"), (403, "access denied"), (402, "credit")]
)
def test_what_no_other_request_can_survive_stops_the_run_at_once(tmp_path, status, hint):
    with MockTeacher(fail_first=50, fail_first_status=status) as teacher:
        with pytest.raises(UserError, match=hint):
            ask_all(endpoint(teacher.base_url, concurrency=4), tmp_path / "j.sqlite", numbered(50))
        assert teacher.stats()["requests"] <= 4


def test_a_dead_port_stops_the_run_in_seconds(tmp_path):
    with MockTeacher() as teacher:
        url = teacher.base_url
    began = time.monotonic()
    with pytest.raises(UserError, match="nothing answers at"):
        ask_all(endpoint(url), tmp_path / "j.sqlite", numbered(1))
    assert time.monotonic() - began < 5


def test_an_endpoint_that_dies_in_the_middle_stops_the_run_with_its_answers_kept(tmp_path):
    with MockTeacher() as teacher:
        end = endpoint(teacher.base_url, patience_s=1.0)
        ask_all(end, tmp_path / "j.sqlite", numbered(30))
        teacher.cfg.share_503 = 1.0
        with pytest.raises(UserError, match="answered nothing for 1 s"):
            ask_all(end, tmp_path / "j.sqlite", numbered(100))
        teacher.cfg.share_503 = 0.0
        replies, stats = ask_all(end, tmp_path / "j.sqlite", numbered(100))
        assert teacher.stats()["duplicate_requests"] == 0
    assert len(replies) == 100
    assert stats.cached >= 30


def test_the_budget_is_never_exceeded_and_more_money_continues_the_run(tmp_path):
    prices = {"usd_per_m_prompt": 1000.0, "usd_per_m_completion": 1000.0, "max_tokens": 100}
    with MockTeacher(latency=0.002) as teacher:
        poor = endpoint(teacher.base_url, max_usd=1.0, **prices)
        with pytest.raises(UserError, match="max_usd=1"):
            ask_all(poor, tmp_path / "j.sqlite", numbered(200))
        with Journal(tmp_path / "j.sqlite") as journal:
            spent = journal.counts
        assert 0.8 < spent.usd <= 1.0
        rich = endpoint(teacher.base_url, max_usd=100.0, **prices)
        replies, stats = ask_all(rich, tmp_path / "j.sqlite", numbered(200))
        assert teacher.stats()["requests"] == 200
    assert stats.cached == spent.answers
    assert len(replies) == 200


def test_equal_questions_at_the_same_time_share_one_request(tmp_path):
    async def work(url: str, store: Journal) -> list[Reply]:
        async with Chat(endpoint(url), store) as chat:
            return await asyncio.gather(*(chat.ask([user("the same")]) for _ in range(20)))

    with MockTeacher(latency=0.1) as teacher, Journal(tmp_path / "j.sqlite") as store:
        replies = asyncio.run(work(teacher.base_url, store))
        assert teacher.stats()["requests"] == 1
    assert len({reply.text for reply in replies}) == 1
    assert sum(not reply.cached for reply in replies) == 1


def test_when_the_first_asker_is_cancelled_the_second_one_still_gets_the_answer(tmp_path):
    async def work(url: str, store: Journal) -> Reply:
        async with Chat(endpoint(url), store) as chat:
            first = asyncio.create_task(chat.ask([user("the same")]))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(chat.ask([user("the same")]))
            await asyncio.sleep(0.05)
            first.cancel()
            return await second

    with MockTeacher(latency=0.3) as teacher, Journal(tmp_path / "j.sqlite") as store:
        assert asyncio.run(work(teacher.base_url, store)).text


def test_a_salt_asks_the_same_question_afresh(tmp_path):
    async def work(url: str, store: Journal) -> None:
        async with Chat(endpoint(url), store) as chat:
            for salt in (0, 1, 1, 0):
                await chat.ask([user("the same")], salt=salt)

    with MockTeacher() as teacher, Journal(tmp_path / "j.sqlite") as store:
        asyncio.run(work(teacher.base_url, store))
        assert teacher.stats()["requests"] == 2


def test_a_killed_run_resumes_with_fewer_repeats_than_slots(tmp_path):
    slots, count = 32, 600
    with MockTeacher(latency=0.05) as teacher:
        command = [sys.executable, str(PROGRAM), teacher.base_url, str(tmp_path / "j.sqlite"), str(count), str(slots)]
        with subprocess.Popen(command) as process:
            while teacher.stats()["answered_prompts"] < count // 2:
                time.sleep(0.005)
            process.kill()
        answered = teacher.stats()["answered_prompts"]
        assert answered < count
        out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        after = teacher.stats()
    done, cached = map(int, out.split())
    assert done == count
    assert after["duplicate_requests"] <= slots
    assert answered - slots <= cached <= answered


def test_a_full_disk_stops_the_run_and_keeps_what_was_committed(tmp_path):
    with MockTeacher() as teacher:
        command = [sys.executable, str(PROGRAM), teacher.base_url, str(tmp_path / "j.sqlite"), "800", "16"]
        full = subprocess.run([*command, "400000"], capture_output=True, text=True, timeout=60, check=False)
        assert full.returncode == 1
        assert full.stderr.startswith("error: cannot write the journal")
        with Journal(tmp_path / "j.sqlite") as journal:
            kept = journal.counts.answers
        said = int(re.search(r"at least (\d+) answers are kept", full.stderr).group(1))
        assert said <= kept <= said + 16  # the commit that reported the full disk may have been written after all
        assert teacher.stats()["answered_prompts"] - kept <= 16
        out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        assert teacher.stats()["duplicate_requests"] <= 16
    assert kept > 10
    assert list(map(int, out.split())) == [800, kept]


def test_structured_output_is_asked_for_only_where_the_server_has_it(tmp_path):
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}}

    async def work(end: Endpoint, store: Journal) -> str:
        async with Chat(end, store) as chat:
            return (await chat.ask([user("hello")], schema=schema)).text

    with MockTeacher() as teacher, Journal(tmp_path / "j.sqlite") as store:
        free = asyncio.run(work(endpoint(teacher.base_url), store))
        bound = asyncio.run(work(endpoint(teacher.base_url, structured=True), store))
    assert not free.startswith("{")
    assert bound.startswith('{"answer"')


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"max_usd": 5}, "usd_per_m_prompt"),
        ({"concurency": 5}, "concurrency"),
        ({"concurrency": 0}, "concurrency"),
    ],
)
def test_a_wrong_endpoint_is_refused_before_anything_is_sent(settings, hint):
    with pytest.raises(UserError, match=hint):
        fit(Endpoint, {"base_url": "http://localhost:1/v1", "model": "m", **settings}, "teacher")
