"""Words after the answer that take it back or change a value in it: the answer then no longer counts.

A remark that only may be meant so costs a reply that is asked for again; a retraction that is overlooked costs a wrong
value. What is said of all ("each answer should be short") or as a condition ("if I made a mistake") changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# Repetitions are bounded: hostile text must not cost more than its length.
_START = r"(?:^|[\n.!?:;,(>\-]\s{0,8})[*_ ]{0,8}(?:small |minor |quick |one |please ){0,2}"
_VALUE = (
    r"[\"'“*_]*(?:\d|yes\b|no\b(?! (?:more|less|longer))|not\b|true\b|false\b|(?:un)?improved\b|[A-H]\b(?!-)"
    r"|(?:high|low)(?:er)?\b)"
)
_PLACE = (
    r"(?:[pq]\d+|(?:pair|sample|item|question|entry|number|no\.|#) ?#?\d+"
    r"|first|second|third|fourth|fifth|last|former|latter)"
)
_PART = r"(?:answer|score|verdict|judge?ment|rating|improved|value|reason|question|format|id|parent|option|entry)"
_ONE = (
    rf"(?:\b{_PLACE}\b|"
    rf"\b(?:the|its|my|this|that)\s(?:(?!original|given|old|parent|source|input|seed)\w{{1,20}}\s)?[\"'`*]*{_PART}\b)"
)
_NEAR = r"[^\n.!?]{0,40}?"
_SHOULD = r"\b(?:should|ought to|must|was meant to|were meant to)(?: rather| actually| really| instead| now| have)?"
_BECOME = r"(?:be|been|read|say|get|got|receive|received|scored?|become|drop|rise|go|count as|carry)"
_HARMLESS = (
    r"(?!(?:\w+ly |still )?(?:clear|obvious|easy|enough|sufficient|fine|good|valid|\w+able|challenging|hard|harder"
    r"|short|checked|verified|taken|seen|read as|as)\b)"
)
_CHANGE = (
    r"(?:change|set|correct|amend|replace|revise|lower|raise|switch|flip|swap|read|treat|use|make|consider|give|put)"
)
_RATE = r"(?:give|given|scored?|rated?|changed?|lower|raise|mark|marked)"
_CORRECTION = r"(?:correction|corrigendum|erratum|errata|amendment|rectification)s?\b"
_FALSE = r"(?:wrong|incorrect|mistaken|swapped|reversed|an? (?:typo|mistake|error))"
_I = r"(?<!\bif )(?<!whether )(?<!unless )(?<!in case )\bI(?: have|'ve| just| now| also| accidentally| mistakenly){0,3}"

_PATTERNS = [
    # What the remark calls itself.
    rf"{_START}{_CORRECTION}(?: (?:to|for) [^\n:]{{1,40}})?[*_]*\s*(?:[:：,—–]| -)(?!\s*(?:none|n/a|not needed)\b)",
    rf"{_START}(?:edit|typo|update|fix|revision|(?:revis|correct|amend|chang)ed"
    rf"|re-?\w{{1,20}}ing)[*_]*(?:\s*[:：]| [-–—])(?!\s*none\b)",
    rf"{_START}(?:in hindsight|thinking (?:about it )?(?:more|again)|oh no|{_CORRECTION} {_ONE})\b",
    rf"{_START}(?:no,? )?(?:wait(?! for)|actually|hold on|oops|whoops|hmm+|scratch that|strike that|my bad"
    rf"|looking (?:again|closer))\b",
    rf"{_START}(?:up)?on (?:review|(?:a )?(?:closer|second) (?:inspection|look|reading)|reconsider\w{{1,10}})\b",
    rf"{_START}after (?:re-\w{{1,20}}|reconsider\w{{1,10}}|rechecking|rereading|recounting|(?:a"
    rf"|another) (?:second |closer )?look)\b",
    rf"{_START}(?:sorry|(?:my )?apologies|I apologi[sz]e)\b[^\n]{{0,60}}?(?:\b(?:is|are|was|were|shows"
    rf"|reads)\b|[=→]|->)",
    r"(?<!\bif )(?<!whether )\bthere(?: is| was|'s) (?:an?|one) (?:\w{1,20} )?(?:mistake|error|typo"
    r"|slip)\b|\bI forgot\b",
    rf"\b(?:let me|to|I must|need to|have to) (?:correct|fix|amend) (?:myself|that|this|{_ONE})",
    # A mistake that is owned.
    rf"{_I} (?:made|make|spotted|noticed|found|see|caught|reali[sz]ed)"
    r" (?:an?|one|the|some|my) (?:\w{1,20} )?(?:mistakes?|errors?|typos?|slips?)\b",
    rf"{_I} (?:was|am|was being) (?:\w{{1,20}} )?(?:wrong|mistaken|too (?:generous|harsh|strict|lenient))\b",
    rf"{_I} (?:mis(?!s)\w{{1,20}}|swapped|mixed up|switched|meant\b(?! (?:for|these|them|to be)))",
    r"\b(?:I|we) (?:take|took) [^\n.!?]{0,30}\bback\b|\bI(?:'d| would|'m going to| will|'ll)? (?:retract|withdraw)\b",
    r"\bmy (?:mistake|error|bad)\b|\bby (?:mistake|accident)\b|\bhave to withdraw\b|, sorry\W*$",
    rf"\bI(?: have|'ve)? (?:got|had|put|gave) {_NEAR}{_ONE} {_NEAR}{_FALSE}\b",
    # Another value for one of them.
    rf"{_ONE}[^\n.!?,]{{0,40}}?{_SHOULD} {_BECOME} {_HARMLESS}",
    rf"{_SHOULD} {_BECOME}(?: an?| the)?(?: score of)?\s+{_VALUE}",
    rf"\bmy {_PART}{_NEAR}\b(?:is|was) too\b|{_ONE}{_NEAR}\b(?:corrected|changed|lowered|raised) to {_VALUE}",
    rf"{_ONE} (?:deserves|merits|is worth) (?:only |just )?an? {_VALUE}",
    rf"(?:{_START}|\bplease |\bI'd |\bI would ){_CHANGE} {_NEAR}{_ONE}{_NEAR}"
    rf"(?:\b(?:to|with|as|into|instead)\b|{_VALUE})",
    rf"(?:{_START}|\bplease ){_CHANGE}\b{_NEAR}\b(?:for|as|instead of|and|a) {_ONE}",
    rf"\bI(?:'d| would| now| should| will|'ll){{1,2}} (?:now |rather |have |instead ){{0,2}}{_RATE} {_NEAR}"
    rf"(?:{_ONE}|\d|\b(?:yes|no)\b)",
    rf"\b(?:is|be|:|=|→|->) ?{_VALUE}[\w.]{{0,20}}[\"'”*_]*,? (?:and )?(?:not|rather than|instead of) {_VALUE}",
    rf"\b(?:corrected|revised|updated|amended|adjusted|right|correct|true|actual|proper|real|final) {_PART}s?\b"
    rf"(?:{_NEAR}\b(?:is|are|be)|{_NEAR}[:：=])\s*(?:an? |the )?{_VALUE}",
    rf"\b(?:the|its) (?:right|correct|true|actual|proper|real) {_PART}{_NEAR}\bis (?!(?:\w+ly|\w+able"
    rf"|always|never|stated|given"
    r"|marked|visible|listed|included|shown|found|known|placed|in|on|one|the only|still|also|not in|unique)\b)",
    rf"{_ONE}{_NEAR}\b(?:is|was|are|were) (?:actually |in fact |clearly |simply )?{_FALSE}\b",
    rf"{_ONE}{_NEAR}\b(?:is|was|are|were) (?:actually|in fact|really) {_VALUE}",
    rf"\b{_PLACE} and {_PLACE}\b{_NEAR}\b(?:swapped|mixed up|exchanged|reversed|interchanged|switched)\b",
    r"更正|勘误|应为|应该是|应改为|改为|写错|弄错|搞错|作废",
    r"(?:\d|\byes|\bno)[\"'”]?\s{0,4}(?:->|=>|→)\s{0,4}[\"'“]?(?:\d|yes\b|no\b)",
    # The whole is taken back, or another one announced.
    rf"(?:{_START}|\bplease )(?:strike|ignore|disregard|discard|scrap|remove|drop|delete|skip) {_NEAR}{_ONE}",
    r"\b(?:ignore|disregard|discard|scrap)\b.{0,40}\b(?:above|that|this|previous|it|draft)\b",
    r"\b(?:above|that|this)\b.{0,20}\b(?:is|was|are|were) (?:wrong|incorrect|(?:only |just )?an? (?:example|draft))",
    r"\b(?:final|revised|corrected|updated|improved|better|here (?:is|are))\b[^\n.!?]{0,60}:"
    r"\s*(?:```\w*)?\s*[\[{]?\s*$",
    r"(?<!~)~~\s*$|\bnot (?:the )?final\b|\bon (?:second thought|reflection)\b",
]
RETRACTED = re.compile("|".join(_PATTERNS), re.IGNORECASE | re.DOTALL)
_SAYS = re.compile(
    r"[^\n.!?;,]{0,25}?(?:\b(?:is|scores?|gets|at)\b|[:=])\s{0,4}(?:an? |only )?[\"'“*]{0,3}"
    r"(?:(?P<score>\d{1,2}(?:\.\d+)?)(?:/10)?(?=[\"'”*]{0,3}\s*(?:points?\b|[,.;!?)\n]|$))"
    r"|(?P<no>not improved\b|not an improvement\b|no(?=[\"'”*]{0,3}\s*(?:[,.;!?)\n]|$)))|(?P<yes>improved\b|yes\b))",
    re.IGNORECASE,
)


def contradicts(remark: str, judgements: Iterable[Mapping[str, Any]]) -> bool:
    """Does the text after the judgements name one by its id with another score or verdict?"""
    for judgement in judgements:
        name = judgement.get("id")
        for place in re.finditer(rf"\b{re.escape(name)}\b", remark) if name and not name.isdigit() else ():
            said = _SAYS.match(remark, place.end())
            if said is None:
                continue
            if said["score"] and float(said["score"]) != judgement["score"]:
                return True
            if not said["score"] and ("no" if said["no"] else "yes") != judgement["improved"]:
                return True
    return False
