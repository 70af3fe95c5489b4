"""The log of finished records: one line each in the order of finishing, read back in the order of the input."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

import orjson

from mmevol_dataengine.ledger import OUTCOME, Outcome

_NUMBER = re.compile(rb'\{"number":(\d+),')


class OutcomeLog:
    """Appends outcomes so that a killed run goes on where it was; memory holds one offset per record.

    A line goes to the operating system at once and so survives the death of the process; a line that was cut off
    is removed on opening, and its record is done again (from the journal, at no cost).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets = array("q")  # where the record with this number begins, -1: not there
        self._count = 0
        self._file: IO[bytes] = path.open("ab+")
        self.size = self._recover()  # bytes

    def _recover(self) -> int:
        self._file.seek(0)
        end = 0
        for line in self._file:
            found = _NUMBER.match(line)
            if not line.endswith(b"\n") or found is None:
                break
            self._note(int(found.group(1)), end)
            end += len(line)
        self._file.truncate(end)
        return end

    def _note(self, number: int, offset: int) -> None:
        if number >= len(self._offsets):
            self._offsets.extend([-1] * (number + 1 - len(self._offsets)))
        self._count += self._offsets[number] < 0
        self._offsets[number] = offset

    def __enter__(self) -> OutcomeLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, number: int) -> bool:
        return 0 <= number < len(self._offsets) and self._offsets[number] >= 0

    def __len__(self) -> int:
        return self._count

    def add(self, number: int, outcome: Outcome) -> None:
        """Keep the outcome of the record with this place in the input (from 0)."""
        body = OUTCOME.dump_python(outcome, mode="json", exclude_defaults=True)
        line = orjson.dumps({"number": number, "outcome": body}, option=orjson.OPT_APPEND_NEWLINE)
        self._file.write(line)
        self._file.flush()
        self._note(number, self.size)
        self.size += len(line)

    def __iter__(self) -> Iterator[Outcome]:
        """All outcomes in the order of the input, one in memory at a time."""
        for offset in self._offsets:
            if offset < 0:
                continue
            self._file.seek(offset)
            yield OUTCOME.validate_python(orjson.loads(self._file.readline())["outcome"])
