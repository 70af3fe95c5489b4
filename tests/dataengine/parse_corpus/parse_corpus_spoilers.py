# ruff: noqa: E501 - one case a line reads best as a table
"""Ways in which teachers spoil JSON, written without the parser: known truth in, spoiled text out."""

import json
import re

from hypothesis import strategies as st

NASTY = [
    "https://example.org/a//b?x=1#frag", "```json\n[1]\n```", "C:\\temp\\new", "\\frac{1}{2} \\times \\theta", "$\\nu$",
    "他说“你好”，然后离开。", "emoji 🐕‍🦺", 'He said "stop", then left.', "it's the dogs' bowl", "[0.1, 0.25]", "{a: 1}",
    "// not a comment", "/* nor this */", "# heading", "tab\there", "two\nlines", "<think>", "&quot;", "9.00", "null",
    "a, b", 'key": "value', "“quoted”", "colon: here", "，：", "trailing\\", "５％", "</b>", "don’t", "Final answer:", "draft",
]  # fmt: skip
# Two backslashes side by side are left out: halved, they are valid JSON for one, and nobody can tell.
words = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
    st.sampled_from(["the", "red", "dog", "near", "two", "boxes", "is", "left", "of", "it"]),
)
text = (
    st.lists(words, min_size=1, max_size=5)
    .map(" ".join)
    .filter(lambda value: value.strip(" .…") and "\\\\" not in value)
)
steps = st.lists(st.fixed_dictionaries({"manipulation": text, "description": text}), max_size=2)
short = st.sampled_from(["dog", "the cat", "OCR", "a-b", "two words"])
item = st.fixed_dictionaries({
    "objects": st.lists(short, max_size=3), "skills": st.lists(short, max_size=2), "format": st.just("open-ended"),
    "question": text, "steps": steps, "answer": text,
})  # fmt: skip
items = st.lists(
    item, min_size=1, max_size=3, unique_by=lambda one: re.sub(r"\W+", " ", one["question"]).strip().lower()
)
score = st.fixed_dictionaries({
    "improved": st.sampled_from(["yes", "no"]), "score": st.integers(0, 10), "reason": text,
})  # fmt: skip
scores = st.lists(score, min_size=1, max_size=3)


def dump(value, indent=2):
    return json.dumps(value, ensure_ascii=False, indent=indent)


def raw_newlines(value, *_):
    return re.sub(r"(?<!\\)((?:\\\\)*)\\n", lambda m: m[1] + "\n", dump(value))


def unescaped_quotes(value, *_):
    return re.sub(r'(?<!\\)((?:\\\\)*)\\"', lambda m: m[1] + '"', dump(value))


def single_backslashes(value, *_):
    """Only where one backslash alone is no escape: `\\n` for a backslash and an n cannot be told from a new line, nor
    `\\'` from an apostrophe that was escaped as in JavaScript."""
    return re.sub(r"""\\\\(?![nrtbfu"'/\\])""", r"\\", dump(value))


def smart_delimiters(value, *_):
    return re.sub(r'"((?:[^"\\]|\\.)*)"', "“\\1”", dump(value))


def all_quotes_smart(value, *_):
    return dump(value).replace('"', "”")


def truncated(value, cut):
    whole = dump(value)
    return whole[: int(len(whole) * cut)]


def truncated_in_fence(value, cut):
    return "```json\n" + truncated(value, cut) + "\n```\nThat is all."


def hole(value, cut):
    whole = dump(value)
    place = int(len(whole) * cut)
    return whole[:place] + whole[place + 1 :]


def line_lost(value, cut):
    lines = dump(value).split("\n")
    del lines[int(len(lines) * cut)]
    return "\n".join(lines)


SPOILERS = {
    "clean": lambda v, _: dump(v),
    "compact": lambda v, _: dump(v, None),
    "fenced": lambda v, _: f"Sure, here it is:\n```json\n{dump(v)}\n```\nLet me know!",
    "bare_fence": lambda v, _: f"```\n{dump(v)}\n```",
    "trailing_commas": lambda v, _: re.sub(r'([\]}"\d])\n', r"\1,\n", dump(v)).replace(",,", ",").rstrip(",\n"),
    "comments": lambda v, _: re.sub(r",\n", ', // it\'s a "note"\n', dump(v)),
    "python": lambda v, _: repr(v),
    "missing_commas": lambda v, _: re.sub(r",\n", "\n", dump(v)),
    "full_width": lambda v, _: re.sub(r",\n", "，\n", re.sub(r'^(\s*"\w+"): ', r"\1：", dump(v), flags=re.M)),
    "bare_keys": lambda v, _: re.sub(r'^(\s*)"(\w+)": ', r"\1\2: ", dump(v), flags=re.M),
    "bold_keys": lambda v, _: re.sub(r'^(\s*)"(\w+)": ', r'\1**"\2"**: ', dump(v), flags=re.M),
    "upper_keys": lambda v, _: re.sub(r'^(\s*)"(\w+)": ', lambda m: f'{m[1]}"{m[2].title()}": ', dump(v), flags=re.M),
    "wrapped": lambda v, _: dump({"data": {"qas": v}}),
    "encoded_twice": lambda v, _: json.dumps(dump(v)),
    "escaped": lambda v, _: json.dumps(dump(v, None), ensure_ascii=False)[1:-1],
    "json_lines": lambda v, _: "\n".join(dump(one, None) for one in v),
    "blocks": lambda v, _: "\n\n".join(f"```json\n{dump([one])}\n```" for one in v),
    "think": lambda v, _: f'<think>maybe [{{"question": "x"}}] or "so</think>\n{dump(v)}',
    "think_unclosed": lambda v, _: f"<think>maybe\n{dump(v)}",
    "nested": lambda v, _: dump([v]),
    "raw_newlines": raw_newlines,
    "unescaped_quotes": unescaped_quotes,
    "single_backslashes": single_backslashes,
    "smart_delimiters": smart_delimiters,
    "all_quotes_smart": all_quotes_smart,
    "truncated": truncated,
    "truncated_in_fence": truncated_in_fence,
    "hole": hole,
    "line_lost": line_lost,
}
EXACT = ("clean", "compact", "fenced", "bare_fence", "wrapped", "encoded_twice", "think", "nested")
