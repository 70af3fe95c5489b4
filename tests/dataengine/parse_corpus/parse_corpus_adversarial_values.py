# ruff: noqa: E501 - a table, one case a line
"""The second corpus, its other half: fields, cuts, judgements, nests, and replies that hold nothing."""

import json
from typing import Any

from parse_corpus_adversarial import A, B, C, Case, S, T, U, item, js, pretty, punctuation, wrappers


def fields() -> list[Case]:
    """Fields that are named, typed or missing in other ways."""
    without = {key: value for key, value in A.items() if key != "steps"}
    shout = {**A, "answer": "ON THE TABLE!!!"}
    latex = item(r"What does \frac{a}{b} + \theta say?", r"It says \frac{a}{b} + \theta, and \beta \neq \nu.")
    url = item("What is on the sign?", "https://example.org/a//b?x=[1]&y={2} // really")
    fence = item("Write code.", "```python\nprint({'a': [1]})\n```")
    cjk = item("杯子在哪里？", "在“桌子”上，靠近书。")
    quoted = item('What does "STOP" mean?', 'It means "do not go".')
    brace = item("Which brackets { [ ( do you see?", "I see {, ] and ).")
    html = item("Is a < b && c > d?", "<b>Yes</b>, a &lt; b.")
    lines = item("List them.", "First line\nSecond line\n\n- third")
    windows = item("Which path is shown?", "C:\\data\\new")
    numbers = item("What price is shown?", "9.00")
    yes = item("Is it open?", "yes")
    emoji = item("Which face is it?", "A 😀 face")
    list_answer = {**A, "answer": ["On the table.", "Left of the book."]}
    return [
        Case("missing_field_drops_the_item", "qas", js([without, B]), [B]),
        Case("all_miss_a_field", "qas", js([without, without]), None),
        Case("empty_answer", "qas", js([{**A, "answer": ""}, B]), [B]),
        Case("empty_question", "qas", js([{**A, "question": "  "}, B]), [B]),
        Case("null_answer", "qas", js([{**A, "answer": None}, B]), [B]),
        Case("extra_fields", "qas", js([{**A, "note": "x", "difficulty": 3}]), [A]),
        Case("with_parent", "qas", js([{"parent": "q1", **A}, {"parent": "q2", **B}]),
             [{**A, "parent": "q1"}, {**B, "parent": "q2"}]),
        Case("answers_key", "qas", js([A]).replace('"answer"', '"answers"'), [A]),
        Case("singular_keys", "qas", js([A]).replace('"objects"', '"object"').replace('"skills"', '"skill"'), [A]),
        Case("number_answer", "qas", js([{**A, "answer": 3}]), [{**A, "answer": "3"}]),
        Case("decimal_answer_as_written", "qas", js([{**A, "answer": "X"}]).replace('"X"', "9.00"), [numbers | A | {"answer": "9.00"}]),
        Case("text_number_stays", "qas", js([numbers]), [numbers]),
        Case("list_answer", "qas", js([list_answer]), [{**A, "answer": "On the table. Left of the book."}]),
        Case("objects_as_text", "qas", js([{**A, "objects": "cup, table"}]), [A]),
        Case("steps_empty", "qas", js([C]), [C]),
        Case("latex_escaped", "qas", js([latex]), [latex]),
        Case("latex_unescaped", "qas", js([latex]).replace("\\\\", "\\"), [latex]),
        Case("url", "qas", js([url]), [url]),
        Case("url_trailing_comma", "qas", js([url])[:-1] + ",]", [url]),
        Case("fence_inside", "qas", f"```json\n{js([fence])}\n```", [fence]),
        Case("fence_inside_trailing_comma", "qas", f"```json\n{js([fence])[:-1]},]\n```", [fence]),
        Case("cjk", "qas", js([cjk]), [cjk]),
        Case("cjk_trailing_comma", "qas", js([cjk])[:-1] + ",]", [cjk]),
        Case("cjk_single_quotes", "qas", repr([cjk]), [cjk]),
        Case("quotes_escaped", "qas", js([quoted]), [quoted]),
        Case("quotes_raw_inside", "qas", js([quoted]).replace('\\"', '"'), [quoted]),
        Case("quotes_as_python", "qas", repr([quoted]), [quoted]),
        Case("apostrophes_as_python", "qas", repr([item("What's the man's hat?", "It isn't a hat; it's a cap.")]),
             [item("What's the man's hat?", "It isn't a hat; it's a cap.")]),
        Case("braces_inside", "qas", js([brace]), [brace]),
        Case("braces_inside_no_last_bracket", "qas", js([brace])[:-1], [brace]),
        Case("braces_inside_jsonl", "qas", js(brace) + "\n" + js(A), [brace, A]),
        Case("html_inside", "qas", js([html]), [html]),
        Case("html_inside_trailing_comma", "qas", js([html])[:-1] + ",]", [html]),
        Case("newlines_escaped", "qas", js([lines]), [lines]),
        Case("newlines_raw", "qas", js([lines]).replace("\\n", "\n"), [lines]),
        Case("path_escaped", "qas", js([windows]), [windows]),
        Case("emoji_escaped", "qas", json.dumps([emoji]), [emoji]),
        Case("shouting", "qas", js([shout]), [shout]),
        Case("yes_stays_text", "qas", js([yes]), [yes]),
        Case("true_answer", "qas", js([{**yes, "answer": True}]), None),
        Case("same_item_twice", "qas", js([A, A]), [A, A]),
        Case("single_object", "qas", js(A), [A]),
        Case("single_object_fenced", "qas", f"```json\n{pretty(A)}\n```", [A]),
        Case("key_twice", "qas", js([A])[:-2] + ', "answer": "Under the chair."}]', None),
        Case("placeholder_before", "qas", '[{"question": "...", "answer": "..."}]\n\nFilled in:\n' + js([A]), [A]),
        Case("placeholder_item", "qas", js([item("...", "..."), A]), [A]),
        Case("example_then_answer", "qas", f"The example was:\n```json\n{js([C])}\n```\nMy answer:\n```json\n{js([A])}\n```", [A]),
        Case("draft_then_final", "qas", f"Draft:\n{js([C])}\n\nFinal answer:\n{js([A])}", [A]),
        Case("wait_correct", "qas", f"{js([item('Where is the cup?', 'On the chair.')])}\nWait, that is wrong. Corrected:\n{js([A])}", [A]),
        Case("doubled_list", "qas", f"{js([A, B])}\n\n{js([A, B])}", [A, B]),
        Case("two_versions_no_word", "qas", f"{js([item('Where is the cup?', 'On the chair.')])}\n{js([A])}", None),
        Case("answer_in_think_only", "qas", f"<think>{js([A])}</think>", None),
        Case("think_not_closed", "qas", f"<think>I will say {js([A])}", None),
        Case("draft_in_think", "qas", f"<think>Maybe {js([C])}</think>{js([A])}", [A]),
    ]  # fmt: skip


def cut() -> list[Case]:
    """Replies that end too early."""
    text = js([A, B])
    second = text.index("}, {") + 3
    return [
        Case("cut_in_second_answer", "qas", text[:-20], [A]),
        Case("cut_in_second_question", "qas", text[: second + 90], [A]),
        Case("cut_before_second", "qas", text[:second], [A]),
        Case("cut_after_comma", "qas", text[: second - 1], [A]),
        Case("cut_in_first", "qas", text[:60], None),
        Case("cut_in_first_answer", "qas", js([A])[:-8], None),
        Case("cut_before_last_quote", "qas", js([A])[:-3], None),
        Case("cut_after_last_quote", "qas", js([A])[:-2], [A]),
        Case("cut_number", "qas", js([{**A, "answer": "X"}]).replace('"X"', "9.")[:-2], None),
        Case("cut_fenced", "qas", f"```json\n{pretty([A, B])[:-30]}", [A]),
        Case("cut_with_dots", "qas", text[:-20] + "...", [A]),
        Case("cut_steps", "qas", js([A, {k: B[k] for k in ("objects", "skills", "format", "question")}])[:-2] + ', "steps": [{"manip', [A]),
        Case("cut_second_line", "qas", js(A) + "\n" + js(B)[:-12], [A]),
        Case("cut_second_score", "score", js([S, T])[:-30], [S]),
        Case("cut_score_number", "score", js([S, T])[: js([S, T]).rindex(": 2") + 3], [S]),
        Case("cut_first_score", "score", js([S])[:30], None),
        Case("cut_reason", "score", js([S])[:-6], None),
        Case("cut_before_bracket", "score", js([S, T])[:-1], [S, T]),
        Case("cut_lines", "score", js(S) + "\n" + js(T)[:25], [S]),
    ]  # fmt: skip


def marks() -> list[Case]:
    """Judgements with values in other clothes."""

    def one(improved: Any, score: Any, reason: str = S["reason"]) -> str:
        return js([{"improved": improved, "score": score, "reason": reason}])

    found = [
        Case(f"improved_{value!r}", "score", one(value, 7), [{**S, "improved": want}])
        for value, want in [("Yes", "yes"), ("YES", "yes"), ("Yes.", "yes"), (" no ", "no"), ("No.", "no"), (True, "yes"),
                            (False, "no"), ("true", "yes"), ("False", "no")]
    ] + [
        Case(f"score_{value!r}", "score", one("yes", value), [{**S, "score": want}])
        for value, want in [("7", 7), ("7.5", 7.5), ("8/10", 8), ("8 / 10", 8), ("8 out of 10", 8), (0, 0), (10, 10), (7.25, 7.25)]
    ] + [
        Case(f"bad_score_{value!r}", "score", one("yes", value), None)
        for value in ("7-8", "high", "", None, 11, -1, "about 7 or 8", [7], "15/10", "7/5")
    ] + [
        Case(f"bad_improved_{value!r}", "score", one(value, 7), None) for value in ("maybe", "", None, "yes/no", "not sure", 2)
    ]  # fmt: skip
    with_ids = [{"id": "p1", **S}, {"id": "p2", **T}]
    return [
        *found,
        Case("ids", "score", js(with_ids), with_ids),
        Case("one_of_three_bad", "score", js([S, {**T, "score": "high"}, U]), None),
        Case("one_lacks_improved", "score", js([S, {"score": 2, "reason": "x"}]), None),
        Case("reason_missing", "score", js([{"improved": "yes", "score": 7}]), None),
        Case("three", "score", pretty([S, T, U]), [S, T, U]),
        Case("single_object_score", "score", js(S), [S]),
        Case("keys_upper_score", "score", js([{k.capitalize(): v for k, v in S.items()}]), [S]),
        Case("form_then_scores", "score", 'Format: [{"improved": "yes/no", "score": 0-10, "reason": "..."}]\n' + js([S, T]), [S, T]),
        Case("reason_with_quotes", "score", js([{**S, "reason": 'It asks "why" now.'}]).replace('\\"', '"'),
             [{**S, "reason": 'It asks "why" now.'}]),
        Case("reason_with_score_words", "score", js([{**S, "reason": "improved: yes, score: 9 would be too much"}]),
             [{**S, "reason": "improved: yes, score: 9 would be too much"}]),
        Case("draft_then_final_score", "score", f"First thought: {js([T])}\n\nFinal answer: {js([S])}", [S]),
        Case("two_verdicts_no_word", "score", f"{js([S, T])}\n{js([T, S])}", None),
        Case("yaml_score", "score", "improved: yes\nscore: 7\nreason: It asks for a relation.", None),
        Case("markdown_table", "score", "| improved | score | reason |\n|---|---|---|\n| yes | 7 | Good. |", None),
    ]  # fmt: skip


def nests() -> list[Case]:
    """Values inside other values, echoes of the input, and text that looks like structure."""
    call = {"name": "submit", "arguments": js({"items": [A, B]})}
    think = item("What does the screen show?", "It shows <think>hello</think> and </answer>.")
    final = item("What is written?", "Final answer: [1, 2] {3}")
    inch = item("How wide is it?", 'It is 5" wide.')
    said = item("What does the sign say?", 'It says "stop".')
    ends = item("What does the sign say?", 'It says "stop"')
    commas = item("Which words are quoted?", 'They are "one", "two", and "three".')
    under = item("Which file name?", "my_file_name.txt")
    old = item("Where is it?", "On the table.")
    return [
        Case("tool_call", "qas", js(call), [A, B]),
        Case("message", "qas", js({"role": "assistant", "content": js([A, B])}), [A, B]),
        Case("strings_of_objects", "qas", js([js(A), js(B)]), [A, B]),
        Case("each_in_wrapper", "qas", js([{"item": A}, {"item": B}]), [A, B]),
        Case("before_and_after", "qas", js([{"original": old, "rewritten": A}]), [A]),
        Case("numbered_keys", "qas", js({"1": A, "2": B}), [A, B]),
        Case("input_echo", "qas", f"INPUT:\n{js({'caption': 'x', 'items': [{'id': 'q1', **old}]})}\n\nOUTPUT:\n{js([A])}", [A]),
        Case("given_echo", "qas", f"Given items: {js([old])}\nRewritten items: {js([A])}", [A]),
        Case("object_list_before", "qas", f'Objects: ["cup", "table"]\n{js([A])}', [A]),
        Case("boxes_before", "qas", f"The cup is at [0.1, 0.2, 0.3, 0.4].\n{js([A])}", [A]),
        Case("tags_in_text", "qas", js([think]), [think]),
        Case("tags_in_text_repaired", "qas", js([think])[:-1] + ",]", [think]),
        Case("final_in_text", "qas", js([final]), [final]),
        Case("final_in_text_repaired", "qas", js([final, A])[:-1] + ",]", [final, A]),
        Case("inch_raw", "qas", js([inch]).replace('\\"', '"'), [inch]),
        Case("quote_before_dot_raw", "qas", js([said]).replace('\\"', '"'), [said]),
        Case("quote_at_end_raw", "qas", js([ends]).replace('\\"', '"'), [ends]),
        Case("quoted_words_raw", "qas", js([commas]).replace('\\"', '"'), [commas]),
        Case("markdown_underscores", "qas", js([under]).replace("_", "\\_"), [under]),
        Case("escaped_apostrophe", "qas", js([item("What's this?", "It's a cup.")]).replace("'", "\\'"),
             [item("What's this?", "It's a cup.")]),
        Case("escaped_slash", "qas", js([item("Which ratio?", "3/4")]).replace("/", "\\/"), [item("Which ratio?", "3/4")]),
        Case("escaped_brackets", "qas", js([A]).replace("[", "\\[").replace("]", "\\]"), None),
        Case("python_constants", "qas", js([{**A, "id": "X"}]).replace('"X"', "None"), [A]),
        Case("tuple_of_dicts", "qas", repr((A, B)), [A, B]),
        Case("objects_as_tuple", "qas", repr([{**A, "objects": ("cup", "table")}]), [A]),
        Case("triple_quotes", "qas", js([A]).replace('"On the table, left of the book."', '"""On the table, left of the book."""'), [A]),
        Case("concatenated_text", "qas", js([A]).replace("table, left", 'table, " + "left'), None),
        Case("line_separator", "qas", js([item("Which\u2028line?", "This\u2028one")]), [item("Which\u2028line?", "This\u2028one")]),
        Case("nul", "qas", js([item("Which?", "A\u0000B")]), [item("Which?", "A\u0000B")]),
        Case("half_surrogate", "qas", js([A]).replace("left of", "\\ud83d of"), None),
        Case("yaml", "qas", "- question: Where is the cup?\n  answer: On the table.", None),
        Case("xml", "qas", "<item><question>Where?</question><answer>There</answer></item>", None),
        Case("columns", "score", js({"improved": ["yes", "no"], "score": [7, 2], "reason": ["a", "b"]}), None),
        Case("nested_scores", "score", js({"evaluation": {"scores": [S, T], "overall": "good"}}), [S, T]),
        Case("score_in_wrapper", "score", js([{"id": "p1", "evaluation": S}]), [{"id": "p1", **S}]),
        Case("numbered_scores", "score", js({"1": S, "2": T}), [S, T]),
        Case("overall_after", "score", js([S, T]) + '\n\nOverall: {"average": 4.5}', [S, T]),
        Case("prose_verdict_after", "score", js([S]) + "\nSo improved: yes, score: 7.", [S]),
        Case("second_opinion", "score", js([S]) + "\nOn reflection the score should be 3.", None),
    ]  # fmt: skip


def nothing() -> list[Case]:
    """Replies that hold no answer."""
    texts = {
        "empty": "",
        "blank": " \n\t ",
        "refusal": "I'm sorry, but I can't help with that.",
        "refusal_json": '{"error": "I cannot see the image."}',
        "empty_list": "[]",
        "empty_object": "{}",
        "list_of_text": '["Where is the cup?", "On the table."]',
        "null": "null",
        "prose": "The cup is on the table, left of the book. There are three books.",
        "schema": js({"type": "array", "items": {"properties": {"question": {"type": "string"}, "answer": {"type": "string"}}}}),
        "page": "<!doctype html><html><body>502 Bad Gateway</body></html>",
        "brackets_only": "[[[[{{{{",
        "question_only": "Could you send the image again?",
    }  # fmt: skip
    return [Case(f"nothing_{name}", kind, text, None) for name, text in texts.items() for kind in ("qas", "score")]


def cases() -> list[Case]:
    """All of them."""
    return [*wrappers(), *punctuation(), *fields(), *cut(), *marks(), *nests(), *nothing()]
