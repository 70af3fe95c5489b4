# ruff: noqa: E501 - one case a line reads best as a table
"""Fifth corpus: what a review and fresh replies brought up. Keys written twice, lists without brackets, retractions."""

from __future__ import annotations

from fifth_fresh import FRESH
from fifth_remarks import HARMLESS, HARMLESS_OF_BOTH, TAKEN_BACK, TAKEN_BACK_OF_BOTH
from third_items import BUS, CUP, DOG, GOOD, POOR, TWO, Case, but, dumps, qas, score

LINE, PAIR = dumps(TWO, None), dumps([GOOD, POOR], None)
COMPACT = PAIR[:-2] + ",}]"  # for the reader that repairs


def twice(name: str, old: str, new: str, *accepted: object) -> list[Case]:
    """OLD replaced by NEW in the first judgement, in a plain and in a spoiled list; by default nothing is trusted."""
    values = accepted or (None,)
    return [
        score(f"{name}{how}", raw.replace(old, new, 1), *values)  # type: ignore[arg-type]
        for how, raw in (("", PAIR), (", trailing comma", COMPACT))
    ]


TWICE = [
    *twice("two ids", "{", '{"id": "p1", "id": "p2", '),
    *twice("two ids in two cases", "{", '{"id": "p1", "ID": "p2", '),
    *twice("one id twice", "{", '{"id": "p1", "Id": "p1", ', [GOOD, POOR]),
    *twice("two verdicts in two cases", "{", '{"Improved": "no", '),
    *twice("two verdicts", "{", '{"improved": "no", '),
    *twice("two scores in two cases", '"score"', '"Score": 7, "score"'),
    *twice("one score twice", '"score"', '"SCORE": 8, "score"', [GOOD, POOR]),
    *twice("two reasons", '"reason"', '"reason": "None.", "reason"'),
    qas("two parents", LINE.replace('"objects"', '"parent": "q1", "parent": "q2", "objects"', 1), [BUS]),
    qas("two parents, trailing comma", LINE.replace('"objects"', '"parent": "q1", "parent": "q2", "objects"', 1)[:-1] + ",]", [BUS]),
    qas("two parents in two cases", LINE.replace('"objects"', '"parent": "q1", "Parent": "q2", "objects"', 1), [BUS]),
    qas("one parent twice", LINE.replace('"objects"', '"parent": "q1", "Parent": "q1", "objects"', 1), TWO),
    qas("two answers in two cases", LINE.replace('"answer"', '"Answer": "6", "answer"', 1), [BUS]),
    qas("two questions in two cases", LINE.replace('"question"', '"QUESTION": "What?", "question"', 1), [BUS]),
    qas("two descriptions in a step", LINE.replace('"description"', '"description": "Look.", "description"', 1), [BUS]),
    qas("two descriptions in encoded steps", dumps([but(BUS, steps='[{"manipulation": "m", "description": "a", "description": "b"}]'), DOG]), [DOG]),
    qas("object and objects", LINE.replace('"objects"', '"object": ["cat"], "objects"', 1), [BUS]),
    qas("object and objects, the same", LINE.replace('"objects"', '"object": ["dog", "bench"], "objects"', 1), TWO),
    qas("a note twice", LINE.replace('"objects"', '"note": 1, "note": 2, "objects"', 1), TWO),
    qas("a key of a text twice", dumps([but(CUP, answer='{"id": 1, "id": 2}')]), [but(CUP, answer='{"id": 1, "id": 2}')]),
]  # fmt: skip
ANSWER = f'"{DOG["answer"]}"'


def answered(name: str, raw: str, text: str | None) -> Case:
    """The first answer written as RAW; None stands for an item that is dropped."""
    return qas(name, LINE.replace(ANSWER, raw), [*([but(DOG, answer=text)] if text else []), BUS])


def reasoned(name: str, raw: str, text: str | None) -> Case:
    return score(name, PAIR.replace(f'"{GOOD["reason"]}"', raw), [but(GOOD, reason=text), POOR] if text else None)


UNBRACKETED = [
    answered("list without brackets", '"one", "two"', None),
    answered("list without brackets or spaces", '"one","two"', None),
    answered("list of three without brackets", '"one", "two", "three"', None),
    answered("list over lines without brackets", '"one",\n    "two"', None),
    answered("list with semicolons", '"one"; "two"', None),
    answered("list in full width", '"一"，"二"', None),
    answered("list in Chinese commas", '"一"、"二"', None),
    answered("list in typographic quotes", "“one”, “two”", None),
    answered("list in mixed quotes", '“one", "two"', None),
    answered("list in German quotes", "„one“, „two“", None),
    answered("list in single quotes", "'one', 'two'", None),
    answered("list of sentences", '"It lies on a bench.", "The shade falls there."', None),
    answered("list of numbers in quotes", '"5", "6"', None),
    answered("a number and a lost quote", '"5", 6"', None),
    answered("a key without its value", '"A", "explanation"', None),
    answered("two strings or", '"one" or "two"', None),
    answered("two strings and", '"one" and "two"', None),
    answered("two strings and a slash", '"one" / "two"', None),
    answered("quotes in prose", '"he said "a", "b" and left"', 'he said "a", "b" and left'),
    answered("quotes in prose at the end", '"The signs read "a", "b" and "c"."', 'The signs read "a", "b" and "c".'),
    answered("quotes in prose with slash", '"Either "a" / "b" or "c" fits."', 'Either "a" / "b" or "c" fits.'),
    answered("typographic quotes in prose", "“He said “a”, “b” and left”", "He said “a”, “b” and left"),
    answered("typographic quotes in straight ones", '"He said “a”, “b”."', "He said “a”, “b”."),
    answered("escaped quotes", r'"one\", \"two"', 'one", "two'),
    answered("single quotes in prose", "'he said 'a', 'b' and left'", "he said 'a', 'b' and left"),
    answered("Chinese quotes in prose", '"他说"你好"，"再见"然后走了"', '他说"你好"，"再见"然后走了'),
    answered("inches in prose", '"a 5" by 7" board"', 'a 5" by 7" board'),
    qas("what looks like a comment after an inner quote", dumps([but(DOG, answer="a “quoted” # heading"), BUS]).replace('"', "”"), [but(DOG, answer="a “quoted” # heading"), BUS]),
    reasoned("reason as a list without brackets", '"Adds an object.", "Asks why."', None),
    reasoned("reason with quotes in prose", '"It asks "why", "how" and more."', 'It asks "why", "how" and more.'),
    qas("question as a list without brackets", LINE.replace(f'"{DOG["question"]}"', '"What is it?", "Why?"'), [BUS]),
    qas("list without brackets, trailing comma", LINE.replace(ANSWER, '"one", "two"')[:-1] + ",]", [BUS]),
    qas("list without brackets, fenced prose", "Sure:\n```json\n" + LINE.replace(ANSWER, '"one", "two"') + "\n```", [BUS]),
]  # fmt: skip
MADE = {"score": (score, [GOOD, POOR]), "qas": (qas, TWO)}
REMARKS = [
    make(f"{what}: {remark}", raw, None if what == "taken back" else value)
    for what, remarks, common in (
        ("taken back", TAKEN_BACK, TAKEN_BACK_OF_BOTH),
        ("harmless", HARMLESS, HARMLESS_OF_BOTH),
    )
    for kind, (make, value) in MADE.items()
    for place, remark in enumerate([*remarks[kind], *common])
    for raw in [f"```json\n{dumps(value)}\n```\n\n{remark}" if place % 2 else f"{dumps(value, None)}\n{remark}"]
]
CASES: list[Case] = TWICE + UNBRACKETED + REMARKS + FRESH


def cases() -> list[Case]:
    return CASES
