"""Forms of words that checks look for: refusals, talk about the prompt, options, the script a text is written in."""

from __future__ import annotations

import re

_PICTURES = r"(?:(?:the|this|any|an|your|that|provided|attached) )*(?:\w+ )?(?:images?|pictures?|photos?)"
# The model speaks of itself; "I'm sorry, we are closed" may stand on a sign.
REFUSAL = re.compile(
    r"(?<![\"'“‘«])\b(as an? (?:large |multimodal )*(?:language|vision|ai|multimodal|text-based) (?:language )?model\b"
    r"|as an ai(?: assistant\b|,)"
    r"|i(?:'?m| am) sorry,? (?:but )?(?:i (?:can(?:no|')t|am (?:not|unable)|was (?:not|unable)|do(?: not|n't)"
    r"|have no|could(?: not|n't))|i'm (?:not|unable)|as an|there (?:is|was) no|the image|no image)"
    r"|i apologi[sz]e,? but (?:i\b|as an|there|the image)"
    rf"|i can(?:no|')t (?:(?:see|view|access|process|open) {_PICTURES}"
    r"|(?:view|access) (?:the|this|any)"
    r"|assist (?:you )?with|help (?:you )?with (?:this|that)"
    r"|provide (?:an?|any|the|that|this) (?:answer|information|help))"
    rf"|i do(?: not|n't) have the (?:ability|capability|capacity) to (?:\w+ )?(?:see|view|access|process) {_PICTURES}"
    rf"|(?:am|i'm|^) ?(?:unable|not able) to (?:\w+ly )?(?:see|view|access|process) {_PICTURES}"
    r"|no image (?:was |is )?(?:provided|attached)|cannot be determined from the (?:text|caption|description) alone)",
    re.IGNORECASE,
)
NOTHING = re.compile(r"^\W*(?:n/a|n\.a\.?|not available|no answer|null)\W*$|^[\s\-–—.?]*$", re.IGNORECASE)
SIGNS = re.compile(r"\b(operator|symbol|sign|mark|character|punctuation|written|read|say|text|word)", re.IGNORECASE)
_SOURCE = r"(?:captions?|annotations?|prompts?|json|metadata)"
_GIVEN = r"(?:given|provided|above)"
LEAK = re.compile(
    rf"\b((?i:(?:according to|based on|given|as per|from) (?:the |your |this )?(?:{_GIVEN} )?{_SOURCE}\b"
    rf"|(?:mentioned|described|stated|listed|noted) (?:in|by) the {_SOURCE}\b"
    rf"|the (?:{_GIVEN} )?{_SOURCE} (?:says?|mentions?|states?|describes?|lists?|does not|do not|asks?)\b"
    rf"|(?:according to|based on|as per|from|given) (?:the |your |these )?{_GIVEN} (?:bounding boxes|box coordinates"
    r"|(?:image |picture )?descriptions?)\b"
    rf"|{_GIVEN} {_SOURCE}\b"
    r"|(?:according to|based on|as per|from) the (?:image|picture|photo) (?:description|caption)s?\b"
    r"|bounding box list|the given (?:item|box|question|q&a)s?\b"
    r"|(?:original|earlier|previous) (?:question|q&a)s?\b|previous version of (?:the|this) question"
    r"|(?:rewritten|evolved) (?:question|item|version)s?\b"
    r"|bbx_\d|fine_grained_perception|cognitive_reasoning)"
    r"|^(?i:the description (?:says?|mentions?|states?))\b"
    r"|TASK: ?(?:evolve|score)|DIRECTION: ?[a-z]+_|INPUT:\s*\{)"
)
CAPTION = re.compile(r"\b(?:caption|description)", re.IGNORECASE)
PRINTED = re.compile(
    r"^the (?:caption|description)s? (?:say|mention|state|describe|list)", re.IGNORECASE
)  # "what does ..."
BESIDE = re.compile(r"\s+(?:below|above|under|beneath|beside|at the (?:top|bottom|left|right))\b", re.IGNORECASE)
READS = re.compile(
    r"\b(say|says|read|reads|written|text|word|words|sign|label|letters?|characters?|translat\w*|name|called|spell\w*"
    r"|language|chinese|japanese|korean|russian|arabic|hindi|greek|english|thai|hebrew)\b",
    re.IGNORECASE,
)
COUNTS = re.compile(r"\b(how many|number of|count (?:the|all|how|each|every)|total count|count of)\b", re.IGNORECASE)
ASKS_BOX = re.compile(
    r"\b(?:(?:give|provide|state|output|find) (?:\w+ ){0,2}(?:bounding )?box(?:es)?"
    r"|with (?:its|their) (?:bounding )?box(?:es)?|what (?:is|are) the bounding box(?:es)?)\b(?! plot)",
    re.IGNORECASE,
)
LOCATES = re.compile(
    r"\b(coordinates?|bounding box|where exactly|exactly where|exact (?:location|position)"
    r"|locate (?:the|all|each|every))\b",
    re.IGNORECASE,
)
TEXTUAL = re.compile(  # may be counted by their names
    r"\b(words?|letters?|digits?|numbers?|texts?|signs?|lines?|labels?|characters?|years?|months?|days?|items?|names?"
    r"|bars?|values?|entr\w+|rows?|columns?|options?|titles?|countr\w+|categor\w+|colou?rs?|steps?|questions?|points?"
    r"|series|groups?|types?|kinds?|sections?|parts?|headings?|arrows?|boxes|nodes?|teams?|products?|prices?)\b",
    re.IGNORECASE,
)
OPTION = re.compile(r"(?:^|(?<=[\s(]))(?:([A-Ha-h1-9])[.):]|(?m:^)([A-Ha-h]) [-–—] )\s*(?=[^\s.)])")
_LISTED = re.compile(r"\b(?:options|choices)\W{1,3}([^.?!\n]+(?:, | or )[^.?!\n]+)", re.IGNORECASE)
_ROMAN = re.compile(r"^\s*\(?(i{1,3}|iv|v)[.)]\s+(.+?)\s*$", re.MULTILINE | re.IGNORECASE)
GAP = re.compile(r"_{2,}|(?<!\S)_(?!\S)|[\[{(](?:\s*blank\s*|\s{2,})[\]})]|\[\s*\]|…|\.{3,}", re.IGNORECASE)
_WORDS = re.compile(r"[^\W_]+|(?<=[\w)] )[-+*/×÷<>=≤≥≠^](?= [\w(])|(?<=\d)[-+*/×÷<>=≤≥≠^](?=\d)")
LETTER = re.compile(
    r"^\W*(?i:(?:the )?(?:correct )?(?:answer|option|choice)(?: is)?\s*:?\s*)?\W*([A-Ha-h1-9]|[IViv]{1,3})"
    r"(?:[.):,*]|\s*$)"
)


def normal_text(text: str) -> str:
    """Text reduced to its lower-case letters, digits and operators between them, to compare questions."""
    return " ".join(_WORDS.findall(text.lower()))


def offered(question: str) -> dict[str, str]:
    """Mark -> text of the options A, B, ... or 1, 2, ... in their order; other marks ("e.g.") are passed over.

    Options without such marks ("Options: cat, dog.", i. and ii.) are marked by their numerals or numbers.
    """
    plain = question.replace("**", "")
    best: dict[str, str] = {}
    for first in "A1":
        marks: list[re.Match[str]] = []
        for found in OPTION.finditer(plain):
            if (found.group(1) or found.group(2)).upper() == chr(ord(first) + len(marks)):
                marks.append(found)
        ends = [*(mark.start() for mark in marks[1:]), len(plain)]
        options = {
            (mark.group(1) or mark.group(2)).upper(): plain[mark.end() : end].strip(" (\n;,")
            for mark, end in zip(marks, ends, strict=False)
        }
        best = max(best, options, key=len)
    if len(best) < 2:
        best = {mark.upper(): text for mark, text in _ROMAN.findall(plain)} or best
    listed = _LISTED.search(plain)
    if len(best) < 2 and listed:
        best = {str(place): text.strip() for place, text in enumerate(re.split(r",|\bor\b", listed.group(1)), start=1)}
    return best


def not_chosen(question: str, answer: str) -> str | None:
    """What is wrong with a multiple choice: no options, none of them chosen, or one by letter and another by text."""
    options = offered(question)
    if len(options) < 2:
        return f"options are {', '.join(options) or 'absent'}"
    given = LETTER.match(answer)
    if given and given.group(1).upper() in options:
        rest = normal_text(answer[given.end() :])
        others = [mark for mark, text in options.items() if rest and normal_text(text) == rest]
        own = not others or given.group(1).upper() in others
        return None if own else f"the answer is marked {given.group(1)}, its text is that of {others[0]}"
    plain = f" {normal_text(answer)} "
    said = any(f" {normal_text(text)} " in plain for text in options.values() if normal_text(text))
    return None if said else "the answer is none of the options"


_SCRIPTS = {
    "Latin": "A-Za-zÀ-ɏ", "Greek": "Ͱ-Ͽ", "Cyrillic": "Ѐ-ӿ", "Hebrew": "\u0590-\u05ff", "Arabic": "\u0600-\u06ff",
    "Indic": "\u0900-\u0dff", "Thai": "\u0e00-\u0e7f", "Korean": "\u1100-\u11ff\uac00-\ud7af",
    "Chinese or Japanese": "\u3040-\u30ff\u3400-\u9fff",
}  # fmt: skip
_LETTERS = {name: re.compile(f"[{letters}]") for name, letters in _SCRIPTS.items()}


def scripts(text: str) -> dict[str, int]:
    """How many letters of each script a text has; languages of one script are not told apart."""
    return {name: count for name, letters in _LETTERS.items() if (count := len(letters.findall(text)))}


def script(text: str) -> str | None:
    """The script of more than three quarters of the letters of a text, None when there is none such."""
    counts = scripts(text)
    return next((name for name, count in counts.items() if count > 0.75 * sum(counts.values())), None)
