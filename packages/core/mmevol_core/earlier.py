"""What other runs were answered: their journals, to read from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


class Earlier:
    """Journals of other runs, which may be at work right now.

    Args:
        paths: the files; what is no journal of this version is passed over.
        version: of the journals that can be read.
    """

    def __init__(self, paths: Iterable[Path], version: int) -> None:
        self._open = [db for path in paths if (db := _reader(path, version))]

    def get(self, key: bytes) -> tuple[bytes, float] | None:
        """The raw answer and its latency in seconds from the first journal that has it."""
        for db in self._open:
            with suppress(sqlite3.Error):  # what cannot be read now has nothing for us
                row = db.execute("SELECT raw, latency_s FROM answers WHERE key = ?", (key,)).fetchone()
                if row:
                    return row[0], row[1]
        return None

    def close(self) -> None:
        """Let go of the files."""
        for db in self._open:
            db.close()


def _reader(path: Path, version: int) -> sqlite3.Connection | None:
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        found = db.execute("SELECT value FROM totals WHERE name = 'version'").fetchone()
    except sqlite3.Error:
        return None
    if found == (version,):
        return db
    db.close()
    return None
