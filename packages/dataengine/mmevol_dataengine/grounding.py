"""What the annotations of a sample can decide about an item: boxes, objects, counts, existence."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from mmevol_core.sample import QA, Sample
from mmevol_dataengine.naming import names, several
from mmevol_dataengine.vocabulary import THINGS, words

Corners = tuple[float, float, float, float]

_NUMBER = r"\s*(-?\d+(?:\.\d+)?|-?\.\d+)\s*"
_BOX = re.compile(rf"(?:[\[(]|<box>){_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}(?:[\])]|</box>)")
_CORNERS = re.compile(rf"\[\s*\[({_NUMBER},{_NUMBER})\]\s*,\s*\[({_NUMBER},{_NUMBER})\]\s*\]")  # [[a, b], [c, d]]
_BESIDE = re.compile(  # words right before four numbers that make these a box, whatever the numbers
    r"(?:\b(?:bounding box|box|bbox|bbx|region|coordinates?)(?:es|s)?(?![ -]?(?:plot|chart|whisker))"
    r"(?:_\d+)?(?:\s+(?:is|are|of|at|in|the|\w+)){0,3}"
    r"|\b(?:what|who) is (?:at|in)|\b(?:object|person|thing|man|woman) (?:at|in))\W*$",
    re.IGNORECASE,
)
_CALLED = re.compile(r"\w$")  # name(0, 1, 1, 0) is a call; only the steps of this recipe call things with a box
_STEPS = re.compile(r"(?:referring|grounding|crop|box|bbox|bbx|region|locali[sz]ation)\w*$", re.IGNORECASE)
_LISTED = re.compile(
    r"\b(?:rgba?|hsla?|cmyk|colou?rs?|probabilit\w+|vectors?|lists?|arrays?|tuples?|matri\w+|weights|scores|sorted"
    r"|columns?|rows?|values?|data|ticks?|labels|numbers|sequence|quaternion)\W*(?:(?:is|are|of|at|in|to)\W*)?$",
    re.IGNORECASE,
)
_VIEW = r"(?: (?:visible|shown|present))?(?: in total)?(?: in (?:the|this) (?:image|picture|photo))?(?: in total)?"
_SEEN = rf"{_VIEW}\s*\?"
_IN = r"^\s*(?:in (?:the|this) (?:image|picture|photo),?\s+)?"
_COUNTED = [  # plain ways to ask for a count
    re.compile(
        rf"{_IN}how many ([\w\s-]+?) (?:(?:are|is|can|do)(?: there| you see| you count| be seen)?|appear){_SEEN}", re.I
    ),
    re.compile(rf"{_IN}(?:please )?count (?:all )?(?:of )?the ([\w\s-]+?){_VIEW}\s*[?.:!]?\s*$", re.IGNORECASE),
    re.compile(rf"{_IN}what is the (?:total )?(?:number|count) of ([\w\s-]+?){_SEEN}", re.IGNORECASE),
]
_IS_THERE = re.compile(
    rf"^\s*(?:is there (an?|any|no|not an?)|are there(?: (an?|any|no|not an?))?) ([\w\s-]+?)(?: here)?{_SEEN}", re.I
)
_YES_NO = re.compile(r"\W*(yes|no|there (?:is|are) (?:no(?! doubt| question)|not an?y?))\b", re.IGNORECASE)
_NUMBERS = {
    name: value
    for value, name in enumerate(
        [
            "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
            "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
        ]
    )
}  # fmt: skip
_DOZENS = frozenset(["dozen", "half", "hundred", "thousand", "million", "pair", "couple", "score", "least", "most"])
_AMOUNTS = frozenset(
    [
        "other",
        "another",
        "more",
        "many",
        "several",
        "some",
        "enough",
        "both",
        "only",
        "else",
        "different",
        "same",
        "just",
    ]
)
_WORD = re.compile(r"(?<![\d.])\d+(?![\d.]*\d)|[a-z]+")
_STATED = re.compile(r"\banswer is:? (\d+|[a-z]+)\b")
_FILLER = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "and",
        "with",
        "other",
        "another",
        "different",
        "object",
        "thing",
        "image",
        "picture",
        "photo",
    ]
)


def boxes_in(text: str, labels: Collection[str] = ()) -> Iterator[Corners]:
    """Every [a, b, c, d] of a text that is meant as a box.

    Four numbers are one when all are at most 1 with a fraction among them, or when "box", a region's word or one of
    `labels` stands right before them; an argument list, a colour or a list of values is none.
    """
    text = _CORNERS.sub(r"[\1, \4]", text)
    for found in _BOX.finditer(text):
        before = text[: found.start()]
        left, top, right, bottom = (float(number) for number in found.groups())
        beside = bool(_BESIDE.search(before)) or _ends_with(before, labels)
        shares = max(left, top, right, bottom) <= 1 and any("." in number for number in found.groups())
        call = found.group(0)[0] == "(" and _CALLED.search(before) and not _STEPS.search(before)
        if call or (not beside and (not shares or _LISTED.search(before))):
            continue
        yield left, top, right, bottom


def _ends_with(before: str, labels: Collection[str]) -> bool:
    last = words(before[-60:])
    return any(last[-len(label) :] == label for label in map(words, labels) if label)


def given_boxes(sample: Sample, parent: QA) -> list[Corners]:
    """The boxes an item may use: those of objects and texts, and any four numbers that its parent speaks of."""
    annotated = [box.xyxy for box in sample.boxes] + [text.xyxy for text in sample.ocr if text.xyxy]
    return [*annotated, *spoken_of(parent)]


def spoken_of(item: QA) -> list[Corners]:
    """Every four numbers in brackets of a question, an answer and its steps, box or not."""
    steps = [text for step in item.steps for text in (step.manipulation, step.description)]
    numbers = [found.groups() for text in (item.question, item.answer, *steps) for found in _BOX.finditer(text)]
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in numbers]


def close(box: Corners, given: Corners, tolerance: float) -> bool:
    """Whether two boxes differ by at most `tolerance` (share of the image) in every coordinate."""
    return all(abs(one - other) <= tolerance + 1e-9 for one, other in zip(box, given, strict=True))


def unknown_object(item: QA, sample: Sample) -> str | None:
    """An object the item names that no annotation and no seed question knows; undecidable without annotations."""
    known = _known_words(sample)
    if not known:
        return None
    for name in item.objects:
        parts = [word for word in words(name) if word not in _FILLER and not word.isdigit()]
        if parts and not any(word in known for word in parts):
            return f"object {name!r} is in no annotation"
    return None


def wrong_count(item: QA, sample: Sample) -> str | None:
    """A plain "How many X are there?" whose number is not that of the boxes of X; None when not that plain.

    Undecided when a box may be an X or not ("teddy bear" for bears), or when its label speaks of several.
    """
    name, given = counted(item.question), _only_number(item.answer)
    if not name or given is None:
        return None
    named = [(names(name, box.label), box.label) for box in sample.boxes]
    meant = [label for found, label in named if found]
    if not meant or any(found is None for found, _ in named) or any(map(several, meant)):
        return None
    return f"says {given}, there are {len(meant)} boxes" if len(meant) != given else None


def counted(question: str) -> str:
    """What a plain question wants counted ("How many X are there?"), "" when it is not that plain."""
    found = next((found for form in _COUNTED if (found := form.match(question))), None)
    return found.group(1) if found else ""


def wrong_existence(item: QA, sample: Sample, complete: bool) -> str | None:
    """A plain "Is there a X?" answered "no" although X has a box, or "yes" although complete annotations lack it."""
    asked, said = _IS_THERE.match(item.question), _YES_NO.match(item.answer)
    if not asked or not said or not sample.boxes:
        return None
    name, denied = asked.group(3), (asked.group(1) or asked.group(2) or "").lower().startswith("no")
    yes = (said.group(1).lower() == "yes") != (denied and said.group(1).lower() in {"yes", "no"})
    parts = [word for word in words(name) if word not in _FILLER | THINGS]
    if not words(name) or _AMOUNTS & set(words(name)) or number_of(words(name)[0]) is not None:
        return None
    named = [names(name, box.label) for box in sample.boxes]
    if not yes and any(named):
        return f"says it is not there, but {name!r} has a box"
    if yes and complete and None not in named and not all(word in _known_words(sample) for word in parts):
        return f"says it is there, but no annotation speaks of {name!r}"
    return None


def _known_words(sample: Sample) -> frozenset[str]:
    """Words of caption, labels and text in the image, and of the seed items when there is one of these."""
    texts = [sample.caption, *(box.label for box in sample.boxes), *(text.text for text in sample.ocr)]
    known = {word for text in texts for word in words(text)}
    if known and sample.rounds:
        known |= {word for item in sample.rounds[0] for name in item.objects for word in words(name)}
    return frozenset(known)


def _only_number(text: str) -> int | None:
    """The number that a text states as its answer, or the only one in it."""
    if text.strip(" .!").lower() == "none":
        return 0
    stated = _STATED.findall(text.lower())
    spoken = stated[-1:] or _WORD.findall(text.lower())
    found = {number_of(word) for word in spoken} - {None}
    return found.pop() if len(found) == 1 and not _DOZENS & set(words(text)) else None


def number_of(word: str) -> int | None:
    """The number that a lower-case word or digits stand for, zero to twenty in words."""
    return int(word) if word.isdecimal() else _NUMBERS.get(word)
