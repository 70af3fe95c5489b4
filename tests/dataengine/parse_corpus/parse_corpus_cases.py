# ruff: noqa: E501 - one case a line reads best as a table
"""A corpus of spoiled replies with the value each must give: written by hand, or spoiled from known truth.

`expected` None means that nothing may be returned. Read by the tests and by `compare.py`.
"""

import json
import random
import re
from typing import NamedTuple

from parse_corpus_spoilers import EXACT, SPOILERS  # the tests put this folder on the path
from support import mock_teacher


class Case(NamedTuple):
    category: str
    kind: str  # "qas" or "score"
    raw: str
    expected: list | None


def item(question="What is left?", answer="The dog.", **changes):
    return {
        "objects": ["dog"], "skills": ["OCR"], "format": "open-ended", "question": question,
        "steps": [{"manipulation": "grounding_1(dog)->bbx_1", "description": "Find the dog."}], "answer": answer, **changes,
    }  # fmt: skip


def score(improved="yes", value=8, reason="Adds a step."):
    return {"improved": improved, "score": value, "reason": reason}


def with_answer(literal):
    """One item whose answer is written exactly so."""
    return json.dumps([item(answer="@@")], ensure_ascii=False).replace('"@@"', literal)


J = json.dumps
DRAFT, FINAL = J([item(answer="draft text")]), J([item(answer="final text")])
IS_FINAL = [item(answer="final text")]

ANSWERS = {  # what is written after "answer": -> the string meant, None when nobody can know
    r'"$\frac{1}{2} \times \theta = \alpha \% \beta$"': r"$\frac{1}{2} \times \theta = \alpha \% \beta$",
    r'"$\\frac{1}{2}$"': r"$\frac{1}{2}$", r'"$\nu \neq \rho$\nNew line"': "$\\nu \\neq \\rho$\nNew line",
    r'"a\tto b\nnew"': "a\tto b\nnew", r'"C:\temp\new"': None, r'"C:\\temp"': "C:\\temp",
    "9.00": "9.00", "3": "3", "-0.50": "-0.50", "9.": None, "true": None, "null": None, "NaN": None, "[0.1, 0.5]": None,
    '["One.", "Two."]': "One. Two.", '{"short": "Two.", "long": "Two dogs."}': "Two. Two dogs.", '{"text": "Two"}': "Two",
    '[]': None, '{}': None, '[["a"]]': None, '"..."': None, '""': None, '"<answer>"': None,
    '"He said "hi", then "bye"."': 'He said "hi", then "bye".', '"The sign says "STOP""': 'The sign says "STOP"',
    '""STOP" is on it"': '"STOP" is on it', '"The sign says "STOP"': None, '"The TV is 55" wide."': 'The TV is 55" wide.',
    '"Use {"a"} and ["b"]."': 'Use {"a"} and ["b"].', '"one " + "two"': None, '"one" "two"': None,
    '"Code:\n```python\nprint("x")\n```\nend"': 'Code:\n```python\nprint("x")\n```\nend',
    J('Code:\n```json\n{"a": 1}\n```'): 'Code:\n```json\n{"a": 1}\n```', '"a // b # c /* d */"': "a // b # c /* d */",
    '"see https://a.b//c"': "see https://a.b//c", '"Tom &amp; Jerry"': "Tom &amp; Jerry", r'"it\'s \(x\)"': r"it's \(x\)",
    r'"\ud83d\ude00"': "😀", r'"\ud83d"': None, r'"\u4e2d文"': "中文", '"a\tb\nc"': "a\tb\nc", '"x", "answer": "y"': None,
    '"x", "answers": "y"': None, '“a “b” c”': "a “b” c", "'it's the dogs' bowl'": "it's the dogs' bowl",
    '"<think> is a tag </think>"': "<think> is a tag </think>", '"他说“你好”，走了"': "他说“你好”，走了", '"cut off': None,
    '"""two "quoted"\nlines"""': 'two "quoted"\nlines', "none": None, '"none"': "none",
}  # fmt: skip

REPLIES = {  # whole replies that no spoiler makes
    "refusal": ("I'm sorry, I can't help with that.", None), "empty": ("", None), "blank": ("\n \t", None),
    "empty list": ("[]", None), "html": ("<html><body>502 Bad Gateway</body></html>", None), "prose": ("No items [1].", None),
    "error object": ('{"error": {"message": "rate limit"}}', None), "yaml": ("- question: x\n  answer: y", None),
    "draft then final": (f"Draft:\n```json\n{DRAFT}\n```\nFinal:\n```json\n{FINAL}\n```", IS_FINAL),
    "correction": (f"First attempt:\n{DRAFT}\n\nWait, that is wrong. Corrected:\n{FINAL}", IS_FINAL),
    "final cut": (f"Draft:\n{DRAFT}\nFinal:\n{FINAL[:-40]}", None),
    "correction cut": (f"```json\n{DRAFT}\n```\nActually, fixed:\n```json\n{FINAL[:-40]}", None),
    "final missing": (f"{DRAFT}\n\nFinal version:\n", None), "taken back": (f"{DRAFT}\nPlease ignore the above.", None),
    "two versions": (f"{DRAFT}\n{FINAL}", None), "same twice": (f"{FINAL}\n\n{FINAL}", IS_FINAL),
    "headless thinking": (f"so maybe {DRAFT}\n</think>\n{FINAL}", IS_FINAL),
    "thinking": (f"<thinking>{DRAFT}</thinking>{FINAL}", IS_FINAL), "unclosed": (f"<think>{DRAFT}", None),
    "thinking in vain": (f"<think>{DRAFT}</think>", None),
    "tag in thinking": (f"<think>close with </think> {DRAFT} ok</think>{FINAL}", IS_FINAL),
    "channels": (f"<|channel|>analysis<|message|>{DRAFT}<|channel|>final<|message|>{FINAL}", IS_FINAL),
    "example of a refusal": (f"I can't see it. The template:\n{DRAFT}", None),
    "echo": (f"Original:\n{J([item('Old?')])}\nEvolved:\n{FINAL}", IS_FINAL),
    "echo by key": (J({"original": [item("Old?")], "evolved": IS_FINAL}), IS_FINAL),
    "pairs": (J([{"original": item("Old?"), "rewritten": IS_FINAL[0]}]), IS_FINAL),
    "wrappers": (J({"a": [item("Old?")], "b": IS_FINAL}), None), "numbered keys": (J({"1": item("A?"), "2": item("B?")}), [item("A?"), item("B?")]),
    "numbered list": (f"1. {J(item('A?'))}\n2. {J(item('B?'))}", [item("A?"), item("B?")]),
    "tool call": (J({"name": "submit", "arguments": J({"samples": IS_FINAL})}), IS_FINAL),
    "strings": (J([J(IS_FINAL[0])]), IS_FINAL), "entities": (FINAL.replace('"', "&quot;"), IS_FINAL),
    "ellipsis": (FINAL[:-1] + ", ...]", IS_FINAL), "comment": ("[ // see https://x.y 'it\n" + FINAL[1:], IS_FINAL),
    "answer tag": (f"<answer>{FINAL}</answer>", IS_FINAL), "bom": ("\ufeff" + FINAL, IS_FINAL), "crlf": (J(IS_FINAL, indent=1).replace("\n", "\r\n"), IS_FINAL),
    "brackets in prose": (f"As in [1] and {{x: 1}}: {FINAL}", IS_FINAL), "python call": (f"items = {IS_FINAL!r}\nprint(items)", IS_FINAL),
    "set of objects": (FINAL.replace('["dog"]', '{"dog", "cat"}', 1), [{**IS_FINAL[0], "objects": ["dog", "cat"]}]),
    "list not closed": (FINAL.replace('["dog"]', '["dog"', 1), IS_FINAL), "item not closed": (J([item("A?")])[:-2] + ", " + FINAL[1:], [item("A?"), *IS_FINAL]),
    "key quote lost": (FINAL.replace('"question"', 'question"'), IS_FINAL), "tuples": (FINAL.replace('["dog"]', '("dog",)', 1), IS_FINAL),
    "value quote lost": (J([item("A?")]).replace('open-ended"', "open-ended")[:-1] + ", " + FINAL[1:], IS_FINAL),
    "steps as strings": (J([item(steps=["look"]), IS_FINAL[0]]), IS_FINAL), "objects as string": (J([item(objects="dog")]), None),
    "steps of half": (J([item(steps=[{"manipulation": "x"}])]), None), "number as format": (J([item(format=3)]), None),
    "cut in last brace": (J([*IS_FINAL, item("B?")])[:-2], IS_FINAL), "cut before bracket": (J([*IS_FINAL, item("B?")])[:-1], [*IS_FINAL, item("B?")]),
    "closing words": (f"Here they are, based on the given input:\n{FINAL}\nWant a harder final version?", IS_FINAL),
}  # fmt: skip

SCORES = {
    '"8"': 8, '"8/10"': 8, '"8 out of 10"': 8, '"8.5"': 8.5, "8/10": 8, "1e1": 10, "0": 0, "10": 10, "7.25": 7.25,
    "11": None, "-1": None, "NaN": None, "Infinity": None, "null": None, "true": None, '"high"': None, '"8/100"': None,
    '"7-8"': None, '"eight"': None, '"8,5"': None, "05": None, "8.": None, "8 8": None, '{"value": 8}': None, "[8]": None,
}  # fmt: skip
VERDICTS = {
    "true": "yes", "False": "no", '"Yes"': "yes", '"YES."': "yes", '" no "': "no", "yes": "yes", '"**No**"': "no",
    '"partially"': None, "null": None, "1": None, '"maybe yes"': None, '"yes/no"': None, '""': None,
}  # fmt: skip
ONE, TWO = score(), score("no", 2, "Nothing new.")
JUDGEMENTS = {
    "one bad": (J([ONE, score(value=12)]), None), "no reason": (J([ONE, {"improved": "yes", "score": 3}]), None),
    "cut": (J([ONE, TWO, ONE])[:-15], [ONE, TWO]), "cut number": ('[{"improved": "yes", "reason": "r", "score": 9.', None),
    "cut in fence": (f"```json\n{J([ONE, TWO])[:-14]}\n```", [ONE]), "broken in the middle": (J([ONE, ONE, TWO]).replace(": 8", ": 8 8", 1), None),
    "lines": (f"{J(ONE)}\n{J(TWO)}", [ONE, TWO]), "samples": (f"Sample 1:\n{J([ONE])}\nSample 2:\n{J([TWO])}", [ONE, TWO]),
    "revised": (f"{J([ONE])}\nWait, too high. Final:\n{J([TWO])}", [TWO]), "two judges": (f"{J([ONE])}\nAnother view:\n{J([TWO])}", None),
    "numbered": (J({"sample_1": ONE, "sample_2": TWO}), [ONE, TWO]), "wrapped each": (J([{"evaluation": ONE}, {"evaluation": TWO}]), [ONE, TWO]),
    "first lost": ('"improved": "yes", "score": 3, "reason": "r"}, ' + J([TWO])[1:], None), "ellipsis": (J([ONE])[:-1] + ", ...]", None),
    "form first": ('Format: {"improved": "yes/no", "score": 1-10, "reason": "..."}\n' + J([ONE]), [ONE]),
    "example first": (f"For example: {J([ONE])}\nScores:\n{J([TWO])}", [TWO]), "plural": (J([ONE]).replace("reason", "reasons"), [ONE]),
    "unclosed think": (f"<think>{J([ONE])}", None), "think": (f"<think>{J([ONE])}</think>{J([TWO])}", [TWO]),
}  # fmt: skip


def by_hand():
    for literal, meant in ANSWERS.items():
        yield Case("answers", "qas", with_answer(literal), None if meant is None else [item(answer=meant)])
    for name, (raw, expected) in REPLIES.items():
        yield Case(f"reply: {name}", "qas", raw, expected)
    for literal, meant in SCORES.items():
        raw = J([score(value="@@")]).replace('"@@"', literal)
        yield Case("score numbers", "score", raw, None if meant is None else [score(value=meant)])
    for literal, meant in VERDICTS.items():
        raw = J([score("@@")]).replace('"@@"', literal)
        yield Case("verdicts", "score", raw, None if meant is None else [score(meant)])
    for name, (raw, expected) in JUDGEMENTS.items():
        yield Case(f"judgements: {name}", "score", raw, expected)


def by_spoilers():
    """Exact spoilers of nasty but known content, and the mock teacher's kinds whose truth is known."""
    lossless = [
        "trailing_commas",
        "missing_commas",
        "bare_keys",
        "bold_keys",
        "upper_keys",
        "json_lines",
        "blocks",
        "escaped",
        "full_width",
        "raw_newlines",
    ]
    hard = [
        item("Why // here?", 'It\'s "so": {a, b}, [1].\n```json\n[]\n```'), item("于是？", "他说“你好”，然后 https://x.y//z #1", objects=[]),
    ]  # fmt: skip
    judged = [score(reason='See "a", then\nhttps://x.y'), score("no", 0, "它是，“坏”的")]
    for name in (*EXACT, *lossless):
        yield Case(f"spoiler: {name}", "qas", SPOILERS[name](hard, 0.5), hard)
        yield Case(f"spoiler: {name}", "score", SPOILERS[name](judged, 0.5), judged)
    kinds = ["fenced", "fenced_nolang", "trailing_comma", "line_comment", "block_comment", "smart_quotes", "prose", "think", "python_literal", "missing_comma", "chinese_punct", "two_blocks", "wrapped_object", "answers_key", "list_answer"]  # fmt: skip
    for number, kind in enumerate(kinds):
        for count in (1, 3):
            rng = mock_teacher._Rng(number, count)
            qas, scores = mock_teacher.make_qas(rng, count, 20), mock_teacher.make_scores(rng, count, 0.5)
            yield Case(f"mock: {kind}", "qas", mock_teacher.malform(kind, qas, rng), qas)
            yield Case(f"mock: {kind}", "score", mock_teacher.malform(kind, scores, rng), scores)


def cases():
    return [*by_hand(), *by_spoilers()]


def plain_items(rng: random.Random, count: int):
    """Items without quotes or brackets in their text, so that a damaged mark is a mark of the structure."""
    words = ["the", "red", "dog", "near", "two", "boxes", "is", "left", "of", "it", "a's"]

    def phrase():
        return " ".join(rng.choice(words) for _ in range(4))

    return [
        item(
            f"Q{place} {phrase()}",
            phrase(),
            objects=[phrase()],
            steps=[{"manipulation": phrase(), "description": phrase()}],
        )
        for place in range(count)
    ]


def damage(raw: str, rng: random.Random) -> str:
    """Delete or double one structural mark."""
    places = [found.start() for found in re.finditer(r'[{}\[\],:"]', raw)]
    place = rng.choice(places)
    return raw[:place] + raw[place] * rng.choice([0, 0, 2]) + raw[place + 1 :]
