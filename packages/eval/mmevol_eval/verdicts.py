"""What judges said, shared by all arms and runs: one SQLite file, open in as many processes as there are.

A verdict is known by (judge's model, version of our prompts, whole request): the prompt holds the item and the reply,
the request also the pictures, the sampling and the number of the call. Whoever stores one first decides: two processes
that asked the same at the same time both go on with that one.
"""

from __future__ import annotations

import fcntl
import sqlite3
import time
from pathlib import Path

from mmevol_core.errors import UserError

PATIENCE_S = 60.0  # of a process that waits for another's commit, which takes milliseconds
_SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (
    model TEXT NOT NULL, prompts TEXT NOT NULL, request BLOB NOT NULL, item TEXT NOT NULL, reply TEXT NOT NULL,
    verdict TEXT NOT NULL, made REAL NOT NULL, PRIMARY KEY (model, prompts, request)) WITHOUT ROWID
"""


class Verdicts:
    """The verdicts of one judge under one version of the prompts.

    Args:
        path: SQLite file, made when it is not there; `made` is in Unix seconds.
        model: the judge's name at its endpoint.
        prompts: version of our prompts.

    Raises:
        UserError: on opening, when the file is something else; on writing, when the disk is full.
    """

    def __init__(self, path: Path, model: str, prompts: str) -> None:
        self._path, self._who = path, (model, prompts)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.with_name(path.name + ".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # who turns to WAL mode waits for nobody, and fails
                self._db = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")  # a verdict lost in a power cut is asked again
                self._db.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise UserError(
                f"cannot open the verdicts in {path}: {error}; move the file away to start afresh"
            ) from error

    def get(self, request: bytes) -> str | None:
        """The verdict that was given on this request, or None."""
        found = self._db.execute(
            "SELECT verdict FROM verdicts WHERE model = ? AND prompts = ? AND request = ?", (*self._who, request)
        ).fetchone()
        return None if found is None else str(found[0])

    def put(self, request: bytes, item: str, reply: str, verdict: str) -> str:
        """Keep a verdict on the reply to an item; return the one that counts: the first."""
        row = (*self._who, request, item, reply, verdict, time.time())
        try:
            self._db.execute("INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            raise UserError(f"cannot write a verdict to {self._path}: {error}") from error
        first = self.get(request)
        return verdict if first is None else first

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
