"""The journal on a real SQLite file."""

import asyncio
import sqlite3
import time
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmevol_core.errors import UserError
from mmevol_core.journal import Attempt, Counts, Journal


def answer(number: int, text: bytes = b"{}") -> Attempt:
    key = number.to_bytes(16, "big")
    return Attempt(
        key=key, status=200, error=None, latency_s=0.5, raw=text, prompt_tokens=10, completion_tokens=2, usd=0.25
    )


def failure(number: int) -> Attempt:
    return Attempt(key=number.to_bytes(16, "big"), status=500, error="http_500", latency_s=0.1, raw=b"sorry")


def put(path, *attempts: Attempt) -> Counts:
    async def work(journal: Journal) -> None:
        await asyncio.gather(*(journal.put(attempt) for attempt in attempts))

    with Journal(path) as journal:
        asyncio.run(work(journal))
        return journal.counts


def test_an_answer_is_found_again_after_reopening_and_a_failure_is_not(tmp_path):
    put(tmp_path / "j.sqlite", answer(1, b"one"), failure(2))
    with Journal(tmp_path / "j.sqlite") as journal:
        assert journal.get(answer(1).key) == (b"one", 0.5)
        assert journal.get(failure(2).key) is None
        assert journal.counts == Counts(answers=1, attempts=2, prompt_tokens=10, completion_tokens=2, usd=0.25)


def test_failed_attempts_are_recorded_with_status_class_and_body(tmp_path):
    put(tmp_path / "j.sqlite", failure(2), answer(2))
    with closing(sqlite3.connect(tmp_path / "j.sqlite")) as db:
        rows = db.execute("SELECT key, status, error, raw FROM attempts ORDER BY number").fetchall()
    key = answer(2).key
    assert rows == [(key, 500, "http_500", b"sorry"), (key, 200, None, None)]  # an answer's body is in `answers`


def test_a_second_process_cannot_open_the_same_journal(tmp_path):
    with Journal(tmp_path / "j.sqlite"), pytest.raises(UserError, match="another process"):
        Journal(tmp_path / "j.sqlite")
    Journal(tmp_path / "j.sqlite").close()


def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path):
    (tmp_path / "j.sqlite").write_text("not a database, but somebody's work " * 100)
    with pytest.raises(UserError, match="cannot open the journal"):
        Journal(tmp_path / "j.sqlite")
    assert (tmp_path / "j.sqlite").read_text().startswith("not a database")


def test_answers_of_one_turn_share_one_commit(tmp_path):
    commits = []

    async def work(journal: Journal) -> None:
        journal._db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        await asyncio.gather(*(journal.put(answer(n)) for n in range(50)))

    with Journal(tmp_path / "j.sqlite") as journal:
        asyncio.run(work(journal))
    assert len(commits) == 1


def test_the_log_is_moved_into_the_database_while_writing_goes_on(tmp_path):
    async def work(journal: Journal) -> None:
        for start in range(0, 20_000, 200):
            await asyncio.gather(*(journal.put(answer(start + n, b"x" * 2000)) for n in range(200)))

    with Journal(tmp_path / "j.sqlite") as journal:
        asyncio.run(work(journal))
        log = (tmp_path / "j.sqlite-wal").stat().st_size
        assert journal.counts.answers == 20_000
    assert log < 30_000_000  # 20,000 answers of 2 KB are 40 MB; the log holds a part of them


@pytest.mark.slow
def test_opening_a_million_answers_reads_none_of_them(tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal:
        for start in range(0, 1_000_000, 10_000):
            journal._waiting = [answer(start + n) for n in range(10_000)]
            journal.flush()
    began = time.perf_counter()
    with Journal(tmp_path / "j.sqlite") as journal:
        assert journal.counts.answers == 1_000_000
        assert journal.get(answer(987_654).key)
        took = time.perf_counter() - began
    assert took < 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans(), st.binary(max_size=50)), max_size=60))
def test_sums_and_answers_equal_what_was_put(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("journal") / "j.sqlite"
    attempts = [answer(n, raw) if good else failure(n) for n, good, raw in entries]
    counts = put(path, *attempts)
    good = [a for a in attempts if a.error is None]
    first = {}
    for attempt in good:
        first.setdefault(attempt.key, attempt.raw)
    assert (counts.attempts, counts.answers, counts.usd) == (len(attempts), len(first), 0.25 * len(good))
    with Journal(path) as journal:
        assert {key: journal.get(key) for key in first} == {key: (raw, 0.5) for key, raw in first.items()}
