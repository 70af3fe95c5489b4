"""One record through the teacher's hands: does it match, and what it lacks (paper, appendix A).

Like a recipe, but before evolution: the story is `curate`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import Field

from mmevol_core.chat import ChatFailure
from mmevol_core.config import Config
from mmevol_core.images import ImageFailure
from mmevol_core.messages import CHARACTERS_PER_TOKEN
from mmevol_core.sample import QA, SKILLS, Box, Sample, Step, Text, qa_id
from mmevol_dataengine.answers import AnswerT, Backfill, Boxes, Caption, Entry, Match, Questions, Texts, ask
from mmevol_dataengine.prompts import curation_text as prompts
from mmevol_dataengine.readers.values import MARK
from mmevol_dataengine.recipes.recipe import Load
from mmevol_dataengine.recipes.speaker import Speaker
from mmevol_dataengine.vocabulary import normal_skill

Status = Literal["kept", "eliminated", "failed"]
_DESCRIBE = re.compile(
    r"\b(describe|description|caption|depict\w*|portray\w*|what do you (see|think is going on))\b", re.I
)

TOKENS = {"match": 40, "caption": 150, "boxes": 300, "text": 150, "item": 80}  # of an answer, for the estimate


class CuratorConfig(Config):
    """What the teacher is asked for, record by record."""

    relevance: bool = True  # a judge decides whether text and image match; what does not is eliminated
    caption: bool = True  # by the teacher, where there is none
    boxes: bool = False  # by the teacher, where there are none and it sees the image; a detector is more exact
    text: bool = False  # the same for text in the image
    labels: tuple[str, ...] = ()  # that boxes should prefer
    most_boxes: int = Field(default=30, ge=1)
    lift_descriptions: bool = True  # an item that asks for a description becomes the caption, if there is none
    description_words: int = Field(default=30, ge=1)  # shorter answers are no description
    questions: int = Field(default=4, ge=0)  # written for a record that has none; 0: such records are eliminated
    backfill: bool = True  # objects, skills and steps, each where an item has none
    attempts: int = Field(default=2, ge=1)  # how often an unreadable answer is asked for


@dataclass(frozen=True)
class Curated:
    """What became of one record. `reason` is set unless kept; `counts` say what was added, lifted or not to be had."""

    sample: Sample
    status: Status
    reason: str = ""
    detail: str = ""
    counts: Counter[str] = field(default_factory=Counter)


class _Lost(Exception):  # noqa: N818 - a record's end, not a defect
    def __init__(self, status: Status, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.detail = status, reason, detail


async def curate(config: CuratorConfig, sample: Sample, teacher: Speaker, judge: Speaker) -> Curated:
    """Complete one record, or say why it is lost. What a kept record could not be given is counted, not fatal."""
    counts: Counter[str] = Counter()
    work = _Work(config, teacher, counts)
    try:
        if config.lift_descriptions:
            sample = _lifted(sample, config, counts)
        if config.relevance and sample.images and (sample.latest or sample.caption):
            await _match(sample, judge, config)
            counts["matched"] += 1
        if sample.images:
            sample = await work.annotated(sample)
        if not sample.latest:
            sample = await work.questioned(sample)
        if config.backfill:
            sample = await work.backfilled(sample)
    except _Lost as lost:
        return Curated(sample, lost.status, lost.reason, lost.detail, counts)
    except ImageFailure as failed:
        return Curated(sample, "failed", f"image_{failed.reason}", str(failed), counts)
    return Curated(sample, "kept", counts=counts)


def _lifted(sample: Sample, config: CuratorConfig, counts: Counter[str]) -> Sample:
    """Make the first item that is a description the caption of a record without one."""
    if sample.caption:
        return sample
    for item in sample.latest:
        if _DESCRIBE.search(item.question) and len(item.answer.split()) >= config.description_words:
            counts["items_lifted"] += 1
            rest = tuple(other for other in sample.latest if other is not item)
            return replace(sample, caption=item.answer, rounds=(rest,))
    return sample


async def _match(sample: Sample, judge: Speaker, config: CuratorConfig) -> None:
    """Raise _Lost when the judge says that text and image do not match, or says nothing that can be read."""
    prompt = prompts.match_prompt(sample, judge.sees_image)
    verdict = await _needed("match", judge, prompt, sample, Match, config.attempts)
    if verdict.match == "no":
        raise _Lost("eliminated", "irrelevant", verdict.reason)


async def _needed(
    what: str, voice: Speaker, prompt: str, sample: Sample, form: type[AnswerT], attempts: int
) -> AnswerT:
    """The answer that a record cannot do without. Raises _Lost, with the reason, when there is none to be had."""
    try:
        found = await ask(voice, prompt, sample, form, attempts)
    except ChatFailure as failed:
        raise _Lost("failed", f"{what}_{failed.reason}", failed.detail) from failed
    if found is None:
        raise _Lost("failed", f"{what}_unparsable")
    return found


def load(config: CuratorConfig, sample: Sample, sees_image: bool) -> tuple[Load, Load]:
    """What a record asks of the teacher and of who decides on relevance, at most, when no answer is asked for again."""
    lacking = {f"q{place}": item for place, item in enumerate(filter(_lacks, sample.latest), start=1)}
    calls: list[tuple[str, int]] = []
    if sample.images and config.caption and not sample.caption:
        calls.append((prompts.caption_prompt(sample, sees_image), TOKENS["caption"]))
    if sample.images and sees_image and config.boxes and not sample.boxes:
        calls.append((prompts.boxes_prompt(sample, config.most_boxes, config.labels), TOKENS["boxes"]))
    if sample.images and sees_image and config.text and not sample.ocr:
        calls.append((prompts.text_prompt(sample), TOKENS["text"]))
    if not sample.latest and config.questions:
        asked = prompts.questions_prompt(sample, config.questions, sees_image)
        calls.append((asked, TOKENS["item"] * config.questions))
    written = len(lacking) or (0 if sample.latest else config.questions)
    if config.backfill and written:
        calls.append((prompts.backfill_prompt(sample, lacking, sees_image), TOKENS["item"] * written))
    judged = config.relevance and sample.images and (sample.latest or sample.caption)
    matching = [(prompts.match_prompt(sample, sees_image), TOKENS["match"])] if judged else []
    return _load(calls, sample), _load(matching, sample)


def _load(calls: Sequence[tuple[str, int]], sample: Sample) -> Load:
    asked = sum(len(prompts.system_prompt()) + len(prompt) for prompt, _ in calls) / CHARACTERS_PER_TOKEN
    return Load(len(calls), asked, sum(tokens for _, tokens in calls), len(calls) * len(sample.images))


@dataclass
class _Work:
    """What the teacher adds to a record."""

    config: CuratorConfig
    teacher: Speaker
    counts: Counter[str]

    async def annotated(self, sample: Sample) -> Sample:
        """Caption, boxes and text, each where it lacks and is asked for."""
        config, sees = self.config, self.teacher.sees_image
        if config.caption and not sample.caption:
            said = await self._try("caption", prompts.caption_prompt(sample, sees), sample, Caption)
            caption = said.caption.strip() if said else ""
            self._count_added("caption", said, caption)
            sample = replace(sample, caption=caption) if caption else sample
        if config.boxes and sees and not sample.boxes:
            found = await self._try(
                "boxes", prompts.boxes_prompt(sample, config.most_boxes, config.labels), sample, Boxes
            )
            boxes = tuple(self._boxes(found)) if found else ()
            self._count_added("boxes", found, boxes)
            sample = replace(sample, boxes=boxes)
        if config.text and sees and not sample.ocr:
            read = await self._try("text", prompts.text_prompt(sample), sample, Texts)
            lines = tuple(self._lines(read)) if read else ()
            self._count_added("text", read, lines)
            sample = replace(sample, ocr=lines)
        return sample

    def _boxes(self, found: Boxes) -> Iterator[Box]:
        """Those that lie in the image and have a name; others are counted. In which unit they are is not guessed:
        pixels are those of a picture that may have been reduced on its way, and thousandths look the same."""
        for box in found.boxes:
            if not box.label.strip() or not _proper(box.bbox):
                self.counts["box_outside" if box.label.strip() else "box_unnamed"] += 1
            else:
                yield Box(label=box.label.strip(), xyxy=box.bbox)

    def _lines(self, found: Texts) -> Iterator[Text]:
        """What is read; a place that lies outside the image is left out and counted, the text stays."""
        for line in found.ocr:
            if line.text.strip():
                outside = line.bbox is not None and not _proper(line.bbox)
                if outside:
                    self.counts["text_box_outside"] += 1
                yield Text(text=line.text, xyxy=None if outside else line.bbox)

    def _count_added(self, what: str, answer: object, added: object) -> None:
        """What an answer has left of it; where there was no answer, that has been counted."""
        if answer is not None:
            self.counts[f"{what}_added" if added else f"{what}_none"] += 1

    async def questioned(self, sample: Sample) -> Sample:
        """First questions for a record that has a description alone."""
        if not self.config.questions or not sample.caption:
            raise _Lost("eliminated", "no_questions")
        prompt = prompts.questions_prompt(sample, self.config.questions, self.teacher.sees_image)
        found = await _needed("questions", self.teacher, prompt, sample, Questions, self.config.attempts)
        pairs = [(item.question.strip(), item.answer.strip()) for item in found.items]
        written = dict.fromkeys(pair for pair in pairs if all(pair) and MARK not in "".join(pair))
        if not written:
            raise _Lost("failed", "questions_unparsable")
        self.counts["questions_added"] += 1
        self.counts["items_written"] += len(written)
        name, version = self.teacher.name, prompts.PROMPT_VERSION
        items = tuple(
            QA(id=qa_id(sample.id, q, a, place=place), question=q, answer=a, teacher=name, prompt_version=version)
            for place, (q, a) in enumerate(written)
        )
        return replace(sample, rounds=(items,))

    async def backfilled(self, sample: Sample) -> Sample:
        """Objects, skills and steps, each where an item has none; matched by id, skills of the nine alone."""
        items = list(sample.latest)
        lacking = [place for place, item in enumerate(items) if _lacks(item)]
        if not lacking:
            return sample
        places = {f"q{number}": place for number, place in enumerate(lacking, start=1)}
        prompt = prompts.backfill_prompt(
            sample, {name: items[at] for name, at in places.items()}, self.teacher.sees_image
        )
        found = await self._try("backfill", prompt, sample, Backfill)
        entries = found.items if found else []
        self._count_added("backfill", found, entries)
        times = Counter(entry.id for entry in entries)  # which of two is meant, nobody knows
        for entry in entries:
            if entry.id in places and times[entry.id] == 1:
                items[places[entry.id]] = _filled(items[places[entry.id]], entry)
        self.counts["backfill_repeated"] += sum(name in places and count > 1 for name, count in times.items())
        self._count_filled([sample.latest[place] for place in lacking], [items[place] for place in lacking])
        return replace(sample, rounds=(tuple(items),))

    def _count_filled(self, before: Sequence[QA], after: Sequence[QA]) -> None:
        """By field: `backfilled` and `not_backfilled` make up the items that lacked it; the same for whole items."""
        for old, new in zip(before, after, strict=True):
            self.counts["items_backfilled" if new != old else "items_not_backfilled"] += 1
            for name in _lacks(old):
                self.counts[f"{name}_backfilled" if getattr(new, name) else f"{name}_not_backfilled"] += 1

    async def _try(self, what: str, prompt: str, sample: Sample, form: type[AnswerT]) -> AnswerT | None:
        """The answer; None and a count when there is none to be had."""
        try:
            found = await ask(self.teacher, prompt, sample, form, self.config.attempts)
        except ChatFailure as failed:
            self.counts[f"{what}_{failed.reason}"] += 1
            return None
        if found is None:
            self.counts[f"{what}_unparsable"] += 1
        return found


def _lacks(item: QA) -> tuple[str, ...]:
    """Which of an item's annotations are empty."""
    return tuple(name for name in ("objects", "skills", "steps") if not getattr(item, name))


def _filled(item: QA, entry: Entry) -> QA:
    """The item with what it lacks; what it has stays."""
    skills = dict.fromkeys(normal_skill(name) for name in entry.skills)
    objects = dict.fromkeys(name.strip() for name in entry.objects if name.strip())
    steps = tuple(Step(manipulation=step.manipulation, description=step.description) for step in entry.steps)
    return replace(
        item,
        objects=item.objects or tuple(objects),
        skills=item.skills or tuple(name for name in skills if name in SKILLS),
        steps=item.steps or steps,
    )


def _proper(box: tuple[float, float, float, float]) -> bool:
    left, top, right, bottom = box
    return 0 <= left < right <= 1 and 0 <= top < bottom <= 1
