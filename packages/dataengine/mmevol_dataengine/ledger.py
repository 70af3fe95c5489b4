"""What happened to every record and item, asserted.

given = kept + eliminated + failed (items that went into a round), records = answered + failed_records,
generated = given - unwritten + surplus (items that the teacher wrote). Where items were tested blind:
blind_asked + blind_unasked = kept + those that the blind test rejected.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from pydantic import TypeAdapter

from mmevol_core.sample import QA, Sample

# found wanting; not written or not judged; written although nothing asked for it, so that no given item is lost by it
BLIND = ("answerable_blind", "blind_")  # how the reasons of the blind test begin
Status = Literal["eliminated", "failed", "surplus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An item that did not survive its round, with the name of the reason and what was seen.

    Where nobody wrote a rewrite (`written` is false), `item` is the given one.
    """

    item: QA
    status: Status
    reason: str
    detail: str = ""
    written: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One round of one record. `failure` names why nothing came out at all; then every given item failed by it."""

    round: int  # from 1
    direction: str | None  # None: the record supports no direction
    given: int  # items sent
    kept: tuple[QA, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    failure: str | None = None
    detail: str = ""
    blind_asked: int = 0  # items asked for without the image
    blind_unasked: tuple[str, ...] = ()  # why each of the others was not


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A record after all its rounds, and the story of how it got there."""

    sample: Sample
    turns: tuple[Turn, ...]


OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)
REJECTED: TypeAdapter[Rejected] = TypeAdapter(Rejected)


@dataclass
class Cell:
    """Counts of one round and direction; the first three count records, the others items."""

    records: int = 0
    answered: int = 0
    failed_records: Counter[str] = field(default_factory=Counter)
    given: int = 0
    kept: int = 0
    eliminated: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    generated: int = 0
    unwritten: int = 0
    surplus: Counter[str] = field(default_factory=Counter)
    blind_asked: int = 0
    blind_unasked: Counter[str] = field(default_factory=Counter)

    def add(self, turn: Turn) -> None:
        """Count one round of one record."""
        self.records += 1
        self.given += turn.given
        self.kept += len(turn.kept)
        self.generated += len(turn.kept)
        self.blind_asked += turn.blind_asked
        self.blind_unasked.update(turn.blind_unasked)
        if tested := turn.blind_asked + len(turn.blind_unasked):
            refused = sum(rejected.reason.startswith(BLIND) for rejected in turn.rejected)
            assert tested == len(turn.kept) + refused, f"round {turn.round}: {tested} items tested blind, others left"
        for rejected in turn.rejected:
            getattr(self, rejected.status)[rejected.reason] += 1
            self.generated += rejected.written
            self.unwritten += not rejected.written
        if turn.failure is None:
            self.answered += 1
        else:
            self.failed_records[turn.failure] += 1

    def merge(self, other: Cell) -> None:
        """Add the counts of another cell."""
        for name in (entry.name for entry in fields(self)):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def close(self, where: str) -> None:
        """Raise AssertionError, naming `where`, when a record or an item got lost."""
        assert self.records == self.answered + self.failed_records.total(), f"{where}: records do not add up"
        counted = self.kept + self.eliminated.total() + self.failed.total()
        assert self.given == counted, f"{where}: {self.given} items given, {counted} accounted for"
        written = self.given - self.unwritten + self.surplus.total()
        assert self.generated == written, f"{where}: {self.generated} items written, {written} accounted for"

    def as_dict(self) -> dict[str, Any]:
        """JSON form, reasons from the most to the least frequent."""
        values = ((entry.name, getattr(self, entry.name)) for entry in fields(self))
        return {name: _sorted(value) if isinstance(value, Counter) else value for name, value in values}


class Ledger:
    """Adds up turns; raises AssertionError when the sums do not close."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, str], Cell] = {}
        self.records = 0

    def add(self, outcome: Outcome) -> None:
        """Count one record with all its rounds."""
        self.records += 1
        for turn in outcome.turns:
            self._cells.setdefault((turn.round, turn.direction or "unsupported"), Cell()).add(turn)

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
            "given": sum(cell.given for cell in cells),
            "kept": sum(cell.kept for cell in cells),
            "failed": self.failed_rounds,
        }

    def as_dict(self, expected_records: int) -> dict[str, Any]:
        """JSON form: `rounds` (a row per round and direction) and `total`; `expected_records` is what was read."""
        assert self.records == expected_records, f"{expected_records} records in, {self.records} accounted for"
        rows, total = [], Cell()
        for (number, direction), cell in sorted(self._cells.items()):
            cell.close(f"round {number}, {direction}")
            total.merge(cell)
            rows.append({"round": number, "direction": direction, **cell.as_dict()})
        total.close("total")
        return {"records": self.records, "rounds": rows, "total": total.as_dict()}


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
