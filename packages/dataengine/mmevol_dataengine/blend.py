"""Other instruction data beside an arm's own: the paper's SFT mix (table 5) as weights and caps over LLaVA-style files.

Every row of a source is used (as often as its weight says), left unused (weight or cap), or refused by a reason; a file
that is not there is an error that names all that are missing, or is skipped and named in the accounts.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.images import ImageFailure, ImageStore, plain_name
from mmevol_core.json_stream import json_rows
from mmevol_dataengine.check import read_quarantine
from mmevol_dataengine.contamination import Found, Gate, GateConfig, write_found
from mmevol_dataengine.readers.conversations import llava_row, talk_of
from mmevol_dataengine.readers.values import MARK, BadRow


class Source(Config):
    """One file of LLaVA or ShareGPT rows."""

    path: Path
    category: str = ""  # row of the paper's table; "": the source's own name
    weight: float = Field(default=1.0, gt=0)  # 0.5: a random half of the rows; 2: each row twice
    cap: int | None = Field(default=None, ge=1)  # at most so many rows come out
    text_only: bool = False  # rows with an image are refused
    prefix: str = ""  # what its image paths lack at their beginning


class BlendConfig(Config):
    """Which files are mixed in, and how much of each."""

    sources: dict[str, Source]
    category_caps: dict[str, int] = Field(default_factory=dict)  # rows of a category, shared in proportion
    missing: Literal["error", "skip"] = "error"  # skip: go on without files that are not there, and name them
    image_root: Path | None = None  # rows whose images are not below it are refused; None: not looked at
    quarantine: Path | None = None  # list of `mmevol data check --quarantine`
    contamination: GateConfig | None = None  # rows that share pictures or questions with benchmarks; needs image_root
    seed: int = 0  # of the choice of rows

    @model_validator(mode="after")
    def _has_pictures(self) -> BlendConfig:
        if self.contamination and not self.image_root:
            raise ValueError("contamination compares pictures: set image_root to their folder")
        return self


@dataclass
class Account:
    """One source: rows = usable + refused; of the usable ones `out` rows are written, `unused` not once.

    `changed` counts usable rows by what is not as the file has it.
    """

    category: str
    rows: int = 0
    usable: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    unused: int = 0
    out: int = 0


class Blend:
    """Reads the sources twice: once to count, once to take."""

    def __init__(self, config: BlendConfig) -> None:
        """Count. Raises UserError for missing files (unless they may be), broken ones, and unknown categories."""
        self.config = config
        self.missing = sorted(name for name, source in config.sources.items() if not source.path.is_file())
        if self.missing and config.missing == "error":
            named = ", ".join(f"{name} ({config.sources[name].path})" for name in self.missing)
            raise UserError(f"mix: files not found: {named}; put them there, or set blend.missing=skip")
        if config.image_root is not None and not config.image_root.is_dir():
            raise UserError(f"mix: image folder not found: {config.image_root}; set blend.image_root")
        self._quarantine = read_quarantine(config.quarantine) if config.quarantine else {}
        self._store = ImageStore(config.image_root) if config.image_root else None
        self._gate = Gate(config.contamination) if config.contamination else None
        self._found: Found = []  # "source:number of the row in its file", what it meets
        self._signs: dict[str, str] | None = None  # of those rows, once all have been counted
        present = {name: source for name, source in config.sources.items() if name not in self.missing}
        self.accounts = {name: self._counted(name, source) for name, source in present.items()}
        self._signs = {row: met[0].sign for row, met in self._found}
        categories = {source.category or name for name, source in config.sources.items()}
        if unknown := set(config.category_caps) - categories:
            raise UserError(f"mix: no source is of category {', '.join(sorted(unknown))}; valid: {sorted(categories)}")
        self._share_caps()

    def rows(self) -> Iterator[dict[str, Any]]:
        """The chosen rows, source by source in file order, a repeated row right after itself."""
        for name, account in self.accounts.items():
            times = _times(account.usable, account.out, f"{self.config.seed}:{name}")
            account.unused = sum(not count for count in times)
            usable = (found[0] for found in self._read(name) if not isinstance(found, str))
            for number, row in enumerate(usable):
                for again in range(times[number]):
                    yield {**row, "id": f"{name}/{number}" + (f"+{again}" if again else "")}

    def as_dict(self) -> dict[str, Any]:
        """JSON form: accounts by source, rows and shares by category, and the missing files."""
        total = sum(account.out for account in self.accounts.values())
        categories: Counter[str] = Counter()
        for account in self.accounts.values():
            assert account.rows == account.usable + account.refused.total()
            categories[account.category] += account.out
        return {
            "rows_out": total,
            "categories": {
                name: {"rows": count, "share": round(count / total, 4) if total else 0.0}
                for name, count in categories.most_common()
            },
            "sources": {name: _plain(account) for name, account in self.accounts.items()},
            "missing": self.missing,
        }

    def write_found(self, out_dir: Path) -> tuple[dict[str, Path], dict[str, Any]]:
        """What met a benchmark: files by role, and the account under `contamination`; both empty without a gate."""
        if self._gate is None:
            return {}, {}
        files, account = write_found(self._found, self._gate, out_dir)
        return files, {"contamination": account}

    def _counted(self, name: str, source: Source) -> Account:
        account = Account(source.category or name)
        for found in self._read(name):
            account.rows += 1
            if isinstance(found, str):
                account.refused[found] += 1
            else:
                account.usable += 1
                account.changed.update(found[1])
        wanted = round(account.usable * source.weight)
        account.out = min(wanted, source.cap) if source.cap else wanted
        return account

    def _share_caps(self) -> None:
        """Cut the sources of a category that is over its cap, each in proportion; the sum is the cap exactly."""
        for category, cap in self.config.category_caps.items():
            members = [account for account in self.accounts.values() if account.category == category]
            total = sum(account.out for account in members)
            if total <= cap:
                continue
            exact = [account.out * cap / total for account in members]
            for account, part in zip(members, exact, strict=True):
                account.out = int(part)
            order = sorted(range(len(members)), key=lambda place: (int(exact[place]) - exact[place], place))
            for place in order[: cap - sum(account.out for account in members)]:
                members[place].out += 1

    def _read(self, name: str) -> Iterator[tuple[dict[str, Any], list[str]] | str]:
        """Rows as LLaVA has them, each with its changes; or the reason why one is refused."""
        source = self.config.sources[name]
        for number, row in enumerate(json_rows(source.path), start=1):
            try:
                if not isinstance(row, dict):
                    raise BadRow("not_an_object", "")
                yield self._checked(row, source, f"{name}:{number}")
            except BadRow as bad:
                yield bad.reason

    def _checked(self, row: dict[str, Any], source: Source, where: str) -> tuple[dict[str, Any], list[str]]:
        talk = talk_of(row)
        if talk.images and source.text_only:
            raise BadRow("has_image", talk.images[0])
        names = [source.prefix + name for name in talk.images]
        for name in names:
            if plain_name(name) in self._quarantine:
                raise BadRow("image_quarantined", name)
            if self._store:
                try:
                    self._store.path(name)
                except ImageFailure as failed:
                    raise BadRow(f"image_{failed.reason}", name) from failed
        self._refuse_contaminated(where, names, talk.turns[::2])
        noted: list[str] = []
        return llava_row(talk, names, noted), noted

    def _refuse_contaminated(self, row: str, names: Sequence[str], questions: Sequence[str]) -> None:
        """BadRow for a row that meets a benchmark, unless such are kept; they are compared once and then known."""
        if self._gate is None:
            return
        if self._signs is None:
            assert self._store is not None
            met = self._gate.meetings(names, [text.replace(MARK, " ") for text in questions], self._store)
            if met:
                self._found.append((row, met))
            sign = met[0].sign if met else ""
        else:
            sign = self._signs.get(row, "")
        if sign and self._gate.config.action == "drop":
            raise BadRow(f"contaminated_{sign}", "meets a benchmark")


def _plain(account: Account) -> dict[str, Any]:
    return {**vars(account), "refused": dict(account.refused), "changed": dict(account.changed)}


def _times(rows: int, wanted: int, seed: str) -> list[int]:
    """How often each row is taken, so that `wanted` come out: all equally often, the rest a random choice."""
    if not rows:
        return []
    whole, rest = divmod(wanted, rows)
    chosen = set(random.Random(seed).sample(range(rows), rest))
    return [whole + (number in chosen) for number in range(rows)]
