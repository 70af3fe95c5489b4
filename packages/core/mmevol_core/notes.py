"""What a journal counts for its whole life beside answers and money: kept under names, told in words."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping

SHARED = "shared"
NO_SCHEMA = "no_schema"  # of a model: it refused one, and is asked without
WORDS = {
    SHARED: "answers that another run had paid for",
    NO_SCHEMA: "asked without a schema, which {} refused",
}
_PREFIX = "note: "  # begins the names of notes among the sums
_WERE_WORDS = {  # what earlier journals kept in place of a name
    SHARED: re.compile(r"note: answers that another run had paid for()"),
    NO_SCHEMA: re.compile(r"note: asked without a schema, which \S+ \((.*)\) refused"),
}


def name_of(what: str, about: str = "") -> str:
    """The name among a journal's sums of one of `WORDS`, told of a model where it has a place for one."""
    return f"{_PREFIX}{what} {about}"


def told(totals: Mapping[str, float]) -> dict[str, int]:
    """What was noted, in words, and how often."""
    counts = dict[str, int]()
    for name, count in totals.items():
        if name.startswith(_PREFIX) and count > 0:
            what, about = name.removeprefix(_PREFIX).split(" ", 1)
            counts[WORDS[what].format(about)] = int(count)
    return counts


def name_anew(db: sqlite3.Connection) -> None:
    """Give the notes of an earlier journal their names: what was refused before is not tried again."""
    for (earlier,) in db.execute("SELECT name FROM totals WHERE name LIKE 'note: a%'").fetchall():
        for what, words in _WERE_WORDS.items():
            if match := words.fullmatch(earlier):
                db.execute("BEGIN")
                db.execute(
                    "INSERT INTO totals SELECT ?, value FROM totals WHERE name = ? "
                    "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                    (name_of(what, match[1]), earlier),
                )
                db.execute("DELETE FROM totals WHERE name = ?", (earlier,))
                db.execute("COMMIT")
