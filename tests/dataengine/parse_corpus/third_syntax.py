# ruff: noqa: E501 - one case a line reads best as a table
"""Third corpus: JSON spoiled in its grammar, with the meaning still certain."""

from __future__ import annotations

import json
import re

from third_items import BUS, CUP, DOG, THREE, TWO, Case, but, dumps, qas

LIST = dumps(TWO)
LINE = dumps(TWO, None)
URL = but(BUS, answer="See https://example.org/a//b?x=1,2 for the timetable.")
MARKS = but(BUS, answer="It reads /* open */ # 21 // left, {a: 1}, [x], and 5 > 3.")
QUOTED = but(DOG, question='Why is the word “BANK” written twice?', answer="The word ‘bank’ isn’t the shop’s name, it’s a joke: “BANK” of flowers.")  # fmt: skip

COMMAS = [
    qas("trailing comma in the list", LIST[:-2] + ",\n]", TWO),
    qas("trailing commas everywhere", re.sub(r"(?<=[\"}\]])\n(\s*[}\]])", r",\n\1", LIST), TWO),
    qas("trailing comma and a URL", dumps([URL])[:-2] + ",\n]", [URL]),
    qas("missing comma between items", LIST.replace('},\n    {\n        "objects', '}\n    {\n        "objects'), TWO),
    qas("missing comma between fields", LIST.replace('",\n        "question"', '"\n        "question"'), TWO),
    qas("missing comma after a list", LIST.replace('],\n        "answer"', ']\n        "answer"'), TWO),
    qas("missing comma in a list", LIST.replace('"dog",\n', '"dog"\n'), TWO),
    qas("missing comma in a step", LIST.replace('bbx_1",\n', 'bbx_1"\n'), TWO),
    qas("missing comma between steps", LIST.replace("},\n            {", "}\n            {"), TWO),
    qas("all commas at line ends missing", LIST.replace(",\n", "\n"), TWO),
    qas("double commas", LIST.replace(",\n", ",,\n"), TWO),
    qas("leading comma", LIST.replace("[\n    {", "[\n    ,{", 1), TWO),
    qas("semicolons for commas", LIST.replace('",\n        "', '";\n        "'), TWO),
    qas("equals for colon", LIST.replace('": ', '" = '), TWO),
    qas("arrow for colon", LIST.replace('": ', '" => '), TWO, None),
    qas("missing colon", LIST.replace('"format": ', '"format" '), TWO),
]
QUOTES = [
    qas("python repr", repr(THREE), THREE),
    qas("python repr with apostrophes", repr([but(DOG, answer="The dog's owner isn't in the image.")]),
        [but(DOG, answer="The dog's owner isn't in the image.")]),
    qas("single quotes with a bare apostrophe", repr([DOG]).replace("It lies", "The dog's lying"),
        [but(DOG, answer=DOG["answer"].replace("It lies", "The dog's lying"))]),
    qas("single quotes, plural possessive", repr([DOG]).replace("It lies on", "The dogs' bed is"),
        [but(DOG, answer=DOG["answer"].replace("It lies on", "The dogs' bed is"))]),
    qas("single-quoted keys, double-quoted values", re.sub(r'"(\w+)":', r"'\1':", LIST), TWO),
    qas("bare keys", re.sub(r'"(\w+)":', r"\1:", LIST), TWO),
    qas("bare value of format", LIST.replace('"open-ended"', "open-ended").replace('"multi_choice"', "multi_choice"), TWO),
    qas("backtick values", LIST.replace('"B. 21"', "`B. 21`"), TWO, None),
    qas("smart quotes", re.sub(r'"([^"\n]*)"', "“\\1”", LIST), TWO),
    qas("smart quotes on keys", re.sub(r'"(\w+)":', "“\\1”:", LIST), TWO),
    qas("smart quotes one way", LIST.replace('"', "”"), TWO),
    qas("smart single quotes", re.sub(r'"([^"\n]*)"', "‘\\1’", LIST), TWO),
    qas("low quotes", re.sub(r'"([^"\n]*)"', "„\\1“", LIST), TWO),
    qas("smart quotes are content", dumps([QUOTED]), [QUOTED]),
    qas("smart quotes are content, trailing comma", dumps([QUOTED])[:-2] + ",\n]", [QUOTED]),
    qas("smart delimiters around straight quotes", re.sub(r'"([^"\n]*)"', "“\\1”", dumps([DOG])).replace("wooden bench", 'so-called "bench"'),
        [but(DOG, answer=DOG["answer"].replace("wooden bench", 'so-called "bench"'))]),
    qas("triple quotes", LIST.replace('"B. 21"', '"""B. 21"""'), TWO),
    qas("doubled quotes", LIST.replace('"B. 21"', '""B. 21""'), TWO, [DOG, but(BUS, answer='"B. 21"')], [DOG]),
    qas("key without its closing quote", LIST.replace('"format": "open', '"format: "open'), TWO, [BUS]),
    qas("key without its opening quote", LIST.replace('"format": "open', 'format": "open'), TWO),
    qas("fullwidth quotes", LIST.replace('"', "＂"), TWO),
    qas("corner brackets as quotes", re.sub(r'"([^"\n]*)"', "「\\1」", LIST), TWO),
    qas("guillemets as quotes", re.sub(r'"([^"\n]*)"', "«\\1»", LIST), TWO),
    qas("single quotes escaped in double", LINE.replace("wooden bench", "dog\\'s bench"),
        [but(DOG, answer=DOG["answer"].replace("wooden bench", "dog's bench")), BUS]),
]  # fmt: skip


def inner(text: str, raw: str | None = None) -> tuple[str, list[dict[str, object]]]:
    """The two items with TEXT as the first answer, its quotes not escaped."""
    return LIST.replace(DOG["answer"], raw or text), [but(DOG, answer=text), BUS]


INNER = [
    qas("inner quotes", *inner('The sign says "STOP" in red letters.')),
    qas("inner quotes before a comma", *inner('He shouts "stop", then he leaves.')),
    qas("inner quotes and a colon", *inner('The label "size": large is printed below.')),
    qas("inner quotes at the end", *inner('The sign says "STOP"')),
    qas("inner quotes at the end, dot", *inner('The sign says "STOP".')),
    qas("inner quotes at the start", *inner('"STOP" is what the sign says.')),
    qas("inner quotes around all", *inner('"STOP"')),
    qas("inner list of quotes", *inner('The signs read "A", "B", and "C" in that order.')),
    qas("inner quotes before a bracket", *inner('The set {"A"} and the list ["B"] are drawn on the board.')),
    qas("inches", *inner('The screen is 27" wide and the tablet 11" at most.')),
    qas("one inner quote", *inner('The shelf is 40" long.')),
    qas("inner quotes in one line", LINE.replace("wooden bench", 'so-called "bench"'),
        [but(DOG, answer=DOG["answer"].replace("wooden bench", 'so-called "bench"')), BUS]),
    qas("inner quotes in the question", LIST.replace("the dog lying on", 'the "dog" lying on'),
        [but(DOG, question=DOG["question"].replace("the dog lying on", 'the "dog" lying on')), BUS]),
    qas("inner quotes in a step", LIST.replace("Locate the dog", 'Locate the "dog"'),
        [but(DOG, steps=[{**DOG["steps"][0], "description": 'Locate the "dog" and return bbx_1.'}, DOG["steps"][1]]), BUS]),
    qas("some quotes escaped, some not", *inner('It says "A" and "B".', 'It says \\"A\\" and "B".')),
]  # fmt: skip
NEWLINES = [
    qas("raw newlines", *inner("First line.\nSecond line.\n\n- a point")),
    qas("raw tab", *inner("Left\tright.")),
    qas("carriage returns between tokens", LIST.replace("\n", "\r\n"), TWO),
    qas("raw CRLF in a value", *inner("First line.\r\nSecond line.")),
    qas("backslash before a raw newline", *inner("First line. Second line.", "First line. \\\nSecond line."), None),
    qas("byte order mark", "\ufeff" + LIST, TWO),
    qas("zero-width spaces between tokens", LIST.replace(": ", ":\u200b ").replace(",\n", ",\u200b\n"), TWO),
    qas("no-break spaces as indentation", LIST.replace("    ", "\u00a0\u00a0\u00a0\u00a0"), TWO),
    qas("ideographic spaces", LIST.replace('": ', '":\u3000'), TWO),
    qas("line separator between tokens", LIST.replace("\n", "\u2028"), TWO),
    qas("null character", LIST.replace("wooden", "woo\x00den"), [but(DOG, answer=DOG["answer"].replace("wooden", "woo\x00den")), BUS], TWO),
    qas("other control character", *inner("Left\x0bright.")),
]  # fmt: skip
COMMENTS = [
    qas("line comment", LIST.replace("{\n", "{ // first sample, don't forget\n", 1), TWO),
    qas(
        "line comment with quotes",
        LIST.replace('"open-ended",', '"open-ended", // was "multi_choice", {see above}'),
        TWO,
    ),
    qas("block comment", LIST.replace("[\n", "[ /* two items:\n  {x} */\n", 1), TWO),
    qas("hash comment", LIST.replace("{\n", "{ # first sample\n", 1), TWO),
    qas(
        "comment between items",
        LIST.replace('},\n    {\n        "objects', '},\n    // Sample 2 [rewritten]\n    {\n        "objects'),
        TWO,
    ),
    qas("HTML comment", LIST.replace("[\n", "[ <!-- two -->\n", 1), TWO),
    qas("comment at the end", LIST[:-1] + "    // that is all\n]", TWO),
    qas("comment after a comma and a URL", dumps([URL]).replace('"multi_choice",', '"multi_choice", // kind'), [URL]),
    qas("comment marks in a value", dumps([MARKS]), [MARKS]),
    qas("comment marks in a value, trailing comma", dumps([MARKS])[:-2] + ",\n]", [MARKS]),
    qas("ellipsis after the items", LIST[:-2] + ",\n    ...\n]", TWO),
    qas("ellipsis comment after the items", LIST[:-2] + ",\n    // ... more items\n]", TWO),
    qas("plus joins", LIST.replace("wooden bench, ", 'wooden bench, " +\n            "'), TWO),
    qas("adjacent strings", repr([DOG]).replace("wooden bench, ", "wooden bench, '\n  '"), [DOG], None),
]
PUNCTUATION = [
    qas("fullwidth colon and comma", LIST.replace('": ', '"：').replace(",\n", "，\n"), TWO),
    qas(
        "fullwidth brackets", "［" + LINE[1:-1].replace('}, {"o', '｝，｛"o').replace('[{"o', '[｛"o') + "］", TWO, None
    ),
    qas("ideographic comma", LIST.replace(",\n", "、\n"), TWO),
    qas(
        "fullwidth colon, smart quotes",
        re.sub(r'"([^"\n]*)"', "“\\1”", LIST).replace("”: ", "”：").replace(",\n", "，\n"),
        TWO,
    ),
    qas("lenticular brackets around the list", "【" + LINE + "】", TWO),
]
LITERALS = [
    qas("None and True beside the fields", repr([{**DOG, "image_position": None, "checked": True}]), [DOG]),
    qas("NaN beside the fields", LIST.replace("{\n        \"objects", "{\n        \"confidence\": NaN,\n        \"objects"), TWO),
    qas("Infinity beside the fields", LIST.replace("{\n        \"objects", "{\n        \"weight\": -Infinity,\n        \"objects"), TWO),
    qas("undefined beside the fields", LIST.replace("{\n        \"objects", "{\n        \"image_position\": undefined,\n        \"objects"), TWO),
    qas("odd numbers beside the fields", LIST.replace("{\n        \"objects", "{\n        \"w\": +.5, \"h\": 0x1F, \"d\": 01,\n        \"objects"), TWO),
    qas("tuples for lists", re.sub(r"'objects': \[([^\]]+)\]", r"'objects': (\1)", repr(TWO)), TWO),
    qas("tuple of items", "(" + ", ".join(repr(item) for item in THREE) + ")", THREE),
    qas("unicode escapes", json.dumps([but(CUP, question="桌上有几个杯子？")]), [but(CUP, question="桌上有几个杯子？")]),
    qas("surrogate pair", json.dumps([but(DOG, answer="Happy 😀 dog 🐕‍🦺.")]), [but(DOG, answer="Happy 😀 dog 🐕‍🦺.")]),
    qas("long unicode escape", LINE.replace("wooden", "\\U0001F415"), [but(DOG, answer=DOG["answer"].replace("wooden", "🐕")), BUS], None,
        [but(DOG, answer=DOG["answer"].replace("wooden", "\\U0001F415")), BUS]),
    qas("hex escape", LINE.replace("wooden", "caf\\xe9"), [but(DOG, answer=DOG["answer"].replace("wooden", "café")), BUS], None,
        [but(DOG, answer=DOG["answer"].replace("wooden", "caf\\xe9")), BUS]),
    qas("escaped slashes", LINE.replace("bench,", "bench\\/seat,"), [but(DOG, answer=DOG["answer"].replace("bench,", "bench/seat,")), BUS]),
]  # fmt: skip
CASES: list[Case] = COMMAS + QUOTES + INNER + NEWLINES + COMMENTS + PUNCTUATION + LITERALS
