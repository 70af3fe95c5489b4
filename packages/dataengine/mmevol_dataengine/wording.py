"""Forms of words that checks look for: refusals, talk about the prompt, options, the script a text is written in."""

from __future__ import annotations

import re

# The model speaks of itself; "I'm sorry, we are closed" may stand on a sign.
REFUSAL = re.compile(
    r"(?<![\"'“‘«])\b(as an ai (?:language )?(?:model|assistant)\b|as an ai,"
    r"|i(?:'?m| am) sorry,? (?:but )?(?:i (?:can|am|was|do|have|could)|i'm|as an|there (?:is|was) no"
    r"|the image|no image)"
    r"|i can(?:no|')t (?:see (?:the|any|an|this|your)\b(?: \w+)? ?(?:image|picture|photo)"
    r"|(?:view|access) (?:the|this|any)"
    r"|assist (?:you )?with|help (?:you )?with (?:this|that)"
    r"|provide (?:an?|any|the|that|this) (?:answer|information|help))"
    r"|(?:i am|i'm|am) unable to (?:see|view|access) the image|^unable to (?:see|view|access) the image"
    r"|no image (?:was |is )?(?:provided|attached)|cannot be determined from the (?:text|caption|description) alone)",
    re.IGNORECASE,
)
_SOURCE = r"(?:captions?|annotations?|prompts?|json)"
LEAK = re.compile(
    rf"\b((?i:(?:according to|based on|given|as per|from) (?:the |your |this )?(?:given |provided |above )?{_SOURCE}\b"
    rf"|(?:mentioned|described|stated|listed|noted) (?:in|by) the {_SOURCE}\b"
    rf"|the (?:given |provided |above )?{_SOURCE} (?:says?|mentions?|states?|describes?|lists?|does not|do not|asks?)\b"
    r"|bounding box list|the given (?:item|box|question|q&a)s?\b"
    r"|(?:original|earlier|previous|rewritten|evolved) (?:question|item|version)s?\b"
    r"|bbx_\d|fine_grained_perception|cognitive_reasoning)"
    r"|TASK: ?(?:evolve|score)|DIRECTION: ?[a-z]+_|INPUT:\s*\{)"
)
READS = re.compile(
    r"\b(say|says|read|reads|written|text|word|words|sign|label|letters?|characters?|translat\w*|name|called|spell\w*"
    r"|language|chinese|japanese|korean|russian|arabic|hindi|greek|english|thai|hebrew)\b",
    re.IGNORECASE,
)
COUNTS = re.compile(r"\b(how many|number of|count (?:the|all|how|each|every)|total count|count of)\b", re.IGNORECASE)
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
OPTION = re.compile(r"(?:^|(?<=[\s(]))([A-Ha-h1-9])[.):]\s*(?=[^\s.)])")
LETTER = re.compile(
    r"^\W*(?i:(?:the )?(?:correct )?(?:answer|option|choice)(?: is)?\s*:?\s*)?\W*([A-Ha-h1-9])(?:[.):,*]|\s*$)"
)


def offered(question: str) -> dict[str, str]:
    """Mark -> text of the options A, B, ... or 1, 2, ... in their order; other marks ("e.g.") are passed over."""
    best: dict[str, str] = {}
    for first in "A1":
        marks: list[re.Match[str]] = []
        for found in OPTION.finditer(question):
            if found.group(1).upper() == chr(ord(first) + len(marks)):
                marks.append(found)
        ends = [*(mark.start() for mark in marks[1:]), len(question)]
        options = {
            mark.group(1).upper(): question[mark.end() : end].strip(" (\n;,")
            for mark, end in zip(marks, ends, strict=False)
        }
        best = max(best, options, key=len)
    return best


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
