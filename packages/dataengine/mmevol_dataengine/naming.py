"""Whether the thing that a text names is the thing that a box is labelled with: yes, no, or in doubt.

A hot dog is no dog, a teddy bear may pass for a bear, a skier is a person: only equal names are sure, up to colours,
sizes and numbers. Checks decide nothing about an object in doubt.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mmevol_dataengine.vocabulary import COLOURS, SHAPES, singular, words

ANY = frozenset(["object", "thing", "shape", "form", "figure", "item"])  # name nothing by themselves
_SHAPED = frozenset(["shape", "form", "figure"])
_ARTICLES = frozenset(["a", "an", "the", "image", "picture", "photo"])
_JOINTS = frozenset(
    [
        "of", "in", "on", "at", "with", "without", "near", "from", "by", "for", "to", "and", "or", "behind",
        "under", "like", "holding", "wearing", "riding", "s",
    ]
)  # fmt: skip
_SIZES = frozenset(["small", "little", "tiny", "big", "large", "huge", "tall", "short", "long", "young", "old", "new"])
_PEOPLE = frozenset(
    [
        "person", "human", "man", "woman", "child", "boy", "girl", "kid", "adult", "lady", "guy", "gentleman",
        "baby", "toddler", "crowd", "group", "team", "family", "couple", "audience", "bride", "groom", "chef",
        "pedestrian", "athlete", "someone", "individual",
    ]
)  # fmt: skip
_ACTS = re.compile(r"\w{3,}(?:er|or|ist|ian|man|woman|boy|girl)$")  # a skier, a conductor, a fireman
_ONLY_THINGS = frozenset(
    [
        "flower", "computer", "water", "counter", "tower", "paper", "monitor", "mirror", "refrigerator", "toaster",
        "drier", "meter", "poster", "trailer", "tractor", "helicopter", "scooter", "ladder", "letter", "number",
        "corner", "burger", "hamburger", "speaker", "printer", "calculator", "elevator", "projector", "sweater",
        "shower", "drawer", "river", "floor", "door", "tiger",
        "spider",
    ]
)  # fmt: skip
_KINDS = frozenset(
    [
        "animal", "pet", "vehicle", "fruit", "vegetable", "food", "furniture", "building", "plant", "toy", "tool",
        "device", "drink", "clothing", "container", "instrument", "appliance", "utensil", "product",
    ]
)  # fmt: skip


@lru_cache(maxsize=65536)
def names(text: str, label: str) -> bool | None:
    """Does a noun phrase name what the label names? None when that cannot be told."""
    asked, given = _noun(text), _noun(label)
    if not set(asked) - ANY or not given:
        return None
    if asked == given:
        return True
    if _contradict(set(asked), set(given)):
        return False
    if not set(asked) & set(given):
        return None if _may_be(_head(asked), _head(given)) else False
    return True if _says_less(asked, given) else None


def several(label: str) -> bool:
    """Does a label speak of more than one thing ("cars", "people", "bunch of grapes"), so that its box is no count?"""
    spoken = re.findall(r"[^\W_]+", label.lower())
    return bool(spoken) and (singular(spoken[-1]) != spoken[-1] or "of" in spoken or "and" in spoken)


def _noun(text: str) -> tuple[str, ...]:
    return tuple("gray" if word == "grey" else word for word in words(text) if word not in _ARTICLES)


def _head(noun: tuple[str, ...]) -> str:
    """The last word that is no number: "player" of "player 1"."""
    return next((word for word in reversed(noun) if not word.isdigit()), noun[-1])


def _contradict(asked: set[str], given: set[str]) -> bool:
    """Two colours, two shapes or two numbers: "digit 5" and "digit 6"."""
    if _JOINTS & (asked | given):
        return False
    numbers = frozenset(word for word in asked | given if word.isdigit())
    pairs = ((asked & family, given & family) for family in (COLOURS, SHAPES, numbers))
    return any(one and other and not one & other for one, other in pairs)


def _says_less(asked: tuple[str, ...], given: tuple[str, ...]) -> bool:
    """Is the label the same noun with a colour, a size or a number more?"""
    more = set(given) - set(asked)
    if _JOINTS & {*asked, *given} or set(asked) - set(given) - ANY:
        return False
    if asked[-1] in ANY:  # "the red object"
        return asked[-1] not in _SHAPED or bool(SHAPES & set(given))
    return asked[-1] in {_head(given), given[-1]} and all(
        word in COLOURS | SHAPES | _SIZES or word.isdigit() for word in more
    )


def _may_be(asked: str, given: str) -> bool:
    """May one head noun be a kind of the other, though they share no word?"""
    if asked in _KINDS or given in _KINDS:
        return True
    people = [word in _PEOPLE or (word not in _ONLY_THINGS and _ACTS.match(word)) for word in (asked, given)]
    return all(people) and (asked in _PEOPLE or given in _PEOPLE)
