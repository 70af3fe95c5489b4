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
