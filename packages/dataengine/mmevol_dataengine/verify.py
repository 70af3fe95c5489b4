"""Machine checks of what the prompts ask for: one named check a rule, so that every elimination has a reason to count.

The constraints are those that MMEvol's prompts state (paper section 2.2 and the released prompts) and nothing there
enforces. A check says what is wrong, or None; where the annotations cannot decide, it says None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import Field, field_validator

from mmevol_core.config import Config
from mmevol_core.sample import QA, SKILLS, Sample
from mmevol_dataengine import claims, grounding, wording
from mmevol_dataengine.grounding import boxes_in
from mmevol_dataengine.readers.values import MARK
from mmevol_dataengine.sums import wrong_sum
from mmevol_dataengine.vocabulary import FORMATS, TEXT_FORMATS
from mmevol_dataengine.wording import normal_text


class Rules(Config):
    """How strict the checks are; `skip` names checks to leave out."""

    box_tolerance: float = Field(default=0.02, ge=0, le=1)  # per coordinate to a given box, share of the image
    length_slack: int = Field(
        default=2, ge=0
    )  # fine-grained perception: objects, skills and steps may differ by so many
    max_new_objects: int = Field(default=2, ge=0)  # cognitive reasoning: MMEvol asks for one or two
    min_reasoning_words: int = Field(
        default=6, ge=0
    )  # cognitive reasoning: an answer this short holds no line of thought
    annotations_complete: bool | None = (
        None  # may they decide that an object is not there? None: unless the image is seen
    )
    skip: tuple[str, ...] = ()

    @field_validator("skip")
    @classmethod
    def _known(cls, skip: tuple[str, ...]) -> tuple[str, ...]:
        for name in skip:
            if name not in CHECKS:
                raise ValueError(f"unknown check {name!r}; valid: {', '.join(CHECKS)}")
        return skip


@dataclass(frozen=True, slots=True)
class Case:
    """A rewritten item with all it is judged by; `earlier` holds the questions the sample already has."""

    item: QA
    parent: QA
    sample: Sample
    direction: str
    earlier: frozenset[str]
    rules: Rules
    complete: bool = True  # the annotations name all there is

    @property
    def texts(self) -> Iterator[str]:
        """Every text of the item that may carry a box."""
        yield self.item.question
        yield self.item.answer
        for step in self.item.steps:
            yield step.manipulation
            yield step.description


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that an item breaks: the name of the check and what it saw."""

    check: str
    detail: str


Check = Callable[[Case], str | None]

_CUE = re.compile(
    r"\b(explain|reason(s|ing)?|step[- ]by[- ]step|think|why|how (do|can|did|could) (you|we|one)|justify|rationale"
    r"|walk (me |us )?through|show (your|the|all) (work|steps?|working)|describe (each|every|your) step"
    r"|work (it|this) out|in detail|how you (know|found|got|reach\w*))\b",
    re.IGNORECASE,
)
_STEP = re.compile(
    r"^\s*([A-Za-z][A-Za-z ]*?(?:_[A-Za-z]+)*)_?(\d*)\s*\((.*)\)\s*(?:->|→)\s*([A-Za-z]+_\d+)\s*$", re.DOTALL
)
_SYMBOL = re.compile(r"\b(?:bbx|bbox|box|tgt|res|txt)_\d+\b")


def _empty(case: Case) -> str | None:
    return None if case.item.question.strip() and case.item.answer.strip() else "question or answer is empty"


def _refusal(case: Case) -> str | None:
    found = wording.REFUSAL.search(case.item.answer) or wording.REFUSAL.search(case.item.question)
    if not wording.SIGNS.search(case.item.question):
        found = found or wording.NOTHING.search(case.item.answer)
    seen = [case.parent.question, case.parent.answer, *(text.text for text in case.sample.ocr)]
    if found and not any(found.group(0).lower() in text.lower() for text in seen):
        return f"refusal: {found.group(0)!r}"
    return None


def _prompt_leak(case: Case) -> str | None:
    seeds = f"{case.parent.question} {case.parent.answer}".lower()
    written = sum(len(text.text.split()) for text in case.sample.ocr) > 2  # a caption may stand in the picture
    for text in (case.item.question, case.item.answer):
        if MARK in text:  # in a conversation it would stand for one more picture
            return f"has {MARK} in it"
        for found in wording.LEAK.finditer(text):
            asks = written and text is case.item.question and wording.PRINTED.search(found.group(0))
            placed = wording.CAPTION.search(found.group(0)) and wording.BESIDE.match(text, found.end())
            if found.group(0).lower() not in seeds and not asks and not placed:
                return f"speaks of {found.group(0)!r}"
    return None


def _language(case: Case) -> str | None:
    """Another script than the parent's question; or an answer in a script that nothing it could quote is written in."""
    before, after = wording.script(case.parent.question), wording.script(case.item.question)
    if before and after and before != after:
        return f"asked in {after} letters, the parent in {before}"
    answer = wording.script(case.item.answer)
    texts = [case.item.question, case.parent.question, case.parent.answer, case.sample.caption]
    texts += [text.text for text in case.sample.ocr]
    if answer is None or answer == "Greek" or any(answer in wording.scripts(text) for text in texts):
        return None  # Greek letters stand in formulas
    if answer == "Latin" and len(case.item.answer.split()) < 4:
        return None  # a name, a formula, a letter
    read = case.item.format in TEXT_FORMATS or "ocr" in case.item.skills or wording.READS.search(case.item.question)
    return None if read else f"answered in {answer} letters, asked in {after or 'none'}"


def _copy(case: Case) -> str | None:
    same = normal_text(case.item.question) == normal_text(case.parent.question)
    return "same question as its parent" if same else None


def _duplicate(case: Case) -> str | None:
    return "asked before" if normal_text(case.item.question) in case.earlier else None


def _skills(case: Case) -> str | None:
    unknown = [skill for skill in case.item.skills if skill not in SKILLS]
    if unknown:
        return f"unknown skill {unknown[0]!r}"
    return None if case.item.skills else "no skill"


def _format(case: Case) -> str | None:
    if case.direction != "interaction":
        return None
    return None if case.item.format in FORMATS else f"format {case.item.format!r} is none of the 17"


def _options(case: Case) -> str | None:
    """Multiple choice offers its options and answers with one of them; fill-in marks the gap."""
    if case.item.format == "fill_in_the_blank":
        return None if wording.GAP.search(case.item.question) else "no gap in the question"
    if case.item.format != "multi_choice":
        return None
    return wording.not_chosen(case.item.question, case.item.answer)


def _step_grammar(case: Case) -> str | None:
    """`name_i(arguments)->symbol_i`; a symbol is used only after it was made, and made once."""
    made: set[str] = set()
    for step in case.item.steps:
        if not step.manipulation.strip():
            continue
        form = _STEP.match(step.manipulation)
        if not form:
            return f"{step.manipulation[:60]!r} is not name_i(x)->y_i"
        loose = set(_SYMBOL.findall(form.group(3))) - made
        if loose:
            return f"{min(loose)} is used before it is made"
        if form.group(4) in made:
            return f"{form.group(4)} is made twice"
        made.add(form.group(4))
    return None


def _boxes_range(case: Case) -> str | None:
    known = grounding.spoken_of(case.parent)
    for box in _boxes(case):
        if box not in known and (not all(0 <= edge <= 1 for edge in box) or box[0] > box[2] or box[1] > box[3]):
            return f"{list(box)} is not left, top, right, bottom in 0..1"
    return None


def _boxes_given(case: Case) -> str | None:
    given = grounding.given_boxes(case.sample, case.parent)
    for box in _boxes(case):
        if not any(grounding.close(box, known, case.rules.box_tolerance) for known in given):
            return f"{list(box)} is not a given box"
    return None


def _boxes(case: Case) -> Iterator[grounding.Corners]:
    labels = {box.label for box in case.sample.boxes}
    yield from (box for text in case.texts for box in boxes_in(text, labels))
    if wording.ASKS_BOX.search(case.item.question):  # "Give its box.": numbers that open the answer are one
        yield from boxes_in(f"box {case.item.answer.lstrip()}", labels)


def _needs_boxes(case: Case) -> str | None:
    """Counting wants boxes, locating wants boxes or placed texts; what can be counted or read in texts passes."""
    if case.sample.boxes:
        return None
    for asked, decided in ((wording.COUNTS, _counts_texts(case)), (wording.LOCATES, bool(case.sample.ocr))):
        found = asked.search(case.item.question)
        if found and not decided and not asked.search(case.parent.question):
            return f"asks {found.group(0)!r} without boxes"
    return None


def _counts_texts(case: Case) -> bool:
    """Whether the texts of the image may decide a count: of texts, of what only they tell, of a number written."""
    if not case.sample.ocr:
        return False
    written = {word for text in case.sample.ocr for word in re.findall(r"\w+", text.text.lower())}
    numbers = set(re.findall(r"\d+", case.item.answer))
    plain = grounding.counted(case.item.question)
    return not plain or bool(numbers & written or wording.TEXTUAL.search(plain))


def _reasoning_cue(case: Case) -> str | None:
    if case.direction != "cognitive_reasoning":
        return None
    if not _CUE.search(case.item.question):
        return "the question asks for no reasoning"
    length = len(case.item.answer.split())
    return f"the answer has {length} words" if length < case.rules.min_reasoning_words else None


def _added(case: Case) -> str | None:
    """Cognitive reasoning adds an object, a skill or a step, and not more objects than allowed."""
    if case.direction != "cognitive_reasoning":
        return None
    objects = {name.lower() for name in case.item.objects} - {name.lower() for name in case.parent.objects}
    if len(objects) > case.rules.max_new_objects:
        return f"{len(objects)} new objects"
    skills = set(case.item.skills) - set(case.parent.skills)
    grown = objects or skills or len(case.item.steps) > len(case.parent.steps)
    return None if grown else "no new object, skill or step"


def _similar_length(case: Case) -> str | None:
    """Fine-grained perception stays about as long as its parent; a parent without steps sets no length of steps."""
    if case.direction != "fine_grained_perception":
        return None
    for name in ("objects", "skills", "steps"):
        before, after = len(getattr(case.parent, name)), len(getattr(case.item, name))
        if before and abs(after - before) > case.rules.length_slack:
            return f"{after} {name}, the parent has {before}"
    return None


CHECKS: dict[str, Check] = {  # in this order: the first that fails is the reason of elimination
    "empty": _empty,
    "refusal": _refusal,
    "prompt_leak": _prompt_leak,
    "language": _language,
    "copy_of_parent": _copy,
    "duplicate": _duplicate,
    "boxes_range": _boxes_range,
    "boxes_given": _boxes_given,
    "needs_boxes": _needs_boxes,
    "object_unknown": lambda case: grounding.unknown_object(case.item, case.sample) if case.complete else None,
    "count_wrong": lambda case: grounding.wrong_count(case.item, case.sample),
    "existence_wrong": lambda case: grounding.wrong_existence(case.item, case.sample, case.complete),
    "place_wrong": lambda case: claims.wrong_place(case.item, case.sample),
    "attribute_wrong": lambda case: claims.wrong_attribute(case.item, case.sample, case.complete),
    "statement_wrong": lambda case: claims.wrong_statement(case.item, case.sample, case.complete),
    "region_wrong": lambda case: claims.wrong_region(case.item, case.sample, case.complete),
    "option_wrong": lambda case: claims.wrong_option(case.item, case.sample),
    "reading_wrong": lambda case: claims.wrong_reading(case.item, case.sample, case.complete),
    "sum_wrong": lambda case: wrong_sum(case.item),
    "skill_unknown": _skills,
    "format_unknown": _format,
    "options": _options,
    "step_grammar": _step_grammar,
    "reasoning_cue": _reasoning_cue,
    "nothing_added": _added,
    "length": _similar_length,
}


def findings(case: Case) -> list[Finding]:
    """Every rule that the item breaks, in the order of `CHECKS`."""
    named = ((name, check(case)) for name, check in CHECKS.items() if name not in case.rules.skip)
    return [Finding(name, detail) for name, detail in named if detail]
