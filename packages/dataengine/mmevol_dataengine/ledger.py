"""What happened to every record and item: rows in = kept + eliminated (by reason) + failed (by reason), asserted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from mmevol_core.sample import QA, Sample

Status = Literal["eliminated", "failed"]  # judged and found wanting; could not be judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An item that did not survive its round, with the name of the reason and what was seen."""

    item: QA
    status: Status
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One round of one record. `failure` names why no item came out at all; then there are no items."""

    round: int  # from 1
    direction: str | None  # None: the record supports no direction
    given: int  # items sent
    kept: tuple[QA, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    failure: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A record after all its rounds, and the story of how it got there."""

    sample: Sample
    turns: tuple[Turn, ...]


OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)
REJECTED: TypeAdapter[Rejected] = TypeAdapter(Rejected)


@dataclass
class Cell:
    """Counts of one round and direction; the unit is the record above and the item below."""

    records: int = 0
    answered: int = 0
    failed_records: Counter[str] = field(default_factory=Counter)
    given: int = 0
    generated: int = 0
    kept: int = 0
    eliminated: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """JSON form, reasons from the most to the least frequent."""
        return {
            "records": self.records,
            "answered": self.answered,
            "failed_records": _sorted(self.failed_records),
            "given": self.given,
            "generated": self.generated,
            "kept": self.kept,
            "eliminated": _sorted(self.eliminated),
            "failed": _sorted(self.failed),
        }


class Ledger:
    """Adds up turns; raises AssertionError when the sums do not close."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, str], Cell] = {}
        self.records = 0

    def add(self, outcome: Outcome) -> None:
        """Count one record with all its rounds."""
        self.records += 1
        for turn in outcome.turns:
            cell = self._cells.setdefault((turn.round, turn.direction or "unsupported"), Cell())
            cell.records += 1
            cell.given += turn.given
            if turn.failure is not None:
                cell.failed_records[turn.failure] += 1
                assert not turn.kept and not turn.rejected, "a failed round has no items"
                continue
            cell.answered += 1
            cell.generated += len(turn.kept) + len(turn.rejected)
            cell.kept += len(turn.kept)
            for rejected in turn.rejected:
                (cell.eliminated if rejected.status == "eliminated" else cell.failed)[rejected.reason] += 1

    @property
    def failed_rounds(self) -> int:
        """Rounds of records in which a call or its answer failed (an unsupported record is not a failure)."""
        return sum(
            count
            for cell in self._cells.values()
            for reason, count in cell.failed_records.items()
            if reason != "unsupported"
        )

    @property
    def asked_rounds(self) -> int:
        """Rounds of records for which the teacher was asked."""
        return sum(cell.records for (_, direction), cell in self._cells.items() if direction != "unsupported")

    def brief(self) -> dict[str, int]:
        """A few sums to show while the work goes on."""
        cells = self._cells.values()
        return {
            "generated": sum(cell.generated for cell in cells),
            "kept": sum(cell.kept for cell in cells),
            "failed": self.failed_rounds,
        }

    def as_dict(self, expected_records: int) -> dict[str, Any]:
        """JSON form: `rounds` (a row per round and direction) and `total`; `expected_records` is what was read."""
        assert self.records == expected_records, f"{expected_records} records in, {self.records} accounted for"
        rows = []
        for (number, direction), cell in sorted(self._cells.items()):
            _close(cell, number, direction)
            rows.append({"round": number, "direction": direction, **cell.as_dict()})
        return {"records": self.records, "rounds": rows, "total": _total(list(self._cells.values()))}


def _close(cell: Cell, number: int, direction: str) -> None:
    where = f"round {number}, {direction}"
    assert cell.records == cell.answered + cell.failed_records.total(), f"{where}: records do not add up"
    judged = cell.kept + cell.eliminated.total() + cell.failed.total()
    assert cell.generated == judged, f"{where}: {cell.generated} items in, {judged} accounted for"


def _total(cells: Sequence[Cell]) -> dict[str, Any]:
    total = Cell()
    for cell in cells:
        total.records += cell.records
        total.answered += cell.answered
        total.given += cell.given
        total.generated += cell.generated
        total.kept += cell.kept
        total.failed_records += cell.failed_records
        total.eliminated += cell.eliminated
        total.failed += cell.failed
    return total.as_dict()


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
