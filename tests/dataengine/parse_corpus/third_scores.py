# ruff: noqa: E501 - one case a line reads best as a table
"""Third corpus: the judge's replies. A score list is trusted as a whole or not at all: items are matched by place."""

from __future__ import annotations

import re

from third_items import FAIR, GOOD, POOR, TRIO, Case, but, dumps, score, without

LIST, LINE = dumps(TRIO), dumps(TRIO, None)
SLIM = [dumps(item, None) for item in TRIO]
DRAFT = dumps([but(GOOD, score=3), but(POOR, score=5), FAIR], None)
HOLLOW = '[{"improved": "yes/no", "score": 1-10, "reason": "..."}]'

WRAPPED = [
    score("compact scores", LINE, TRIO),
    score("fenced scores", f"```json\n{LIST}\n```", TRIO),
    score("bare fenced scores", f"```\n{LIST}\n```", TRIO),
    score("scores after prose", f"Here is my assessment [three items]:\n\n{LIST}\n\nOverall {{good}}.", TRIO),
    score("scores after a thought", f"<think>First: {DRAFT}. No, higher.</think>\n{LIST}", TRIO),
    score("scores after a thought without opener", f"First: {DRAFT}. No, higher.</think>\n{LIST}", TRIO),
    score("scores, draft then final", f"Draft scores:\n{DRAFT}\n\nFinal scores:\n{LIST}", TRIO),
    score(
        "scores reconsidered", f"```json\n{DRAFT}\n```\nOn reflection the first is better:\n```json\n{LIST}\n```", TRIO
    ),
    score("scores after the placeholder", f"Format: {HOLLOW}\n{LIST}", TRIO),
    score("scores after the calibration example", f"Example:\n{SLIM[1]}\n\nMy scores:\n{LIST}", TRIO),
    score("scores in a wrapper", dumps({"scores": TRIO}), TRIO),
    score("scores two deep", dumps({"result": {"evaluations": TRIO}}), TRIO),
    score("scores with a summary", dumps({"summary": "Mixed.", "average": 5.5, "items": TRIO}), TRIO),
    score("scores by number", dumps({str(i): item for i, item in enumerate(TRIO, 1)}), TRIO),
    score("scores as JSON lines", "\n".join(SLIM), TRIO),
    score("scores in a fence each", "\n".join(f"```json\n{line}\n```" for line in SLIM), TRIO),
    score("scores numbered", "\n".join(f"{i}) {line}" for i, line in enumerate(SLIM, 1)), TRIO),
    score("scores under headings", "\n".join(f"**Sample {i}**\n{line}" for i, line in enumerate(SLIM, 1)), TRIO),
    score("scores side by side", "".join(SLIM), TRIO),
    score("scores in lists", "[" + ",".join(f"[{line}]" for line in SLIM) + "]", TRIO),
    score("one score", dumps(GOOD), [GOOD]),
    score("two equal scores", dumps([POOR, POOR]), [POOR, POOR]),
    score("two equal scores in lines", f"{SLIM[1]}\n{SLIM[1]}", [POOR, POOR], [POOR]),
]
SPOILED = [
    score("scores with trailing commas", re.sub(r"\n(\s*[}\]])", r",\n\1", LIST[:-2]) + ",\n]", TRIO),
    score("scores without commas", LIST.replace(",\n", "\n"), TRIO),
    score("scores without commas between", LIST.replace("},", "}"), TRIO),
    score("scores in python", repr(TRIO), TRIO),
    score("scores with bare keys", re.sub(r'"(\w+)":', r"\1:", LIST), TRIO),
    score("scores with bare yes", LIST.replace('"yes"', "yes").replace('"no"', "no"), TRIO),
    score("scores with comments", LIST.replace("8,", "8, // was 7, don't ask"), TRIO),
    score("scores with smart quotes", re.sub(r'"([^"\n]*)"', "“\\1”", LIST), TRIO),
    score("scores with fullwidth marks", LIST.replace('": ', '"：').replace(",\n", "，\n"), TRIO),
    score("reason with quotes", LIST.replace("a second object", 'a "second" object'), [but(GOOD, reason='Adds a "second" object and a causal question.'), POOR, FAIR]),
    score("reason with quoted end", LIST.replace("causal question.", 'causal "why".'), [but(GOOD, reason='Adds a second object and a causal "why".'), POOR, FAIR]),
    score("reason with line feed", LIST.replace("object and", "object\nand"), [but(GOOD, reason="Adds a second object\nand a causal question."), POOR, FAIR]),
    score("reason with apostrophe in python", repr(TRIO).replace("The same", "It's the same"), [GOOD, but(POOR, reason="It's the same question in other words."), FAIR]),
    score("reason in Chinese", dumps([but(GOOD, reason="增加了“第二个”物体：更难，需要看图。")]), [but(GOOD, reason="增加了“第二个”物体：更难，需要看图。")]),
    score("scores missing the last bracket", LIST[:-1], TRIO),
    score("scores with a mark at the front", "\ufeff" + LIST.replace("\n", "\r\n"), TRIO),
    score("scores, last line an ellipsis", LIST[:-2] + ",\n...\n]", TRIO, None),
]  # fmt: skip


def given(name: str, raw_score: str, *values: float | None) -> Case:
    """The second score written as RAW_SCORE; None stands for nothing trusted."""
    accepted = (None if value is None else [GOOD, but(POOR, score=value), FAIR] for value in values)
    return score(name, LIST.replace('"score": 2', f'"score": {raw_score}'), *accepted)


def said(name: str, raw_word: str, *words: str | None) -> Case:
    """The first verdict written as RAW_WORD."""
    accepted = (None if word is None else [but(GOOD, improved=word), POOR, FAIR] for word in words)
    return score(name, LIST.replace('"improved": "yes"', f'"improved": {raw_word}', 1), *accepted)


NUMBERS = [
    given("score in quotes", '"2"', 2),
    given("score with a decimal", "2.0", 2),
    given("score of ten", '"2/10"', 2),
    given("score of ten, bare", "2/10", 2),
    given("score out of ten", '"2 out of 10"', 2),
    given("score with spaces", '" 2 "', 2),
    given("half a score of ten", '"2.5 / 10"', 2.5),
    given("score with its name", '"Score: 2"', 2, None),
    given("score with points", '"2 points"', 2, None),
    given("score in fullwidth digits", '"２"', 2),
    given("score in bare fullwidth digits", "２", 2),
    given("score nought", "0", 0),
    given("score ten", "10", 10),
    given("score with a decimal comma", '"2,5"', 2.5, None),
    given("score as a range", '"2-3"', None),
    given("score as a bare range", "2-3", None),
    given("score of five", '"2/5"', None, 2, 4),
    given("score in per cent", '"20%"', None, 2),
    given("score in words", '"two"', 2, None),
    given("score is a mark", '"high"', None),
    given("score is null", "null", None),
    given("score is NaN", "NaN", None),
    given("score is Infinity", "Infinity", None),
    given("score is true", "true", None),
    given("score is empty", '""', None),
    given("score beyond ten", "55", None),
    given("score below nought", "-3", None),
    given("score in a list", "[2]", None, 2),
    given("score with an arrow", '"3 -> 2"', None),
    given("score of eleven", '"11/10"', None),
]
VERDICTS = [
    said("verdict true", "true", "yes"),
    said("verdict True", "True", "yes"),
    said("verdict false", "false", "no"),
    said("verdict in capitals", '"YES"', "yes"),
    said("verdict with a capital and a dot", '"Yes."', "yes"),
    said("verdict with spaces", '" yes "', "yes"),
    said("verdict true in quotes", '"true"', "yes"),
    said("verdict in Chinese", '"是"', "yes", None),
    said("verdict with a clause", '"yes, clearly"', "yes", None),
    said("verdict y", '"y"', "yes", None),
    said("verdict 1", "1", "yes", None),
    said("verdict with a slash", '"yes/no"', None),
    said("verdict maybe", '"maybe"', None),
    said("verdict null", "null", None),
    said("verdict empty", '""', None),
    said("verdict partly", '"partially"', None),
    said("verdict not improved", '"not improved"', "no", None),
]
MISSING = [
    score("one without a score", dumps([GOOD, without(POOR, "score"), FAIR]), None),
    score("one without a verdict", dumps([GOOD, without(POOR, "improved"), FAIR]), None),
    score("one without a reason", dumps([GOOD, without(POOR, "reason"), FAIR]), None, [GOOD, but(POOR, reason=""), FAIR]),
    score("all without a reason", dumps([without(item, "reason") for item in TRIO]), None, [but(item, reason="") for item in TRIO]),
    score("last without a score", dumps([GOOD, POOR, without(FAIR, "score")]), None),
    score("one is a string", dumps([GOOD, "same as above", FAIR]), None),
    score("one is null", dumps([GOOD, None, FAIR]), None),
    score("one is empty", dumps([GOOD, {}, FAIR]), None),
    score("one cut amid the list", LINE.replace('"score": 2, "reason": "The same question in other words."}', '"sco'), None),
    score("a bad one in the middle, cut at the end", dumps([GOOD, without(POOR, "score"), FAIR, GOOD])[:-20], None),
    score("score keys in capitals", dumps([{key.capitalize(): value for key, value in item.items()} for item in TRIO]), TRIO),
    score("reasons for reason", LIST.replace('"reason"', '"reasons"'), TRIO, None),
    score("reason is a list", dumps([but(GOOD, reason=["Adds an object.", "Asks why."])]), [but(GOOD, reason="Adds an object. Asks why.")], None),
    score("extra fields beside scores", dumps([{"id": i, "question": "Why?", **item} for i, item in enumerate(TRIO)]), TRIO),
    score("reason with braces", dumps([but(GOOD, reason='Uses {"score": 3} and [1] as "examples".')]), [but(GOOD, reason='Uses {"score": 3} and [1] as "examples".')]),
]  # fmt: skip
CASES: list[Case] = WRAPPED + SPOILED + NUMBERS + VERDICTS + MISSING
