"""What was asked and answered, kept for good: a reply that was paid for is never asked again.

One SQLite file in WAL mode. Answers that arrive in the same turn of the event loop share one commit. With
`synchronous=NORMAL` a commit survives the death of the process at once (the operating system has the bytes) and a
power cut up to the last checkpoint. Sums are kept in a table, so that opening costs the same for ten rows and for
millions.
"""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from mmevol_core.earlier import Earlier
from mmevol_core.errors import UserError
from mmevol_core.limits import Purse
from mmevol_core.notes import SHARED, name_anew, name_of, told

VERSION = 1
SPENT = "usd of "  # begins the names of sums of one model
CHECKPOINT_EVERY = 4096  # rows between two transfers of the log into the database
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, raw BLOB NOT NULL, latency_s REAL NOT NULL);
CREATE TABLE IF NOT EXISTS attempts (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL, finished REAL NOT NULL, status INTEGER NOT NULL, error TEXT,
    latency_s REAL NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, usd REAL NOT NULL,
    raw BLOB);
CREATE TABLE IF NOT EXISTS fetched (job TEXT, key BLOB, error TEXT, PRIMARY KEY (job, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request and what came of it. `error` is None for an answer, else the class of the failure.

    `status` is HTTP's (0: no response); `raw` the body received (of a failure only its beginning).
    """

    key: bytes
    status: int
    error: str | None
    latency_s: float
    raw: bytes
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    model: str = ""  # that was paid
    job: str = ""  # the batch it came in, as long as that is under way: its file may have to be read again


@dataclass(frozen=True)
class Counts:
    """Sums over the whole life of a journal."""

    answers: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0


class Journal:
    """A content-addressed store of answers with the log of every attempt. One process at a time may open it.

    Args:
        path: the file.
        others: journals of other runs. What they hold is copied when it is asked for, costs nothing, and is noted.

    Raises:
        UserError: on opening, when another process has it open or the file is not a journal; on writing, when the
            disk is full.
    """

    def __init__(self, path: Path, others: Sequence[Path] = ()) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(path.with_name(path.name + ".lock"))
        self._waiting: list[Attempt] = []
        self._new: dict[bytes, Attempt] = {}  # answers of `_waiting`, readable before their commit
        self._commit: asyncio.Future[None] | None = None
        self._noted = False  # something that no commit has kept yet
        self._purses: dict[str, Purse] = {}
        self._earlier = Earlier((other for other in others if other != path), VERSION)
        self._since_checkpoint = 0
        self._checkpoint: threading.Thread | None = None
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA wal_autocheckpoint=0")  # done by a thread: it waits for the disk
            self._db.executescript(_SCHEMA)
            name_anew(self._db)
            self._totals = dict(self._db.execute("SELECT name, value FROM totals"))
        except sqlite3.Error as error:
            self._lock.close()
            raise UserError(f"cannot open the journal {path}: {error}; move it away to start afresh") from error
        if self._totals.setdefault("version", VERSION) != VERSION:
            self.close()
            raise UserError(f"journal {path} has version {self._totals['version']:g}, this program reads {VERSION}")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def counts(self) -> Counts:
        """Sums so far, attempts that wait for their commit not included."""
        total = self._totals.get
        return Counts(
            int(total("answers", 0)),
            int(total("attempts", 0)),
            int(total("prompt_tokens", 0)),
            int(total("completion_tokens", 0)),
            total("usd", 0.0),
        )

    @property
    def notes(self) -> dict[str, int]:
        """What was noted, in words, and how often."""
        return told(self._totals)

    def noted(self, what: str, about: str = "") -> int:
        """How often one of `notes.WORDS` was noted of a model."""
        return int(self._totals.get(name_of(what, about), 0))

    def note(self, what: str, about: str = "", times: int = 1) -> None:
        """Count one of `notes.WORDS` for the whole life of the journal; kept with the next commit."""
        self._totals[name_of(what, about)] = self.noted(what, about) + times
        self._noted = True

    def purse(self, model: str) -> Purse:
        """What a model has cost; money that no model was named for counts for each."""
        if model not in self._purses:
            named = {name: usd for name, usd in self._totals.items() if name.startswith(SPENT)}
            unnamed = max(0.0, self.counts.usd - sum(named.values()))
            self._purses[model] = Purse(named.get(SPENT + model, 0.0) + unnamed)
        return self._purses[model]

    def get(self, key: bytes) -> tuple[bytes, float] | None:
        """The raw answer and its latency in seconds, or None."""
        if fresh := self._new.get(key):
            return fresh.raw, fresh.latency_s
        row = self._db.execute("SELECT raw, latency_s FROM answers WHERE key = ?", (key,)).fetchone()
        return (row[0], row[1]) if row else self._taken(key)

    def _taken(self, key: bytes) -> tuple[bytes, float] | None:
        """An answer of another run, from now on one of ours."""
        if row := self._earlier.get(key):
            with suppress(sqlite3.Error):  # a full disk shows at the next commit
                self._db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", (key, *row))
                self.note(SHARED)
        return row

    def fetched(self, job: str) -> dict[bytes, str | None]:
        """What of a batch is committed already: key to the class of its failure, None for an answer."""
        return dict(self._db.execute("SELECT key, error FROM fetched WHERE job = ?", (job,)))

    def forget(self, job: str) -> None:
        """A batch is over: its file is never read again."""
        with suppress(sqlite3.Error):  # a full disk shows at the next commit; lines that stay harm nobody
            self._db.execute("DELETE FROM fetched WHERE job = ?", (job,))

    async def put(self, attempt: Attempt) -> None:
        """Record an attempt; returns when it is committed, together with all that arrived in the same turn."""
        self._waiting.append(attempt)
        if attempt.error is None:
            self._new[attempt.key] = attempt
        if self._commit is None:
            loop = asyncio.get_running_loop()
            self._commit = loop.create_future()
            loop.call_soon(self._finish_turn)
        await asyncio.shield(self._commit)

    def _finish_turn(self) -> None:
        done, self._commit = self._commit, None
        if done is None:
            return
        try:
            self.flush()
        except UserError as error:
            done.set_exception(error)
            done.exception()  # every waiter may be gone
        else:
            done.set_result(None)

    def flush(self) -> None:
        """Commit what waits.

        Raises:
            UserError: the disk is full or gone; nothing committed before is lost.
        """
        rows, self._waiting, self._new = self._waiting, [], {}
        if not (rows or self._noted):
            return
        now = time.time()
        totals = self._totals.copy()
        answers = [(row.key, row.raw, row.latency_s) for row in rows if row.error is None]
        try:
            self._db.execute("BEGIN")
            stored = self._db.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", answers).rowcount
            _add(totals, rows, max(stored, 0))
            self._db.executemany(
                "INSERT INTO attempts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [_columns(row, now) for row in rows]
            )
            pieces = [(row.job, row.key, row.error) for row in rows if row.job]
            self._db.executemany("INSERT OR REPLACE INTO fetched VALUES (?, ?, ?)", pieces)
            self._db.executemany("INSERT OR REPLACE INTO totals VALUES (?, ?)", totals.items())
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise UserError(
                f"cannot write the journal {self.path}: {error}; free some disk space and run the same command again, "
                f"at least {self.counts.answers} answers are kept"
            ) from error
        self._totals, self._noted = totals, False
        self._move_log(len(rows))

    def _move_log(self, rows: int) -> None:
        """Now and then copy the log into the database in a thread, then start the log from its beginning again."""
        self._since_checkpoint += rows
        if self._checkpoint is not None:
            if not self._checkpoint.is_alive():
                self._checkpoint = None
                self._db.execute("PRAGMA wal_checkpoint(RESTART)")  # only what came meanwhile is left to copy
        elif self._since_checkpoint >= CHECKPOINT_EVERY:
            self._since_checkpoint = 0
            self._checkpoint = threading.Thread(target=_checkpoint, args=(self.path,), name="journal-checkpoint")
            self._checkpoint.start()

    def close(self) -> None:
        """Commit what waits and close; closing twice is fine."""
        try:
            self.flush()
        finally:
            if self._checkpoint:
                self._checkpoint.join()
            self._db.close()
            self._earlier.close()
            self._lock.close()


def _lock(path: Path) -> IO[bytes]:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise UserError(
            f"another process is using the journal {path.with_suffix('')}; wait for it or end it"
        ) from error
    return file


def _add(totals: dict[str, float], rows: list[Attempt], answers: int) -> None:
    for name, value in (
        ("answers", answers),
        ("attempts", len(rows)),
        ("prompt_tokens", sum(row.prompt_tokens for row in rows)),
        ("completion_tokens", sum(row.completion_tokens for row in rows)),
        ("usd", sum(row.usd for row in rows)),
    ):
        totals[name] = totals.get(name, 0) + value
    for row in rows:
        if row.model and row.usd:
            totals[SPENT + row.model] = totals.get(SPENT + row.model, 0) + row.usd


def _columns(row: Attempt, now: float) -> tuple[object, ...]:
    """The row of the attempts table; an answer's raw text is already in the answers table."""
    raw = row.raw if row.error is not None else None
    tokens = (row.prompt_tokens, row.completion_tokens)
    return (row.key, now, row.status, row.error, row.latency_s, *tokens, row.usd, raw)


def _checkpoint(path: Path) -> None:
    """Move the log into the database without stopping the writer (PASSIVE); a failure only leaves the log longer."""
    try:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        db.close()
    except sqlite3.Error:
        return  # the writer meets the same disk at its next commit and reports it there
