# ruff: noqa: E501 - one case a line reads best as a table
"""Third corpus: replies cut off, other notations than JSON, and replies that hold nothing to trust."""

from __future__ import annotations

import json

from third_items import BUS, CUP, DOG, GOOD, PAIR, THREE, TRIO, TWO, Case, but, dumps, qas, score, step

LIST, LINE = dumps(THREE), dumps(THREE, None)
SCORES = dumps(TRIO)
SLIM = [dumps(item, None) for item in THREE]
PRICE = but(CUP, answer="The total of the bill is 9.00 euros.")


def cut(text: str, after: str, add: str = "") -> str:
    """TEXT up to and with the last AFTER, then ADD."""
    return text[: text.rindex(after) + len(after)] + add


CUTS = [
    qas("in the last answer", dumps([DOG, BUS, PRICE]).split(".00")[0], TWO),
    qas("in a number at the end of the only answer", dumps([PRICE]).split(".00")[0] + ".", None),
    qas("in the only answer", dumps([DOG])[:-40], None),
    qas("in a key", cut(LIST, '"ques'), TWO),
    qas("after a key", cut(LIST, '"answer"'), TWO),
    qas("after a colon", cut(LIST, '"answer":'), TWO),
    qas("after the opening quote", cut(LIST, '"answer": "'), TWO),
    qas("after the value's last letter", cut(LIST, '"answer": "3'), TWO),
    qas("after the closing quote", cut(LIST, '"answer": "3"'), TWO, THREE),
    qas("after a comma between fields", cut(LIST, "____ cups on the table.\","), TWO),
    qas("after a comma between items", cut(LIST, '"B. 21"\n    },'), TWO),
    qas("after the last brace", cut(LIST, "}"), THREE),
    qas("in the objects", LIST[: LIST.rindex('"skills"') - 20], TWO),
    qas("in a step", cut(LIST, "Count the"), TWO),
    qas("after a step", cut(LIST, "3.\"\n            }"), TWO),
    qas("in an escape", dumps([DOG, but(BUS, answer='It says "21".')]).split('\\"21')[0] + "\\", [DOG]),
    qas("in a unicode escape", json.dumps([DOG, but(BUS, answer="路21")])[:-12], [DOG]),
    qas("in the first item", LIST[:300], None),
    qas("in the second item", LIST[: LIST.index("Read the display")], [DOG]),
    qas("in a fence", "```json\n" + cut(LIST, "Count the"), TWO),
    qas("in a fence that is closed", "```json\n" + cut(LIST, "Count the") + "\n```", TWO),
    qas("and brackets added by the server", cut(LIST, "There are ____ cu") + '"}]', TWO),
    qas("with an ellipsis", cut(LIST, "There are ____ cu", "..."), TWO),
    qas("with a note", cut(LIST, "Count the", "\n\n[Output truncated: maximum length reached]"), TWO),
    qas("with a question", cut(LIST, "Count the", "\n\nShall I continue?"), TWO),
    qas("of JSON lines", "\n".join(SLIM)[:-30], TWO),
    qas("of objects side by side", "".join(SLIM)[:-30], TWO),
    qas("of a wrapper", dumps({"data": {"items": THREE}})[:-70], TWO),
    qas("of python text", repr(THREE)[:-30], TWO),
    qas("of smart quotes", LIST.replace('"', "”")[:-20], TWO),
    qas("of an item amid the list", LINE.replace(" 21\", \"steps", "").replace('why might it have chosen that place?", ', "why mi}, "), [CUP], None, [BUS, CUP]),
    qas("an answer left open before the next item", LIST.replace('"answer": "B. 21"\n    },', '"answer": "B. 2\n    },'), [DOG, CUP], None),
    qas("all but the bracket, prose after", LIST[:-2] + "\n\nThat is all.", THREE),
    qas("after thoughts", f"<think>Two?</think>\n{cut(LIST, 'Count the')}", TWO),
    score("scores in a reason", cut(SCORES, "Needs the"), PAIR),
    score("scores after a number", SCORES[: SCORES.rindex("6.5") + 1], PAIR),
    score("scores after a whole number field", SCORES[: SCORES.rindex("6.5") + 3], PAIR),
    score("scores in a key", cut(SCORES, '"sco'), PAIR),
    score("scores after a comma", cut(SCORES, "words.\"\n    },"), PAIR),
    score("scores after the last brace", cut(SCORES, "}"), TRIO),
    score("scores in a fence", "```json\n" + cut(SCORES, "Needs the"), PAIR),
    score("the only score", dumps([GOOD])[:-30], None),
    score("scores in yes", cut(SCORES, '"improved": "y'), PAIR),
]  # fmt: skip

PROSE_ITEM = but(BUS, steps=[step("ocr_1(bus)->txt_1", "Read the display of the bus.")])
YAML = """- objects: [bus, sign]
  skills: [OCR Ability]
  format: multi_choice
  question: "Which number does the bus show? A. 12 B. 21 C. 112"
  steps:
    - manipulation: "ocr_1(bus)->txt_1"
      description: "Read the display of the bus."
  answer: "B. 21"
"""
HEADINGS = """### Objects
bus, sign
### Skills
OCR Ability
### Format
multi_choice
### Question
Which number does the bus show? A. 12 B. 21 C. 112
### Steps
1. ocr_1(bus)->txt_1: Read the display of the bus.
### Answer
B. 21
"""
LABELS = """1. **Objects**: bus, sign
   **Skills**: OCR Ability
   **Format**: multi_choice
   **Question**: Which number does the bus show? A. 12 B. 21 C. 112
   **Steps**: ocr_1(bus)->txt_1: Read the display of the bus.
   **Answer**: B. 21
"""
XML = """<items><item><objects><object>bus</object><object>sign</object></objects><skills><skill>OCR Ability</skill></skills>
<format>multi_choice</format><question>Which number does the bus show? A. 12 B. 21 C. 112</question>
<steps><step><manipulation>ocr_1(bus)-&gt;txt_1</manipulation><description>Read the display of the bus.</description></step></steps>
<answer>B. 21</answer></item></items>"""
STEP_FORMS = [
    [PROSE_ITEM],
    None,
    [but(BUS, steps=["ocr_1(bus)->txt_1: Read the display of the bus."])],
    [but(BUS, steps=[{"description": "ocr_1(bus)->txt_1: Read the display of the bus."}])],
    [but(BUS, steps=[{"manipulation": "", "description": "ocr_1(bus)->txt_1: Read the display of the bus."}])],
]
TABLE = "| improved | score | reason |\n|---|---|---|\n" + "".join(
    f"| {s['improved']} | {s['score']} | {s['reason']} |\n" for s in TRIO
)
NOTATIONS = [
    qas("YAML", YAML, [BUS], None),
    qas("YAML in a fence", f"```yaml\n{YAML}```", [BUS], None),
    qas("headings as keys", HEADINGS, *STEP_FORMS),
    qas("labels as keys", LABELS, *STEP_FORMS),
    qas("XML", XML, [BUS], None),
    score("a Markdown table", TABLE, TRIO, None),
    score("labels", "".join(f"improved: {s['improved']}\nscore: {s['score']}\nreason: {s['reason']}\n\n" for s in TRIO), TRIO, None),
    score("numbered labels", "".join(f"{i}. Improved: {s['improved']}, Score: {s['score']}, Reason: {s['reason']}\n" for i, s in enumerate(TRIO, 1)), TRIO, None),
    score("CSV", "improved,score,reason\n" + "".join(f"{s['improved']},{s['score']},\"{s['reason']}\"\n" for s in TRIO), TRIO, None),
    score("YAML scores", "".join(f"- improved: {s['improved']}\n  score: {s['score']}\n  reason: \"{s['reason']}\"\n" for s in TRIO), TRIO, None),
    score("XML scores", "".join(f"<item><improved>{s['improved']}</improved><score>{s['score']}</score><reason>{s['reason']}</reason></item>" for s in TRIO), TRIO, None),
]  # fmt: skip

NOTHING = [
    qas("empty", "", None),
    qas("white space", " \n\t\u3000\n", None),
    qas("refusal", "I'm sorry, but I can't help with that request.", None),
    qas("refusal as JSON", '{"error": {"message": "content filtered", "code": 400}}', None),
    qas("chit-chat", "Great image! What would you like me to do with these {two} samples [first or second]?", None),
    qas("prose answer", "The dog lies on a bench. Question: where? Answer: there.", None),
    qas("empty list", "[]", None, []),
    qas("empty object", "{}", None, []),
    qas("null", "null", None),
    qas("numbers", "[1, 2, 3]", None),
    qas("strings", '["What is this?", "A dog."]', None),
    qas("web page", "<html><head><title>502 Bad Gateway</title></head><body>{}[]</body></html>", None),
    qas("scores for qas", dumps(PAIR), None),
    qas("empty values", dumps([but(DOG, question="", answer="")]), None),
    qas("schema", '{"type": "array", "items": {"type": "object", "properties": {"objects": {"type": "array"}, "skills": {"type": "array"}, "format": {"type": "string"}, "question": {"type": "string"}, "steps": {"type": "array"}, "answer": {"type": "string"}}}}', None),
    qas("only brackets", "[[[{{{]]]}}}", None),
    qas("another task's rows", dumps([{"instruction": "Describe.", "output": "A dog."}]), None),
    qas("question and answer only", dumps([{"question": "What?", "answer": "That."}]), None),
    score("refusal to score", "As an AI model I cannot judge these samples.", None),
    score("empty scores", "[]", None, []),
    score("no text", "", None),
    score("qas for scores", dumps(TWO), None),
    score("prose score", "I would give the first an 8 and the second a 2.", None),
    score("only thought scores", f"<think>{SCORES}</think>", None),
    score("thought never closed", f"<think>Perhaps {SCORES} or lower", None),
    score("only the placeholder of scores", '[{"improved": "yes/no", "score": "1-10", "reason": "..."}]', None),
]  # fmt: skip
CASES: list[Case] = CUTS + NOTATIONS + NOTHING
