"""What an answer says, held against the annotations: place, colour and shape, region, text.

Every check reads only plain questions of the form it knows, about an object that is not in doubt, and answers None for
all others: an item is never eliminated for being unusual. A letter stands for the text of its option.
"""

from __future__ import annotations

import re

from mmevol_core.sample import QA, Box, Sample
from mmevol_dataengine.grounding import boxes_in, close
from mmevol_dataengine.naming import names
from mmevol_dataengine.vocabulary import COLOURS, PLACES, SHAPES, THINGS, words

SLACK = 0.05  # share of the image by which the middle of a box must be on the other side
_CONDITIONAL = re.compile(
    r"\b(if|when|unless|otherwise|suppose|imagine|mirror\w*|flip\w*|turn\w*|rotat\w*|move\w*|than|next to|beside|behind"
    r"|between|relative|nearest|closest|in front|perspective|facing|(left|right|top|bottom|above|below) of)\b",
    re.IGNORECASE,
)
_OF_ANOTHER = re.compile(r"\b(side|half|part|corner|third|end) of (?!the (picture|image|photo|scene)\b)", re.IGNORECASE)
_WHERE = re.compile(
    r"\b(where|side|half|halves|third|quarter|corner|part|at the (top|bottom)|on the (left|right))\b", re.I
)
_PLACING = frozenset(  # words of a plain question for a place
    [
        "where", "here", "choose", "look", "with", "it", "from", "fill", "blank", "complete", "sentence", "that",
        "is", "are", "the", "a", "an", "in", "on", "at", "of", "to", "or", "and", "this", "which", "what", "do",
        "does", "side", "half", "part", "corner", "third", "quarter", "position", "located", "placed", "found",
        "situated", "hold", "contain", "show", "lie", "sit", "stand", "be", "can", "you", "see", "seen", "appear",
        "left", "right", "top", "bottom", "upper", "lower", "center", "centre", "middle", "image", "picture",
        "photo", "scene", "has", "have", "say", "name",
    ]
)  # fmt: skip
_YES_NO = re.compile(r"^\W*(yes|no)\b", re.IGNORECASE)
_STATED = re.compile(r"\banswer is:?\s+(.+?)\W*$", re.IGNORECASE)
_OPTION = re.compile(r"^\s*\(?([A-H])[.):]\s*(.+?)\s*$", re.MULTILINE)
_LETTER = re.compile(r"^\W*\(?([A-H])(?:[.):,]|\W*$)")
_SAYS = re.compile(
    r"\b(?:does|do) the (?:number|text|sign|word|label|digit)s? (?:say|read) ([^?]+?)\s*\?", re.IGNORECASE
)
_IS_THE = re.compile(r"^\W*is the ([\w\s-]+?) (?:an? )?(\w+)\s*\?", re.IGNORECASE)
_STATEMENT = re.compile(
    r"^\W*(?:is this (?:right|true|correct)|does this (?:text|statement) (?:fit|match) the (?:picture|image|photo)):"
    r"\s*an? ([\w\s-]+?) (?:in|at|on) the (left|right|top|bottom|upper|lower) (?:part|half|side)\b",
    re.IGNORECASE,
)
_DENIES = re.compile(r"\b(without|no|not|any|picture|image|photo)\b", re.IGNORECASE)
_NEXT = re.compile(r"\b(after|before|next|plus|minus|comes?)\b", re.IGNORECASE)
_ABSENT = re.compile(
    r"\b(missing|absent|can you not see|not (visible|shown|present|in the (image|picture|photo)))\b", re.I
)
_ASKED = {
    "colour": (
        COLOURS,
        re.compile(r"\b(?:what|which) (?:colou?r) (?:is|has|does) the ([\w\s-]+?)(?: have)?\s*\?", re.I),
    ),
    "shape": (
        SHAPES,
        re.compile(r"\b(?:what|which) (?:shape|form) (?:is|has|does) the ([\w\s-]+?)(?: have)?\s*\?", re.I),
    ),
}
_HOLDS = re.compile(
    r"\b(?:does|do) the (?:region|box|area) \[[^\]]*\] (?:hold|contain|show) (?:an? |the )?([\w\s-]+?)\s*\?"
    r"|\bis the object in \[[^\]]*\] (?:an? |the )?([\w\s-]+?)\s*\?"
    r"|\bdo the region \[[^\]]*\] and the object ([\w\s-]+?) match\s*\?",
    re.IGNORECASE,
)
_NAME_IT = re.compile(r"\b(?:what is (?:at|in)|name the object (?:at|in)) \[[^\]]*\]\s*[?.]", re.IGNORECASE)
_READ = re.compile(
    r"\b(?:what|which) (?:number|digits?|characters?|text|word|letters?)\b.*\b(?:read|see|written|shown|in the)\b",
    re.I,
)


def said(item: QA) -> str:
    """The text that the item gives as its answer: of the option its letter names, of "the answer is", or all of it."""
    letter, options = _LETTER.match(item.answer), dict(_OPTION.findall(item.question))
    if letter and letter.group(1) in options:
        return str(options[letter.group(1)])
    stated = _STATED.search(item.answer.strip())
    return stated.group(1) if stated else item.answer.strip()


def wrong_place(item: QA, sample: Sample) -> str | None:
    """A place in the image ("left", "the top") on the other side of the one box that the question is about."""
    question, answer = stem(item), words(said(item))
    if _CONDITIONAL.search(question) or _OF_ANOTHER.search(question) or not _WHERE.search(question):
        return None
    if len(answer) > 6 or _YES_NO.match(said(item)):
        return None
    plain = question.partition("?")[0]  # how to answer comes after it
    rest = [word for word in words(plain) if word not in _PLACING]  # all that is said of the object, or more
    box = _subject(" ".join(rest), sample) if rest else None
    if box is None:
        return None
    asked = words(item.question)
    thirds = any(word in asked for word in ("third", "center", "centre", "middle"))
    axes = "x" * ("left" in asked or "right" in asked) + "y" * ("top" in asked or "bottom" in asked)
    for word in answer:
        if word in {"center", "centre", "middle"} and len(axes) == 1:
            low, high, axis = 1 / 3, 2 / 3, axes
        elif word in PLACES:
            axis, low, high = PLACES[word]
            low, high = (low / 0.75, high * 2 / 3 if high < 1 else 1.0) if thirds else (low, high)
        else:
            continue
        middle = _middle(box, axis)
        if not low - SLACK <= middle <= high + SLACK:
            return f"says {word}, the middle of {box.label!r} is at {middle:.2f}"
    return None


def wrong_statement(item: QA, sample: Sample, complete: bool) -> str | None:
    """Yes or no to "is this right: a red circle in the top part?", against the boxes."""
    found, answer = _STATEMENT.search(stem(item)), _YES_NO.match(said(item))
    if not found or not answer or not sample.boxes:
        return None
    yes = answer.group(1).lower() == "yes"
    named = [names(found.group(1), box.label) for box in sample.boxes]
    if None in named:
        return None
    meant = [box for box, same in zip(sample.boxes, named, strict=True) if same]
    if not meant:
        return f"says yes, but no box is a {found.group(1)!r}" if yes and complete else None
    place = PLACES.get(found.group(2).lower())
    if len(meant) != 1 or place is None:
        return None
    axis, low, high = place
    middle = _middle(meant[0], axis)
    if low + SLACK < middle < high - SLACK and not yes:
        return f"says no, but the middle of {meant[0].label!r} is at {middle:.2f}"
    outside = not low - SLACK <= middle <= high + SLACK
    return f"says yes, but the middle of {meant[0].label!r} is at {middle:.2f}" if yes and outside else None


def wrong_attribute(item: QA, sample: Sample, complete: bool) -> str | None:
    """A colour or shape that the label of the object denies, or that no complete annotation knows."""
    for name, (family, form) in _ASKED.items():
        if denied := _denied(item, sample, family):
            return f"{name}: {denied}"
        asked, given = form.search(stem(item)), [word for word in words(said(item)) if word in family]
        if not asked or len(given) != 1 or len(words(said(item))) > 4:
            continue
        known = _known(asked.group(1), sample, family)
        if known and given[0] not in known:
            return f"{name} {given[0]}, the annotations say {', '.join(sorted(known))}"
        texts = " ".join([sample.caption, *(box.label for box in sample.boxes)])
        if complete and not known and any(word in family for word in words(texts)) and given[0] not in words(texts):
            return f"{name} {given[0]} is in no annotation"
    return None


def _known(text: str, sample: Sample, family: frozenset[str]) -> set[str]:
    """Words of a family that the annotations use for the one object that a text is about."""
    box = _subject(text, sample)
    known = {word for word in words(box.label) if word in family} if box else set()
    if box is not None and len(sample.boxes) == 1:
        known = known or {word for word in words(sample.caption) if word in family}
    return known


def _denied(item: QA, sample: Sample, family: frozenset[str]) -> str | None:
    """Yes or no to "is the bus red?" against the label of the bus."""
    asked, answer = _IS_THE.match(stem(item)), _YES_NO.match(said(item))
    if not asked or not answer or asked.group(2).lower() not in family:
        return None
    if len(words(asked.group(1))) > 3 or _DENIES.search(asked.group(1)):
        return None
    known, word = _known(asked.group(1), sample, family), asked.group(2).lower()
    yes = answer.group(1).lower() == "yes"
    if len(known) != 1 or yes == (word in known):
        return None
    return f"says {'yes' if yes else 'no'} to {word}, the annotations say {known.pop()}"


def wrong_region(item: QA, sample: Sample, complete: bool) -> str | None:
    """What a given box holds, asked for by name or by yes and no, against the label of that box."""
    asked, answer = _HOLDS.search(stem(item)), _YES_NO.match(said(item))
    boxes = list(boxes_in(stem(item)))
    labels = {box.label for box in sample.boxes if boxes and close(box.xyxy, boxes[0], 0.005)}
    if len(boxes) != 1 or len(labels) != 1:
        return None
    (label,) = labels
    if complete and _NAME_IT.search(stem(item)):
        return f"says {said(item)!r}, the label is {label!r}" if _another(said(item), label, sample) else None
    if not asked or not answer:
        return None
    name, yes = next(group for group in asked.groups() if group), answer.group(1).lower() == "yes"
    if not yes and names(name, label):
        return f"says no, but the box is labelled {label!r}"
    wrong = complete and yes and _another(name, label, sample)
    return f"says yes, but the box is labelled {label!r}" if wrong else None


def _another(name: str, label: str, sample: Sample) -> bool:
    """Surely another thing: a shape, a number, or the name of another box; a puppy may be a dog."""
    if names(name, label) is not False:
        return False
    others = (box.label for box in sample.boxes if box.label != label)
    closed = any(word in SHAPES or word.isdigit() for word in words(label))
    return closed or any(names(name, other) for other in others)


def wrong_option(item: QA, sample: Sample) -> str | None:
    """An object that is said to be missing although it has a box."""
    if not _ABSENT.search(stem(item)) or not _LETTER.match(item.answer):
        return None
    found = any(names(said(item), box.label) for box in sample.boxes)
    return f"says that {said(item)!r} is missing, but it has a box" if found else None


def wrong_reading(item: QA, sample: Sample, complete: bool) -> str | None:
    """A text read in the image that differs from the only one there is; undecided when the image may hold more."""
    texts, question, given = {words(text.text) for text in sample.ocr}, stem(item), said(item)
    if not complete or len(texts) != 1 or _CONDITIONAL.search(question) or _NEXT.search(question):
        return None
    (text,) = texts
    says, answer = _SAYS.search(question), _YES_NO.match(given)
    if says and answer:
        same = words(says.group(1)) == text
        return None if same == (answer.group(1).lower() == "yes") else f"says {given!r}, the text is {' '.join(text)!r}"
    if not _READ.search(question) or len(item.answer.split()) > 3:
        return None
    strange = [word for word in words(given) if word not in text]
    kind = len(text) == 1 and all(word.isdigit() == text[0].isdigit() for word in strange)
    return f"reads {given!r}, the text is {' '.join(text)!r}" if strange and kind else None


def stem(item: QA) -> str:
    """The question without its options."""
    first = _OPTION.search(item.question)
    return item.question[: first.start()] if first else item.question


def _middle(box: Box, axis: str) -> float:
    left, top, right, bottom = box.xyxy
    return (left + right) / 2 if axis == "x" else (top + bottom) / 2


def _subject(phrase: str, sample: Sample) -> Box | None:
    """The one box that a noun phrase is about: the only one it names, or the only one there is; none when in doubt."""
    if len(sample.boxes) == 1 and not set(words(phrase)) - THINGS:
        return sample.boxes[0]
    named = [names(phrase, box.label) for box in sample.boxes]
    return sample.boxes[named.index(True)] if named.count(True) == 1 and None not in named else None
