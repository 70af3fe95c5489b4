"""A second corpus, written after the parser and without looking at it: what teachers write, or may be feared to.

`expected` was decided by hand, by these rules: an item that lacks a field or was cut is dropped, the others stay;
judgements are all or nothing, but a list cut at its end keeps its whole leading ones; a draft or a thought is not an
answer; text is never changed; where two readings are possible the answer is None.

Here: what stands around and between the values. Beside it: the values themselves (parse_corpus_adversarial_values).
"""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """One reply; `expected` None: nothing may be returned."""

    name: str
    kind: str
    raw: str
    expected: list[dict[str, Any]] | None


def item(question: str, answer: str, *, objects=("cup", "table"), skills=("grounding",), form="open_ended", steps=None):
    steps = [{"manipulation": "grounding_1(cup)->bbx_1", "description": "Find the cup."}] if steps is None else steps
    return {
        "objects": list(objects),
        "skills": list(skills),
        "format": form,
        "question": question,
        "steps": steps,
        "answer": answer,
    }


def mark(improved: str, score: float, reason: str):
    return {"improved": improved, "score": score, "reason": reason}


A = item("Where is the cup?", "On the table, left of the book.")
B = item("How many books lie on the table? Explain.", "I count three: one red and two blue. So there are three.")
C = item("Which is higher?\nA. the lamp\nB. the cup", "A. the lamp", form="multi_choice", steps=[])
S = mark("yes", 7, "It asks for a relation.")
T = mark("no", 2, "It only changes words.")
U = mark("yes", 5.5, "Finer detail is needed.")


def js(value: Any, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, **options)


def pretty(value: Any) -> str:
    return js(value, indent=2)


def both(name: str, wrap, *, qas: Any = "same", score: Any = "same") -> list[Case]:
    """The same spoiling of questions and of judgements."""
    return [
        Case(name, "qas", wrap([A, B]), [A, B] if qas == "same" else qas),
        Case(name, "score", wrap([S, T]), [S, T] if score == "same" else score),
    ]


def wrappers() -> list[Case]:
    """Everything around the list."""
    found = []
    for name, wrap in {
        "bare": js,
        "fence_json": lambda v: f"```json\n{pretty(v)}\n```",
        "fence_upper": lambda v: f"```JSON\n{pretty(v)}\n```",
        "fence_json5": lambda v: f"```json5\n{pretty(v)}\n```",
        "fence_tilde": lambda v: f"~~~json\n{pretty(v)}\n~~~",
        "fence_indented": lambda v: "\n".join("    " + line for line in f"```json\n{pretty(v)}\n```".split("\n")),
        "fence_not_closed": lambda v: f"```json\n{pretty(v)}",
        "fence_only_closed": lambda v: f"{pretty(v)}\n```",
        "fence_one_line": lambda v: f"```{js(v)}```",
        "fence_word_before": lambda v: f"json\n{pretty(v)}",
        "here_is": lambda v: f"Here is the improved version:\n\n{pretty(v)}",
        "here_is_colon_brackets": lambda v: (
            f"Sure [as asked], here they are:\n{pretty(v)}\nHope this helps {{and more}}!"
        ),
        "heading": lambda v: f"### Rewritten items\n\n{pretty(v)}\n\n### Notes\nNone.",
        "bold_label": lambda v: f"**Answer:** {js(v)}",
        "think": lambda v: f"<think>I could answer [] or {{}}. Let me write it.</think>\n{js(v)}",
        "think_upper": lambda v: f"<THINK>\nFirst, the cup.\n</THINK>\n\n{pretty(v)}",
        "thinking_tag": lambda v: f"<thinking>Perhaps two items.</thinking>{js(v)}",
        "reasoning_tag": lambda v: f"<reasoning>\nTwo.\n</reasoning>\n{js(v)}",
        "only_think_end": lambda v: f"Let me see, two items are wanted.\n</think>\n{js(v)}",
        "answer_tag": lambda v: f"<answer>{js(v)}</answer>",
        "output_tag": lambda v: f"<output>\n{pretty(v)}\n</output>",
        "xml_cdata": lambda v: f"<result><![CDATA[{js(v)}]]></result>",
        "bom": lambda v: "\ufeff" + js(v),
        "crlf": lambda v: pretty(v).replace("\n", "\r\n"),
        "tabs": lambda v: js(v, indent="\t"),
        "non_breaking_spaces": lambda v: pretty(v).replace("  ", "\u00a0\u00a0"),
        "one_key_wrapper": lambda v: js({"items": v}),
        "nested_wrapper": lambda v: js({"response": {"data": {"items": v}}}),
        "wrapper_with_status": lambda v: js({"status": "ok", "count": len(v), "result": v}),
        "list_in_list": lambda v: js([v]),
        "string_of_json": lambda v: js(js(v)),
        "assignment": lambda v: f"result = {js(v)}",
        "const_assignment": lambda v: f"const items = {js(v)};",
        "print_call": lambda v: f"print({js(v)})",
        "lines_of_objects": lambda v: "\n".join(js(one) for one in v),
        "objects_without_brackets": lambda v: ",\n".join(pretty(one) for one in v),
        "objects_side_by_side": lambda v: "".join(js(one) for one in v),
        "numbered_objects": lambda v: "\n".join(f"{n}. {js(one)}" for n, one in enumerate(v, 1)),
        "bulleted_objects": lambda v: "\n".join(f"- {js(one)}" for one in v),
        "fence_each": lambda v: "\n\n".join(f"Item {n}:\n```json\n{pretty(one)}\n```" for n, one in enumerate(v, 1)),
        "keyed_objects": lambda v: js({f"item_{n}": one for n, one in enumerate(v, 1)}),
        "lists_of_one": lambda v: "\n".join(js([one]) for one in v),
        "trailing_words_with_brace": lambda v: f"{js(v)}\n\n(See {{above}} for details.)",
        "end_token": lambda v: f"{js(v)}<|im_end|>",
        "eot_token": lambda v: f"{js(v)}<|eot_id|>",
        "stop_s": lambda v: f"{js(v)}</s>",
    }.items():
        found += both(name, wrap)
    return found


def punctuation() -> list[Case]:
    """What is wrong inside the list."""
    found = []
    for name, wrap in {
        "trailing_comma_list": lambda v: js(v)[:-1] + ",]",
        "trailing_comma_object": lambda v: js(v).replace('"}', '",}'),
        "double_comma": lambda v: js(v).replace("}, {", "},, {"),
        "no_comma_between_objects": lambda v: js(v).replace("}, {", "} {"),
        "no_last_bracket": lambda v: js(v)[:-1],
        "extra_last_bracket": lambda v: js(v) + "]",
        "extra_last_brace": lambda v: js(v)[:-1] + "}]",
        "python_repr": repr,
        "single_quotes": lambda v: js(v).replace('"', "'"),
        "backtick_keys": lambda v: js(v).replace('"format"', "`format`").replace('"reason"', "`reason`"),
        "bare_keys": lambda v: js(v).replace('"question":', "question:").replace('"reason":', "reason:"),
        "smart_quotes": lambda v: pretty(v).replace('"', "\u201d"),
        "smart_pairs": lambda v: _paired(js(v), "\u201c", "\u201d"),
        "german_quotes": lambda v: _paired(js(v), "\u201e", "\u201c"),
        "full_width": lambda v: js(v).replace('": ', '"：').replace('", "', '"，"'),
        "slash_comment": lambda v: pretty(v).replace("{\n", "{ // an item\n", 1),
        "hash_comment": lambda v: pretty(v).replace("{\n", "{  # an item\n", 1),
        "block_comment": lambda v: pretty(v).replace("{\n", "{ /* one: {} */\n"),
        "html_comment": lambda v: "<!-- two items -->\n" + pretty(v),
        "equals_sign": lambda v: js(v).replace('"format":', '"format" =').replace('"reason":', '"reason" ='),
        "keys_upper": lambda v: _keys(v, str.upper),
        "keys_title": lambda v: _keys(v, str.title),
        "html_entities": lambda v: js(v).replace('"', "&quot;"),
        "escaped_quotes": lambda v: js(v).replace('"', '\\"'),
        "escaped_unicode": lambda v: json.dumps(v, ensure_ascii=True),
        "ellipsis_at_end": lambda v: js(v)[:-1] + ", ...]",
        "comment_at_end": lambda v: js(v)[:-1] + "\n// and so on\n]",
    }.items():
        found += both(name, wrap)
    return found


def _paired(text: str, opening: str, closing: str) -> str:
    parts = text.split('"')
    return "".join(part + (opening, closing)[place % 2] for place, part in enumerate(parts[:-1])) + parts[-1]


def _keys(rows, change):
    return js([{change(key): value for key, value in row.items()} for row in rows])
