# ruff: noqa: E501 - one case a line reads best as a table
"""Third corpus: what surrounds the list. Fences, prose, thoughts, drafts, several blocks, wrapper objects."""

from __future__ import annotations

import json

from third_items import BUS, CUP, DOG, THREE, TWO, Case, but, dumps, qas

LIST = dumps(TWO)
LINE = dumps(TWO, None)
DRAFT = dumps([but(DOG, answer="On a bench, I think.")])
HOLLOW = dumps(
    [
        {
            "objects": ["..."],
            "skills": ["..."],
            "format": "...",
            "question": "...",
            "steps": [{"manipulation": "...", "description": "..."}],
            "answer": "...",
        }
    ]
)
ANGLE = (
    '[{"objects": ["<object 1>", "<object 2>"], "skills": ["<skill>"], "format": "<format>", "question": "<question>", '
    '"steps": [{"manipulation": "<manipulation>", "description": "<description>"}], "answer": "<answer>"}]'
)
SLIM = [dumps(item, None) for item in THREE]

FENCES = [
    qas("compact", LINE, TWO),
    qas("indented by two", dumps(THREE, 2), THREE),
    qas("json fence", f"```json\n{LIST}\n```", TWO),
    qas("bare fence", f"```\n{LIST}\n```", TWO),
    qas("fence in capitals", f"```JSON\n{LIST}\n```", TWO),
    qas("tilde fence", f"~~~json\n{LIST}\n~~~", TWO),
    qas("four backticks", f"````json\n{LIST}\n````", TWO),
    qas("fence never closed", f"Here you go:\n\n```json\n{LIST}", TWO),
    qas("fence never opened", f"{LIST}\n```\nHope this helps.", TWO),
    qas("python fence", f"```python\n{LIST}\n```", TWO),
    qas("json5 fence", f"```json5\n{LIST}\n```", TWO),
    qas("fence on the line of the bracket", f"```json {LINE}```", TWO),
    qas("one backtick", f"`{LINE}`", TWO),
    qas("the word json without a fence", f"json\n{LIST}", TWO),
    qas("indented fence", "  ```json\n" + "\n".join("  " + line for line in LIST.splitlines()) + "\n  ```", TWO),
    qas("quoted as Markdown", "\n".join("> " + line for line in ["```json", *LIST.splitlines(), "```"]), TWO, None),
    qas("fence in a fence", f"```\n```json\n{LIST}\n```\n```", TWO),
    qas("assigned to a variable", f"```python\nresult = {LIST}\nprint(result)\n```", TWO),
]
PROSE = [
    qas("prose before", f"Sure! Below are the rewritten samples.\n\n{LIST}", TWO),
    qas("prose after", f"{LIST}\n\nEach question now needs two steps. Tell me if you want more!", TWO),
    qas("prose on the same line", f"Output: {LINE} Done.", TWO),
    qas("brackets in the prose", f"I rewrote both samples [see the rules] (and kept the boxes).\n{LIST}\n[end]", TWO),
    qas("braces in the prose", f"Each item follows {{objects, skills, format}}.\n\n{LIST}", TWO),
    qas("a coordinate list in the prose", f"The dog is at [0.12, 0.3, 0.5, 0.77], so:\n\n{LIST}", TWO),
    qas("quotes in the prose", f'I changed "what" to "why", and it\'s harder now:\n\n{LIST}\n\nThat\'s "all".', TWO),
    qas("a broken bracket before", f"Rules checked: 1) boxes [ok 2) skills {{ok\n\n```json\n{LIST}\n```", TWO),
    qas("a heading and bold text", f"## Evolved samples\n\n**Result:**\n\n{LIST}\n\n---\n*End of output*", TWO),
    qas("a JSON object of notes before", f'{{"status": "ok", "count": 2}}\n\n{LIST}', TWO),
    qas(
        "the task repeated before",
        f"You asked for items with objects, skills, format, question, steps and answer.\n{LIST}",
        TWO,
    ),
    qas("answer tags", f"<answer>\n{LIST}\n</answer>", TWO),
    qas("output tags with a fence", f"<output>\n```json\n{LIST}\n```\n</output>", TWO),
    qas("end-of-text token", f"{LIST}<|im_end|>", TWO),
    qas("an assistant marker", f"<|im_start|>assistant\n{LIST}<|im_end|>\n<|endoftext|>", TWO),
]
THOUGHTS = [
    qas("think", f"<think>\nTwo items, so a list of two.\n</think>\n{LIST}", TWO),
    qas("think with a draft", f"<think>\nFirst try:\n{DRAFT}\nToo short.\n</think>\n\n{LIST}", TWO),
    qas("think without an opener", f"First try:\n{DRAFT}\nToo short.\n</think>\n\n{LIST}", TWO),
    qas("think never closed", f"<think>\nMaybe this:\n{DRAFT}\nbut I should check the boxes again", None),
    qas("nested thoughts", f"<think>a <think>{DRAFT}</think> b {DRAFT}</think>\n{LIST}", TWO),
    qas("two thoughts", f"<think>one {DRAFT}</think>\n<think>two {DRAFT}</think>\n```json\n{LIST}\n```", TWO),
    qas("thinking tag", f"<thinking>{DRAFT}</thinking>{LIST}", TWO),
    qas("capital think tag", f"<THINK>\n{DRAFT}\n</THINK>\n{LIST}", TWO),
    qas("reasoning tag", f"<reasoning>\n{DRAFT}\n</reasoning>\n{LIST}", TWO),
    qas("scratchpad tag", f"<scratchpad>\n{DRAFT}\n</scratchpad>\n{LIST}", TWO),
    qas("square think tag", f"[THINK]{DRAFT}[/THINK]{LIST}", TWO),
    qas("think then answer tags", f"<think>{DRAFT}</think>\n<answer>{LINE}</answer>", TWO),
    qas("only thought", f"<think>\n{LIST}\n</think>", None),
    qas("only thought, then words", f"<think>\n{LIST}\n</think>\nI am sorry, I cannot do it.", None),
    qas("think tag inside an answer", dumps([but(DOG, answer="The sign reads <think> and </think> in red.")]),
        [but(DOG, answer="The sign reads <think> and </think> in red.")]),
    qas("thoughts after the list", f"{LIST}\n<think>\nPerhaps shorter: {DRAFT}\n</think>", TWO),
    qas("channels", f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{LIST}", TWO),
]  # fmt: skip
DRAFTS = [
    qas("draft then final", f"Draft:\n```json\n{DRAFT}\n```\n\nFinal answer:\n```json\n{LIST}\n```", TWO),
    qas("draft then revised", f"Here is a first version:\n{DRAFT}\nOn reflection, the revised version:\n{LIST}", TWO),
    qas(
        "corrected after a mistake",
        f"```json\n{DRAFT}\n```\nWait, the second item is missing. Corrected:\n```json\n{LIST}\n```",
        TWO,
    ),
    qas(
        "original echoed before the rewrite",
        f"Original:\n{dumps([but(DOG, question='What is this?')])}\n\nRewritten:\n{LIST}",
        TWO,
    ),
    qas("input and output headings", f"### Input\n```json\n{DRAFT}\n```\n### Output\n```json\n{LIST}\n```", TWO),
    qas("the same list twice", f"```json\n{LIST}\n```\n\nAgain without a fence:\n{LIST}", TWO),
    qas("placeholder echoed", f"Format:\n{HOLLOW}\n\nAnswer:\n{LIST}", TWO),
    qas("placeholder echoed, no words", f"{HOLLOW}\n{LIST}", TWO),
    qas("placeholder in angle brackets", f"The format is {ANGLE}.\n\n{LIST}", TWO),
    qas("placeholder in a fence", f"```json\n{HOLLOW}\n```\n\n```json\n{LIST}\n```", TWO),
    qas("only the placeholder", f"The answer has this form:\n{HOLLOW}", None),
    qas("only the angle placeholder", ANGLE, None),
    qas(
        "cut, then started again",
        LINE[:400] + f"\n\nSorry, I lost the thread. Here is the complete list:\n\n{LIST}",
        TWO,
    ),
    qas("draft of the same question", f"Step 1 - draft:\n{DRAFT}\n\nStep 2 - final:\n{dumps([DOG])}", [DOG]),
]
BLOCKS = [
    qas("one fence an item", "\n\n".join(f"```json\n{dumps([item])}\n```" for item in THREE), THREE),
    qas("one fence an object", "\n\n".join(f"```json\n{dumps(item)}\n```" for item in THREE), THREE),
    qas(
        "numbered fences", "\n".join(f"**Sample {i}**\n```json\n{dumps(x)}\n```" for i, x in enumerate(THREE, 1)), THREE
    ),
    qas("JSON lines", "\n".join(SLIM), THREE),
    qas("JSON lines in a fence", "```jsonl\n" + "\n".join(SLIM) + "\n```", THREE),
    qas("objects side by side", "".join(SLIM), THREE),
    qas("objects with spaces", " ".join(SLIM), THREE),
    qas("objects with commas", ",\n".join(SLIM), THREE),
    qas("objects with commas, last one too", ",\n".join(SLIM) + ",", THREE),
    qas("objects with semicolons", ";\n".join(SLIM), THREE),
    qas("objects numbered", "\n".join(f"{i}. {line}" for i, line in enumerate(SLIM, 1)), THREE),
    qas("objects as bullets", "\n".join(f"- {line}" for line in SLIM), THREE),
    qas("objects under headings", "\n\n".join(f"### Item {i}\n{dumps(x)}" for i, x in enumerate(THREE, 1)), THREE),
    qas("objects between rules", "\n---\n".join(SLIM), THREE),
    qas("lists side by side", "".join(f"[{line}]" for line in SLIM), THREE),
    qas("lists with commas", ", ".join(f"[{line}]" for line in SLIM), THREE),
    qas("list of lists", "[" + ", ".join(f"[{line}]" for line in SLIM) + "]", THREE),
    qas("list in a list", f"[{LINE}]", TWO),
    qas("set of objects in braces", "{" + ", ".join(SLIM) + "}", THREE),
    qas("only the closing bracket", ", ".join(SLIM) + "]", THREE),
    qas("list, then one more object", f"{LINE}\n{SLIM[2]}", THREE),
    qas("missing closing bracket", LIST[:-1], TWO),
    qas("one bracket too many", f"{LIST}]", TWO),
    qas("one brace too many", LINE.replace('"}, {"objects"', '"}}, {"objects"'), TWO),
    qas("single object", dumps(DOG), [DOG]),
]
WRAPPERS = [
    qas("in items", dumps({"items": TWO}), TWO),
    qas("in data items", dumps({"data": {"items": TWO}}), TWO),
    qas("three deep", dumps({"response": {"result": {"samples": TWO}}}), TWO),
    qas("with metadata", dumps({"version": 1, "count": 2, "notes": ["a", "b"], "output": TWO}), TWO),
    qas("thoughts field first", dumps({"thoughts": "Two items; make them harder.", "result": TWO}), TWO),
    qas("numbered keys", dumps({"1": DOG, "2": BUS, "3": CUP}), THREE),
    qas("named keys", dumps({"sample_1": DOG, "sample_2": BUS}), TWO),
    qas("one wrapper an item", dumps([{"sample": DOG}, {"sample": BUS}]), TWO),
    qas("single object in a wrapper", dumps({"item": DOG}), [DOG]),
    qas("chat message", dumps({"role": "assistant", "content": LINE}), TWO),
    qas("whole reply is a JSON string", json.dumps(LINE), TWO),
    qas("list of JSON strings", dumps(SLIM[:2]), TWO),
    qas("escaped quotes throughout", LINE.replace('"', '\\"'), TWO),
    qas("line feeds spelled out", LIST.replace("\n", "\\n"), TWO),
    qas("wrapper in a fence with prose", f"Done.\n```json\n{dumps({'evolved': TWO})}\n```\nBye.", TWO),
    qas("wrapper never closed", dumps({"items": TWO})[:-1].rstrip(), TWO),
    qas(
        "original and rewritten in one object",
        dumps({"original": [but(DOG, answer="Bench.")], "rewritten": TWO}),
        TWO,
        None,
    ),
]
CASES: list[Case] = FENCES + PROSE + THOUGHTS + DRAFTS + BLOCKS + WRAPPERS
