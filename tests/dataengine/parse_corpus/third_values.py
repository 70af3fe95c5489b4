# ruff: noqa: E501 - one case a line reads best as a table
"""Third corpus: content that must survive, odd shapes of values, and items that lack something."""

from __future__ import annotations

from third_items import BUS, CUP, DOG, THREE, TWO, Case, but, dumps, qas, step, without

LIST = dumps(TWO)
PYTHON = "Use this:\n```python\nx = {'a': [1, 2]}\nprint(x)  # done\n```\nIt prints the dict."
EXAMPLE = 'A reply looks like {"answer": "B", "steps": []} or [{"question": "?"}].'
KEPT = {
    "URL": "Visit http://a.example/x//y#z and https://b.example.",
    "code fence": PYTHON,
    "json fence": 'Return\n```json\n[{"answer": "x"}]\n```\nand nothing else.',
    "JSON example": EXAMPLE,
    "closing brackets": 'The string ends in "}] and then }, { begins.',
    "the words final answer": "Step 1: look. Final answer: C. Here is the corrected list: [1, 2]",
    "LaTeX": r"\frac{1}{2} + \theta \times \beta \neq \nu, $\text{area} = \rho r^2$, \right)",
    "Windows path": r"C:\Users\new\table\file.txt",
    "regular expression": r"^\d+\s*[\"']\w\b$",
    "Chinese": "图中的“小狗”躺在长椅上，旁边写着「出口」：请看；还有（树）。",
    "Japanese": "犬は「ベンチ」の上にいます。理由は、木陰だからです。",
    "Arabic": "الكلب مستلقٍ على المقعد، لأن الظل هناك؟ نعم!",
    "Hebrew with digits": "הכלב שוכב על ספסל מס' 21 (בצל).",
    "emoji": "A happy dog 🐶👍🏽 at 3 o'clock 👨‍👩‍👧.",
    "HTML": '<p class="x">Tom &amp; Jerry &lt;3</p><br/>',
    "zero-width joiner": "می\u200cخواهم",
    "table": "| a | b |\n|---|---|\n| 1 | 2 |",
    "ellipsis": "The dog... waits… and then sleeps.",
    "placeholder-like": "The form says <name> and <date>, and ... below.",
    "SQL": "SELECT * FROM t -- all\nWHERE a = 'x';",
    "percent and braces": "{{ name }} scored 50% {of [100]}",
}
KEEPS = [
    case
    for name, text in KEPT.items()
    for case in (
        qas(f"{name} kept", dumps([but(DOG, answer=text), BUS]), [but(DOG, answer=text), BUS]),
        qas(
            f"{name} kept in a spoiled reply",
            "Sure:\n```json\n" + dumps([but(DOG, answer=text), BUS])[:-2] + ",\n]\n```\nDone.",
            [but(DOG, answer=text), BUS],
        ),
    )
]


def backslash(name: str, raw: str, *texts: str) -> Case:
    """A backslash that nobody escaped."""
    return qas(name, LIST.replace(DOG["answer"], raw), *([but(DOG, answer=text), BUS] for text in texts))


BACKSLASHES = [
    backslash("frac not escaped", r"It is \frac{1}{2} of the bench.", r"It is \frac{1}{2} of the bench."),
    backslash("alpha not escaped", r"The angle \alpha is 30.", r"The angle \alpha is 30."),
    backslash("times not escaped", r"2 \times 3 = 6", r"2 \times 3 = 6"),
    backslash("theta in dollars", r"$\theta = 90^\circ$", r"$\theta = 90^\circ$"),
    backslash("beta and rho", r"$\beta + \rho$", r"$\beta + \rho$"),
    backslash("brackets of LaTeX", r"\(x^2\) and \[y\]", r"\(x^2\) and \[y\]"),
    backslash("path not escaped", r"C:\Images\dog.png", r"C:\Images\dog.png"),
    backslash("digits class not escaped", r"Use \d+ and \w.", r"Use \d+ and \w."),
    backslash("line feed is a line feed", r"First.\nSecond.", "First.\nSecond."),
    backslash("tab is a tab", r"Name\tAge", "Name\tAge"),
    backslash("properly escaped LaTeX", r"\\frac{1}{2} \\times 3", r"\frac{1}{2} \times 3"),
]
SLIP = dumps([DOG, without(BUS, "answer"), CUP])
FIELDS = [
    qas("one item without an answer", SLIP, [DOG, CUP]),
    qas("one item without steps", dumps([DOG, without(BUS, "steps"), CUP]), [DOG, CUP]),
    qas("one item without a question", dumps([without(DOG, "question"), BUS]), [BUS]),
    qas("one item without objects", dumps([DOG, without(BUS, "objects")]), [DOG]),
    qas("one item without skills", dumps([DOG, without(BUS, "skills")]), [DOG]),
    qas("one item without a format", dumps([DOG, without(BUS, "format")]), [DOG]),
    qas("one item with a null answer", dumps([DOG, but(BUS, answer=None)]), [DOG]),
    qas("one item with an empty answer", dumps([DOG, but(BUS, answer="")]), [DOG]),
    qas("one item with an empty question", dumps([DOG, but(BUS, question="  ")]), [DOG]),
    qas("one item is a string", dumps([DOG, "and so on", BUS]), TWO),
    qas("one item is null", dumps([DOG, None, BUS]), TWO),
    qas("one item is empty", dumps([DOG, {}, BUS]), TWO),
    qas("one item without a field, single quotes", repr([DOG, without(BUS, "answer"), CUP]), [DOG, CUP]),
    qas("one item without a field, trailing comma", SLIP[:-2] + ",\n]", [DOG, CUP]),
    qas("all without steps", dumps([without(item, "steps") for item in THREE]), None),
    qas("all without answers", dumps([without(item, "answer") for item in THREE]), None),
    qas("extra fields", dumps([{"id": 3, **DOG, "image_position": "top left", "note": {"a": [1]}}]), [DOG]),
    qas("fields in another order", dumps([dict(reversed(DOG.items()))]), [DOG]),
]
SHAPES = [
    qas("answer is a number", dumps([but(CUP, answer=3)]), [CUP]),
    qas("answer is a decimal", dumps([but(CUP, answer=2.5)]), [but(CUP, answer="2.5")]),
    qas("price keeps its noughts", dumps([but(CUP, answer=0)]).replace(": 0\n", ": 9.00\n"), [but(CUP, answer="9.00")], [but(CUP, answer="9.0")], [but(CUP, answer="9")]),
    qas("answer is a long number", dumps([but(CUP, answer=12345678901234567890123)]), [but(CUP, answer="12345678901234567890123")]),
    qas("answer is true", dumps([but(CUP, answer=True)]), [but(CUP, answer="true")], [but(CUP, answer="True")], [but(CUP, answer="yes")], [but(CUP, answer="Yes")], None),
    qas("answer is a list", dumps([but(DOG, answer=["It lies", "on a bench."])]), [but(DOG, answer="It lies on a bench.")]),
    qas("answer is an object", dumps([but(DOG, answer={"what": "On a bench.", "why": "Shade."})]), [but(DOG, answer="On a bench. Shade.")]),
    qas("answers for answer", dumps(TWO).replace('"answer":', '"answers":'), TWO),
    qas("answers is a list of one", dumps([{**without(BUS, "answer"), "answers": ["B. 21"]}]), [BUS]),
    qas("objects empty", dumps([CUP]), [CUP]),
    qas("objects null", dumps([but(CUP, objects=None)]), [CUP], None),
    qas("objects is a word", dumps([but(DOG, objects="dog")]), [but(DOG, objects=["dog"])], None),
    qas("objects in one string", dumps([but(DOG, objects="dog, bench")]), [DOG], [but(DOG, objects=["dog, bench"])], None),
    qas("skills with commas", dumps([but(DOG, skills=", ".join(DOG["skills"]))]), [DOG], [but(DOG, skills=[", ".join(DOG["skills"])])], None),
    qas("steps empty", dumps([but(DOG, steps=[])]), [but(DOG, steps=[])], None),
    qas("steps are strings", dumps([but(DOG, steps=["Find the dog.", "Look below."])]),
        [but(DOG, steps=["Find the dog.", "Look below."])], None,
        [but(DOG, steps=[{"manipulation": "", "description": "Find the dog."}, {"manipulation": "", "description": "Look below."}])],
        [but(DOG, steps=[{"description": "Find the dog."}, {"description": "Look below."}])]),
    qas("steps is one object", dumps([but(BUS, steps=BUS["steps"][0])]), [BUS], None),
    qas("steps is a string", dumps([but(BUS, steps="Read the display.")]), [but(BUS, steps=["Read the display."])], None,
        [but(BUS, steps=[step("", "Read the display.")])], [but(BUS, steps=[{"description": "Read the display."}])]),
    qas("steps is JSON in a string", dumps([but(BUS, steps=dumps(BUS["steps"], None))]), [BUS], None),
    qas("keys in capitals", dumps([{key.upper(): value for key, value in BUS.items()}]), [BUS]),
    qas("keys with a capital", dumps([{key.capitalize(): value for key, value in BUS.items()}]), [BUS]),
    qas("keys with spaces", dumps([{f" {key} ": value for key, value in BUS.items()}]), [BUS]),
    qas("keys in bold", dumps([{f"**{key}**": value for key, value in BUS.items()}]), [BUS], None),
    qas("singular keys", dumps([{key.rstrip("s"): value for key, value in BUS.items()}]), [BUS], None),
    qas("same key twice, same value", LIST.replace('"format": "multi_choice",', '"format": "multi_choice",\n"format": "multi_choice",'), TWO),
    qas("same key twice, other value", LIST.replace('"answer": "B. 21"', '"answer": "A. 12",\n"answer": "B. 21"'), TWO, [DOG], None),
    qas("question with options in a list", dumps([but(BUS, options=["12", "21"])]), [BUS]),
]  # fmt: skip
CASES: list[Case] = KEEPS + BACKSLASHES + FIELDS + SHAPES
