"""What a benchmark is: items in, prompts out, replies graded, official scores.

A benchmark is one file, `benchmarks/<name>.py`, that ends in a `BENCHMARK` constant of type `Benchmark`. Everything in
it is a pure function, so a score can be computed again from a log of replies.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from mmevol_core.config import Config
from mmevol_core.errors import unknown

Method = Literal["rule", "judge", "none"]
Image = bytes | Path  # an encoded file, or where it lies

VLMEVALKIT = "vlmevalkit"  # open-compass/VLMEvalKit at e8e78f05 (2026-08-18)
VLMEVALKIT_02RC1 = "vlmevalkit-0.2rc1"  # the registry package ms-vlmeval 0.0.20: one multiple-choice rule less
MMEVOL = "mmevol"  # the copy of June 2024 that MMEvol ships, and LLaVA's scripts for what it lacks
OFFICIAL = "official"  # the evaluator published with the data set (VQA, GQA)
LLAVA_SUBMISSION = "llava_submission"  # LLaVA's converters, then the official evaluator
RULES = (VLMEVALKIT, VLMEVALKIT_02RC1, MMEVOL, OFFICIAL, LLAVA_SUBMISSION)
FALLBACK = "+official_fallback"  # after `mmevol`: draw a letter where the official tool does, as it does
PROMPTS = (VLMEVALKIT, MMEVOL, "mmevol_compat")  # mmevol_compat also copies MMEvol's multi-image defect
CALL_FAILED = "Failed to obtain answer via API"  # VLMEvalKit's marker of a failed call, in replies of stored logs

LETTERS = string.ascii_uppercase


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question. Strings are raw: a cell that reads `None` or `N/A` is that text, an absent one is empty.

    `images` are encoded files (bytes) or paths; `cluster` is the unit of resampling (items about one image, or one
    group of questions); `extra` holds every other column or field of the official file.
    """

    index: str
    question: str
    answer: str = ""
    images: Sequence[Image] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    category: str = ""
    l2_category: str = ""
    split: str = ""
    cluster: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """What the model is given: images and texts in order, and a system text where the protocol has one."""

    parts: tuple[Image | str, ...]
    system: str = ""

    @property
    def images(self) -> tuple[Image, ...]:
        """The images, in order."""
        return tuple(part for part in self.parts if not isinstance(part, str))


@dataclass(frozen=True, slots=True)
class Graded:
    """A verdict on one reply.

    `score` is 0..1, or None where the official tool leaves the item out of its means. `method` is `none` when
    neither a rule nor the judge could read the reply: it counts as unparsed and wrong, never as a guess.
    `detail` carries what the official aggregates need beyond the score.
    """

    item: Item
    score: float | None
    parsed: str
    method: Method
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def index(self) -> str:
        """The item's index."""
        return self.item.index


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One call to the judge. `call` counts the calls for this item from 0; how the judge samples is its own matter."""

    index: str
    call: int
    prompt: str
    system: str = ""
    images: Sequence[Image] = ()
    reply: str = ""


class Judge(Protocol):
    """Whoever answers a `Question`; up to `concurrency` at a time."""

    name: str
    concurrency: int

    def ask(self, question: Question) -> str:
        """The judge's reply; UserError when it cannot be reached."""
        ...


@dataclass(frozen=True, slots=True)
class Headline:
    """The number a table shows: a key of `scores`, its unit, and its largest value (for averages in percent)."""

    name: str
    unit: str = "percent"
    maximum: float = 100.0
    otherwise: str = ""  # its name in data that lack what the first one names

    def within(self, scores: Mapping[str, float]) -> Headline:
        """The headline under the name that these scores have."""
        return replace(self, name=self.otherwise) if self.otherwise and self.name not in scores else self


GradeAll = Callable[[Sequence[Item], Mapping[str, str], str, Judge | None], list[Graded]]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The rules of one benchmark.

    `rules` are the rule profiles it knows, its default first. `grade` reads one reply; `group` (when set) replaces
    the default of grading items one by one, for benchmarks whose verdict is about a group of items.
    """

    name: str
    version: str
    load: Callable[[Path], Iterator[Item]]
    prompt: Callable[[Item, str], Message]
    grade: Callable[[Item, str, str, Judge | None], Graded]
    scores: Callable[[Sequence[Graded], str], dict[str, float]]
    headline: Callable[[str], Headline]
    aliases: tuple[str, ...] = ()
    rules: tuple[str, ...] = (VLMEVALKIT, VLMEVALKIT_02RC1, MMEVOL)
    needs_judge: bool = False  # nothing useful comes out without one
    has_answer: Callable[[Item], bool] = lambda item: bool(item.answer.strip())  # what a reply is held to
    also_reads: Callable[[Item], Iterable[str]] = lambda item: ()  # indices of other replies that its verdict reads
    official_here: Callable[[], bool] = lambda: True  # whether this machine has what the official rules need
    group: GradeAll | None = None
    guess: GradeAll | None = None  # grades with the official tool's random letters, where those can be reproduced
    no_reply: Callable[[Item], Mapping[str, Any]] | None = (
        None  # detail of an item without one, where its mean needs it
    )
    notes: str = ""  # what a reader of the score must know

    def check_rules(self, rules: str) -> str:
        """The profile's name; UserError when this benchmark has no such rules."""
        known = (*self.rules, *([MMEVOL + FALLBACK] if self.guess and MMEVOL in self.rules else []))
        if rules not in known:
            raise unknown("protocol", rules, known, where=self.name)
        return rules

    def grade_all(
        self,
        items: Sequence[Item],
        replies: Mapping[str, str],
        rules: str,
        judge: Judge | None,
        failed: Collection[str] = (),
    ) -> list[Graded]:
        """Grade `replies` (item index -> reply), in the order of `items`.

        No rule calls a reply right where the file has no answer: some would, for every text contains an empty one. An
        item of `failed` has no reply: no judge is asked about it, and no rule calls its silence right.
        """
        graded = self._grade_all(items, replies, rules, judge and _NotAsked(judge, failed))
        if failed:
            graded = self._without_credit(items, graded, failed)
        if self.needs_judge:
            return graded
        return [replace(row, score=0.0) if row.score and not self.has_answer(row.item) else row for row in graded]

    def _without_credit(self, items: Sequence[Item], graded: Sequence[Graded], failed: Collection[str]) -> list[Graded]:
        """The verdicts, wrong where a reply is missing: the item's own, or one of a group that has one verdict."""
        own = {row.index for row in graded}
        groups = {item.cluster for item in items if item.index in failed and item.index not in own}

        def judged(row: Graded) -> Graded:
            if row.index not in failed and row.item.cluster not in groups:
                return row
            if self.no_reply:
                return Graded(row.item, 0.0, "", "none", self.no_reply(row.item))
            return replace(row, score=None if row.score is None else 0.0, parsed="", method="none")

        return [judged(row) for row in graded]

    def _grade_all(
        self, items: Sequence[Item], replies: Mapping[str, str], rules: str, judge: Judge | None
    ) -> list[Graded]:
        if self.check_rules(rules).endswith(FALLBACK) and self.guess:
            return self.guess(items, replies, without_fallback(rules), judge)
        if self.group:
            return self.group(items, replies, rules, judge)

        def verdict(item: Item) -> Graded:
            return self.grade(item, replies[item.index], rules, judge)

        if judge is None or judge.concurrency <= 1:
            return [verdict(item) for item in items]
        with ThreadPoolExecutor(judge.concurrency) as pool:
            return list(pool.map(verdict, items))


class _NotAsked:
    """A judge that does not hear of replies that there are none of: such a call fails."""

    def __init__(self, judge: Judge, failed: Collection[str]) -> None:
        self._judge, self._failed = judge, frozenset(failed)
        self.name, self.concurrency = judge.name, judge.concurrency

    def ask(self, question: Question) -> str:
        """The judge's reply, or the marker of a failed call."""
        return CALL_FAILED if question.index in self._failed else self._judge.ask(question)


def image_bytes(image: Image) -> bytes:
    """The encoded file; OSError when it cannot be read."""
    return image if isinstance(image, bytes) else image.read_bytes()


def without_fallback(rules: str) -> str:
    """The profile of a protocol's name, `mmevol` for `mmevol+official_fallback`."""
    return rules.removesuffix(FALLBACK)


class BenchmarkSettings(Config):
    """What one benchmark may have of its own; None: as `EvaluateConfig` says for all."""

    path: Path | None = None  # file or folder in place of the one from stage `benchmarks`
    prompts: str | None = None
    rules: str | None = None
    judge: str | None = None
    max_new_tokens: int | None = Field(default=None, ge=1)
    limit: int | None = Field(default=None, ge=1)  # a preview: about the first so many items, clusters kept whole


class PublishedFile(Config):
    """One file to download. `save` and `unpack` are relative to the folder of all benchmarks."""

    url: str
    save: str
    md5: str | None = None
    unpack: str | None = None  # folder that a zip is unpacked into


class PublishedData(Config):
    """Where a benchmark's files come from; the keys of `conf/benchmark/*.yaml`."""

    name: str
    data: str  # file or folder that a loader reads, under the folder of all benchmarks
    where: str  # in words
    files: tuple[PublishedFile, ...]
    items: int | None = None  # rows as published
    settings: BenchmarkSettings = BenchmarkSettings()
