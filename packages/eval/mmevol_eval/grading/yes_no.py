"""Yes/no questions: from a reply to Yes, No or Unknown.

Source: VLMEvalKit at e8e78f05, `YOrN_Extraction` and `YOrN_auxeval`; MMEvol's copy differs in one step of punctuation.
"""

from __future__ import annotations

from mmevol_eval.benchmark import MMEVOL, Graded, Item, Judge
from mmevol_eval.grading.judging import question_about
from mmevol_eval.grading.vqa import strip_punctuation

UNKNOWN = "Unknown"
JUDGE_CALLS = 5


def extract(reply: str, rules: str) -> str:
    """`Yes` or `No` when exactly one of the two words occurs, else `Unknown`."""
    words = strip_punctuation(reply.lower(), keep_after_digit=rules != MMEVOL).split()
    if ("yes" in words) == ("no" in words):
        return UNKNOWN
    return "Yes" if "yes" in words else "No"


def grade(item: Item, reply: str, rules: str, judge: Judge | None) -> Graded:
    """Grade one reply; the judge is asked about Unknown ones only, five times, ever warmer."""
    found = extract(reply, rules)
    if found != UNKNOWN:
        return Graded(item, float(found == item.answer), found, "rule")
    if judge:
        for call in range(JUDGE_CALLS):
            found = extract(judge.ask(question_about(item, reply, "yes_no", call)), rules)
            if found != UNKNOWN:
                return Graded(item, float(found == item.answer), found, "judge")
    return Graded(item, 0.0, "", "none")
