# ruff: noqa: E501 - one case a line reads best as a table
"""Fifth corpus: what a review and fresh replies brought up. Keys written twice, lists without brackets, retractions."""

from __future__ import annotations

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
CASES: list[Case] = TWICE


def cases() -> list[Case]:
    return CASES
