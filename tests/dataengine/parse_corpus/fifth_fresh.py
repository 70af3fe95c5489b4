# ruff: noqa: E501 - one case a line reads best as a table
"""Fifth corpus, fresh replies: expected values were written before the parser was run on them."""

from __future__ import annotations

import json

from third_items import BUS, CUP, DOG, FAIR, GOOD, POOR, THREE, TRIO, TWO, Case, but, dumps, qas, score, without

Q, S = dumps(TWO), dumps(TRIO)
IDS = [{"id": f"p{place}", **each} for place, each in enumerate(TRIO, 1)]
ASK = DOG["question"]

WRAPPED = [
    qas("greeting, fence, three remarks", f"Of course! Here are two questions.\n\n```json\n{Q}\n```\n\n- Both need the image.\n- Steps are minimal.\n- Answers are short.", TWO),
    qas("closing question", f"{Q}\n\nWould you like me to make the second question more difficult?", TWO),
    qas("closing offer of changes", f"{Q}\n\nFeel free to change the wording as you see fit.", TWO),
    qas("closing summary of what was changed", f"{Q}\n\nWhat I changed: the first question now asks why; the second was turned into a multiple choice question.", TWO),
    qas("closing remark that answers should be brief", f"{Q}\nAnswers should be brief, so I kept them to one sentence.", TWO),
    qas("closing check list", f"{Q}\n\n✅ format is right\n✅ the answer is in the image\n✅ steps are in order", TWO),
    qas("closing statement about correctness", f"{Q}\n\nI have checked that every answer is correct.", TWO),
    qas("closing remark on what is wrong options", f"{Q}\n\nOptions A and C are wrong but plausible.", TWO),
    qas("second thoughts with a new list", f"{Q}\n\nActually, the second question is too easy. Corrected list:\n{dumps([DOG, CUP])}", [DOG, CUP]),
    qas("second thoughts without a new list", f"{Q}\n\nHold on, the bus shows 112.", None),
    qas("second list cut after a retraction", f"{Q}\n\nCorrected version:\n{Q[:40]}", None),
    qas("XML tags around", f"<output>\n{Q}\n</output>", TWO),
    qas("tool call", json.dumps({"name": "submit", "arguments": {"items": TWO}}), TWO),
    qas("indented by a list in Markdown", "1. Result:\n" + "\n".join("   " + line for line in Q.splitlines()), TWO),
    qas("fence of four ticks", f"````json\n{Q}\n````", TWO),
    qas("fence of tildes", f"~~~json\n{Q}\n~~~", TWO),
    qas("quoted as in Markdown is not sure, or is the value", "\n".join("> " + line for line in Q.splitlines()), TWO, None),
    score("fence and a line on the mean", f"```json\n{S}\n```\nMean score: 5.5", TRIO),
    score("remark that p2 lost by being the same", f"{dumps(IDS)}\n\np2 is not improved because it only rewords its parent.", TRIO),
    score("remark that a score of p1 could not be higher", f"{dumps(IDS)}\n\nThe best is p1, with two new steps.", TRIO),
    score("remark on method", f"{S}\n\nScores were given for reasoning depth, objects and clarity. I did not change any score.", TRIO),
    score("remark: no corrections", f"{S}\n\nCorrections: none.", TRIO),
    score("retraction in a list of remarks", f"{dumps(IDS)}\n\nRemarks:\n- p1 is fine\n- Correction: p2 scores 4", None),
    score("retraction in bold", f"{dumps(IDS)}\n\n**p3 should be \"no\".**", None),
    score("retraction before the end of a fence", f"```json\n{dumps(IDS)}\n// Correction: p1 is 3\n```", TRIO, None),
    score("retraction of the rounding", f"{S}\n\nThe third score should read 6, not 6.5.", None),
    score("retraction, I was too generous", f"{S}\n\nI was too generous with the first.", None),
    score("retraction, take back", f"{S}\n\nI take the last one back.", None),
    score("retraction, wrong order", f"{S}\n\nSorry, I mixed up the first two.", None),
    score("a corrected list follows", f"{S}\n\nCorrection:\n{dumps([GOOD, POOR, but(FAIR, score=6)])}", [GOOD, POOR, but(FAIR, score=6)]),
]  # fmt: skip
STRUCTURE = [
    qas("id in each question", dumps([{"id": 1, **DOG}, {"id": 2, **BUS}]), TWO),
    qas("ids twice in a question", Q.replace('"objects"', '"id": 1, "id": 2, "objects"', 1), TWO),
    qas("steps written twice, the same", Q.replace('"format"', f'"steps": {json.dumps(DOG["steps"])}, "format"', 1), TWO),
    qas("steps written twice, once empty", Q.replace('"format"', '"steps": [], "format"', 1), [BUS]),
    qas("format twice", Q.replace('"format"', '"format": "yes/no", "format"', 1), [BUS]),
    qas("answer and answers differ", Q.replace('"answer"', '"answers": ["It sits."], "answer"', 1), [BUS]),
    qas("skill in capitals twice", Q.replace('"skills"', '"Skills": ["X"], "skills"', 1), [BUS]),
    qas("parents of both", dumps([{"parent": "q1", **DOG}, {"Parent": "q2", **BUS}]), TWO),
    qas("objects lost their brackets", dumps(TWO, None).replace('["dog", "bench"]', '"dog", "bench"'), [BUS]),
    qas("answer lost its brackets in the last item", Q.replace('"B. 21"', '"B. 21", "A. 12"'), [DOG]),
    qas("question with a quoted sign", Q.replace(ASK, 'What does the sign "STOP", or "HALT", mean?'), [but(DOG, question='What does the sign "STOP", or "HALT", mean?'), BUS]),
    qas("answer is a quoted word", Q.replace(DOG["answer"], 'It says "Open".'), [but(DOG, answer='It says "Open".'), BUS]),
    qas("answer begins with a quoted word", Q.replace(DOG["answer"], '"Open" is what it says.'), [but(DOG, answer='"Open" is what it says.'), BUS], [BUS]),
    qas("answer of quoted words and", Q.replace(DOG["answer"], 'Both "in" and "out" are lit.'), [but(DOG, answer='Both "in" and "out" are lit.'), BUS]),
    qas("answer with apostrophes in single quotes", repr([but(DOG, answer="X")]).replace("'X'", "'The dogs' bowl isn't full.'"), [but(DOG, answer="The dogs' bowl isn't full.")], None),
    qas("answer with an inch mark", Q.replace(DOG["answer"], 'A 24" screen'), [but(DOG, answer='A 24" screen'), BUS]),
    qas("answer with a colon and quotes", Q.replace(DOG["answer"], 'The label: "milk", fresh.'), [but(DOG, answer='The label: "milk", fresh.'), BUS]),
    qas("answer with escaped list", Q.replace(DOG["answer"], r'[\"a\", \"b\"]'), [but(DOG, answer='["a", "b"]'), BUS]),
    qas("answer with code", Q.replace(DOG["answer"], r'print(\"a\", \"b\")'), [but(DOG, answer='print("a", "b")'), BUS]),
    qas("comma lost between answer and brace", Q.replace("},\n    {", "}\n    {"), TWO),
    qas("extra brace at the end", Q + "\n}", TWO),
    qas("three in three fences", "\n\n".join(f"```json\n{dumps(each)}\n```" for each in THREE), THREE),
    qas("the first is cut, then all again", f"{Q[:200]}\n\nLet me restart.\n{Q}", TWO),
    score("ids as numbers", dumps([{"id": place, **each} for place, each in enumerate(TRIO)]), TRIO),
    score("id twice with one value", dumps(IDS, None).replace('"id": "p1"', '"id": "p1", "id": "p1"'), TRIO),
    score("id twice with two values", dumps(IDS, None).replace('"id": "p1"', '"id": "p1", "id": "p4"'), None),
    score("id twice in single quotes", repr(IDS).replace("'id': 'p1'", "'id': 'p1', 'ID': 'p4'"), None),
    score("reason lost its brackets", S.replace(f'"{GOOD["reason"]}"', '"Adds an object", "asks why"'), None),
    score("reason with two quoted words", S.replace(GOOD["reason"], 'Replaces "what" / "where" by "why".'), [but(GOOD, reason='Replaces "what" / "where" by "why".'), POOR, FAIR]),
    score("scores twice in one object", S.replace('"score": 8', '"score": 8, "score": 9'), None),
    score("scores twice in two cases", S.replace('"score": 8', '"score": 8, "SCORE": 9'), None),
    score("one score is missing a comma", S.replace('"score": 8,', '"score": 8'), TRIO),
    score("one without a reason", dumps([GOOD, without(POOR, "reason"), FAIR]), None),
    score("cut in the last reason", S[:-40], [GOOD, POOR]),
    score("cut in the first", S[:30], None),
    score("refusal", "I cannot judge these without the image.", None),
    qas("refusal", "I'm sorry, but the image is not attached.", None),
    qas("nothing to add", "[]", None),
    qas("an item without an answer", dumps([DOG, without(BUS, "answer"), CUP]), [DOG, CUP]),
]  # fmt: skip
FRESH: list[Case] = WRAPPED + STRUCTURE
