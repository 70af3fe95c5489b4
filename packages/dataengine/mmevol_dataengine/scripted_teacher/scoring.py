"""The `score` task: an honest heuristic over length, steps, format and dependence on the image.

It follows the criteria of MMEvol's elimination (paper appendix; released scoring prompt): longer or more complex,
needs the image, varied format. A question that repeats its predecessor, that needs no image, or whose answer the
caption contradicts is not improved and scores 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmevol_dataengine.scripted_teacher.scene import COLOR_WORDS, DIGIT_WORDS, SHAPE_WORDS, Scene, scene_of

MIN_SCORE = 1.25  # a question simpler than this (six or seven plain words) is no improvement
MAX_DROP = 5.5  # how much simpler than its predecessor an improved item may be
_IMAGE = re.compile(
    r"\b(picture|image|shapes?|objects?|digits?|numbers?|circles?|rectangles?|triangles?|background|region|box|here|see|shown|"
    r"visible|text|characters|drawing|handwriting|color|left|right|top|bottom|it)\b"
)
_REFUSAL = re.compile(r"\b(sorry|can(no|')t (help|assist)|as an ai)\b")
_CUE = re.compile(r"\b(step by step|explain|reason|why|think|working|how do you)\b")
_JOIN = re.compile(r"\b(if|otherwise|and|then|or|than)\b")
_LINE = re.compile(r"^[A-D]\. ", re.MULTILINE)


def score(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One verdict per pair of a score prompt's INPUT."""
    scene = scene_of(data)
    return [{"id": pair.get("id"), **_verdict(pair, scene)} for pair in data.get("pairs") or []]


def _verdict(pair: Mapping[str, Any], scene: Scene) -> dict[str, Any]:
    before, after = pair.get("before") or {}, pair.get("after") or {}
    flaw = _flaw(before, after, scene)
    if flaw:
        return {"improved": "no", "score": 0, "reason": flaw}
    old, new = complexity(before), complexity(after)
    improved = new >= MIN_SCORE and new >= old - MAX_DROP
    reason = (
        f"complexity {new:.1f} after {old:.1f}" if improved else f"too simple: complexity {new:.1f} after {old:.1f}"
    )
    return {"improved": "yes" if improved else "no", "score": min(10, round(2 + new)), "reason": reason}


def complexity(item: Mapping[str, Any]) -> float:
    """0 to 10: words of question and answer, a cue to reason, options, boxes, joined conditions."""
    question, answer = str(item.get("question", "")).lower(), str(item.get("answer", "")).lower()
    points = min(len(question.split()), 24) / 6 + min(len(answer.split()), 20) / 10
    points += 1.5 * bool(_CUE.search(question)) + 1.5 * bool(_LINE.search(str(item.get("question", ""))))
    points += 0.5 * bool(_JOIN.search(question)) + 0.5 * bool(re.search(r"[\[\d]", question + answer))
    return min(points, 10.0)


def _flaw(before: Mapping[str, Any], after: Mapping[str, Any], scene: Scene) -> str:
    question, answer = str(after.get("question", "")).lower(), str(after.get("answer", "")).lower()
    if not question.strip() or not answer.strip():
        return "question or answer is empty"
    if _words(question) == _words(str(before.get("question", ""))):
        return "the question is unchanged"
    if _REFUSAL.search(answer):
        return "the answer is a refusal"
    if (
        not _IMAGE.search(question)
        and "[" not in question
        and not any(word in question for thing in scene.things for word in thing.label.split())
    ):
        return "the question can be answered without the image"
    return _contradiction(question, answer, scene)


def _contradiction(question: str, answer: str, scene: Scene) -> str:
    """Plain questions only: colour, shape, digit and "is there", where caption and boxes speak of one thing."""
    if len(scene.things) != 1:
        return ""
    thing, said = scene.things[0], answer.strip(" .")
    plain = re.match(r"(what|which|in which|of which) ", question)
    for value, family in ((thing.color, COLOR_WORDS), (thing.shape, SHAPE_WORDS)):
        if plain and value and said in family and said != value:
            return f"the answer {said!r} contradicts {thing.label!r}"
    if (
        thing.digit
        and said in DIGIT_WORDS
        and said != thing.digit
        and re.match(r"(what|which) (digit|number) (is|do)\b", question)
    ):
        return f"the answer {said!r} contradicts {thing.label!r}"
    asked = re.match(
        r"(?:is there an?|do you see an?|can you see an?|is there any) ([\w ]+?)(?: in the (?:picture|image))?\?",
        question,
    )
    if asked and said in ("yes", "no") and (thing.shape or thing.digit):
        words = set(asked.group(1).split()) - {"shape", "digit", "object"}
        there = words <= set(thing.label.lower().split())
        return f"the answer {said!r} contradicts {thing.label!r}" if words and (said == "yes") != there else ""
    return ""


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())
