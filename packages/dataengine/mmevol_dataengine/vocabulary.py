"""Closed word lists of the recipe and how free spellings map onto them."""

from __future__ import annotations

import re
from functools import lru_cache

from mmevol_core.sample import SKILLS

FORMATS = {  # MMEvol released prompts: the 17 formats of the interaction direction; meanings in our own words
    "region_selection": "choose the box, out of several given ones, that holds what is described",
    "missing_object_selection": "choose from a list the object that is not in the image",
    "text_image_matching": "decide whether a statement fits the image",
    "object_region_matching": "match object names with given boxes",
    "completeness_of_response": "say whether a given reply about the image leaves something out",
    "fill_in_the_blank": "complete a sentence about the image",
    "image_style_classification": "name the style of the image",
    "art_type": "name the kind of picture or artwork",
    "rationales_generation": "answer and give the visible reasons",
    "text_detection": "give the text that is written in the image",
    "text_translation": "translate text that is written in the image",
    "coreference_resolution": "say what a pronoun in a statement about the image refers to",
    "instruction_following": "answer under a condition on the form, such as one word or capital letters",
    "depth_order": "say which of the objects is nearer",
    "relative_distance": "say which objects are closer to each other",
    "creative_content_generation": "write a short text inspired by the image",
    "multi_choice": "choose one of the options",
}
BOX_FORMATS = ("region_selection", "object_region_matching", "relative_distance", "depth_order")  # ask about regions
TEXT_FORMATS = ("text_detection", "text_translation")  # ask about text in the image
COLOURS = frozenset(
    [
        "red", "green", "blue", "yellow", "orange", "purple", "violet", "pink", "brown", "black", "white", "gray",
        "grey", "teal", "turquoise", "cyan", "magenta", "beige", "gold",
    ]
)  # fmt: skip
SHAPES = frozenset(["circle", "triangle", "rectangle", "square", "oval", "ellipse", "pentagon", "hexagon", "star"])
THINGS = frozenset(  # say nothing about what is meant
    [
        "a",
        "an",
        "the",
        "object",
        "thing",
        "shape",
        "form",
        "figure",
        "item",
        "number",
        "digit",
        "text",
        "image",
        "picture",
    ]
)
_LOW, _HIGH = (0.0, 0.5), (0.5, 1.0)
PLACES = {  # what a word says of the middle of a box: axis, from, to (shares of the image)
    "left": ("x", *_LOW), "right": ("x", *_HIGH), "top": ("y", *_LOW), "upper": ("y", *_LOW),
    "bottom": ("y", *_HIGH), "lower": ("y", *_HIGH),
}  # fmt: skip

_SKILL_ALIASES = {
    "localization": "grounding", "localisation": "grounding", "object localization": "grounding",
    "visual grounding": "grounding", "referring": "referencing", "reference": "referencing",
    "region understanding": "referencing", "counting": "calculating", "calculation": "calculating",
    "calculate": "calculating", "arithmetic": "calculating", "numerical calculation": "calculating",
    "optical character recognition": "ocr", "text recognition": "ocr", "text reading": "ocr",
    "object existence": "existence", "recognition": "existence", "object recognition": "existence",
    "relationship": "relationship description", "relation description": "relationship description",
    "spatial relationship": "relationship description", "spatial reasoning": "relationship description",
    "contextual understanding": "context understanding", "context": "context understanding",
    "scene understanding": "context understanding", "behaviour prediction": "behavior prediction",
    "prediction": "behavior prediction", "knowledge": "knowledge integration",
    "commonsense reasoning": "knowledge integration", "commonsense": "knowledge integration",
}  # fmt: skip
_FORMAT_ALIASES = {
    "multiple_choice": "multi_choice", "multi-choice": "multi_choice", "fill_in_blank": "fill_in_the_blank",
    "fill_in_the_blanks": "fill_in_the_blank", "rationale_generation": "rationales_generation",
    "creative_writing": "creative_content_generation",
}  # fmt: skip
_SUFFIX = re.compile(r"\s+(abilities|ability|skills|skill)$")


@lru_cache(maxsize=8192)
def normal_skill(name: str) -> str:
    """One of the nine skills for its known spellings ("OCR Ability" is "ocr"); others lower-cased."""
    key = _SUFFIX.sub("", re.sub(r"[\s_-]+", " ", name.strip().lower()))
    return key if key in SKILLS else _SKILL_ALIASES.get(key, key)


@lru_cache(maxsize=8192)
def normal_format(name: str) -> str:
    """One of the 17 formats for its known spellings; any other name, lower-cased with underscores, as it is."""
    key = re.sub(r"[\s-]+", "_", name.strip().lower())
    return _FORMAT_ALIASES.get(key, key)


_SINGULARS = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse", "feet": "foot",
    "teeth": "tooth", "geese": "goose", "knives": "knife", "shelves": "shelf", "wolves": "wolf", "loaves": "loaf",
    "scarves": "scarf", "potatoes": "potato", "tomatoes": "tomato", "mangoes": "mango", "buffaloes": "buffalo",
    "dominoes": "domino", "leaves": "leaf", "calves": "calf",
}  # fmt: skip


def singular(word: str) -> str:
    """A rough singular of an English noun, enough to compare "boxes" with "box" and "people" with "person"."""
    if word in _SINGULARS:
        return _SINGULARS[word]
    if word.endswith(("women", "emen", "rmen", "smen", "wmen", "ymen")):  # firemen, fishermen; not specimen, abdomen
        return word[:-2] + "an"
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


@lru_cache(maxsize=8192)
def words(text: str) -> tuple[str, ...]:
    """Lower-case words of a text, singular, without punctuation."""
    return tuple(singular(word) for word in re.findall(r"[^\W_]+", text.lower()))
