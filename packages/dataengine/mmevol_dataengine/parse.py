"""Teacher text to items, or nothing.

A reply is read strictly first (orjson) and, when that fails or is not safe, by a reader that repairs only what can be
read in one way. A wrong value costs more than a miss: an item whose text is cut, ambiguous or incomplete is dropped,
and scores are kept all or nothing, because a judge's list loses its meaning when one entry is missing.
`docs/parser.md` lists the repairs and how the parser compares with others.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import orjson

from mmevol_core.errors import UserError
from mmevol_dataengine.parsing.fields import (
    LINKS,
    PLURALS,
    QA_FIELDS,
    SCORE_FIELDS,
    Doubt,
    collect,
    is_schema,
    qa_item,
    score_item,
)
from mmevol_dataengine.parsing.lexis import normal_key, read_plain
from mmevol_dataengine.parsing.reader import Block
from mmevol_dataengine.parsing.replies import choose, find_blocks
from mmevol_dataengine.parsing.retractions import contradicts

Items = list[dict[str, Any]]
_MAX_CHARACTERS = 400_000
_FENCED = re.compile(r"```[\w+-]*[ \t]*\n(.*?)\n?```", re.DOTALL)
# In strict JSON these are escapes, in what teachers write the start of \frac, \beta, \theta, \nu, \rho.
_RISKY_ESCAPE = re.compile(r"\\\\|\\[bf]|\\[trn][a-z]")
# Remains of judgements between the values that could be read; "improved": "yes/no" only shows the form.
_REMAINS = re.compile(
    r"""(?:["'“”](?:improved|score|reason)["'“”]?\s*[:：\[\]{}"']|(?:^|[\[{])\W{0,20}(?:improved|score|reason)["'”]?\s*[:：])"""
    r"""(?!\s*["'<]?(?:yes\W{1,3}no\b|yes\W{1,3}or|\d+\s*(?:-|–|to)\s*\d+|<|\.\.))""",
    re.IGNORECASE,
)
_LOST_BRACE = re.compile(r"^\s*(?:improved|score|reason)\s*[:：][^\n]*[,，]\s*$", re.IGNORECASE | re.MULTILINE)
_COUNTER = re.compile(
    r"(?:[\s\-*#.,:;()|]|\b(?:sample|pair|item|score|entry|result|question|number|no|next|json)s?\b|\d+|```)*"
)


def parse_items(text: str) -> Items | None:
    """Read the questions of a reply, or None when none can be trusted.

    Each has `objects`, `skills` (lists of str), `format`, `question`, `answer` (str), `steps` (list of
    {manipulation, description}) and `parent` when the teacher named it. Items that lack a field are left out.
    """
    fast = _strict(text, QA_FIELDS, ("question", "answer"))
    if fast is not None:
        items = [item for raw in fast if raw is not None and (item := qa_item(raw)) is not None]
        if len(items) == len(fast):
            return items
    return _tolerant(text, _items_of_reply)


def parse_scores(text: str) -> Items | None:
    """Read the judgements of a reply: all of them, or None.

    Each has `improved` ("yes" or "no"), `score` (0-10), `reason` and `id` when the teacher named it. A list that was
    cut off at its end gives its whole leading judgements.
    """
    fast = _strict(text, SCORE_FIELDS, ("improved", "score"))
    if fast is not None:
        whole = _all_or_nothing(fast)
        if whole is not None:
            return whole
    return _tolerant(text, _scores_of_reply)


def parse_reply(kind: Literal["qas", "score"], text: str) -> Items | None:
    """What `mmevol parse` prints: as `parse_items` or `parse_scores`, without the links to parent or id."""
    items = {"qas": parse_items, "score": parse_scores}[kind](text)
    return items and [{key: value for key, value in item.items() if key not in LINKS} for item in items]


def parse_lines(kind: Literal["qas", "score"], rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Parse rows of `{"id", "raw"}` to rows of `{"id", "items"}`, `items` None where nothing can be trusted.

    A `raw` of null is a reply that never came: nothing can be trusted.

    Raises:
        UserError: for a row without `raw`, or whose `raw` is neither string nor null, naming the row.
    """
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not isinstance(row.get("raw", 0), str | None):
            raise UserError(f'row {number}: expected {{"id": ..., "raw": TEXT}}; the key raw is missing or no string')
        yield {"id": row.get("id"), "items": parse_reply(kind, row["raw"] or "")}


def _strict(text: str, fields: frozenset[str], once: tuple[str, str]) -> list[dict[str, Any] | None] | None:
    """Raw objects of a reply that is plain JSON and safe to read as such; None to let the tolerant reader decide."""
    body = text.strip()
    if body.startswith("```") and body.endswith("```") and "\n" in body:
        body = body[body.index("\n") + 1 : -3]
    try:
        value = read_plain(body)
    except ValueError:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(raw, dict) for raw in value):
        return None
    if "\\" in body and any(found[0] != "\\\\" for found in _RISKY_ESCAPE.finditer(body)):
        return None
    names = {*fields, *LINKS, *PLURALS}
    if any(key not in fields and key not in LINKS and normal_key(key) in names for raw in value for key in raw):
        return None  # a name in another form is not seen by those who look up the plain one
    first, second = once
    if any(body.count(f'"{key}"') != len(value) for key in once) or not all(first in r and second in r for r in value):
        return None
    if "answer" in once and not all(isinstance(raw["answer"], str) for raw in value):
        return None
    if any(body.count(f'"{key}"') > len(value) for key in fields):
        return None
    return value


def _tolerant(text: str, finish: Callable[[str], Items | None]) -> Items | None:
    """Read the text as it is, or, when it has no readable value at all, as an escaped copy of itself."""
    if len(text) > _MAX_CHARACTERS:
        return None
    body = text.strip("\ufeff\u200b \t\r\n")
    unescaped = _unescaped(body)
    return finish(body if unescaped is None else unescaped)


def _unescaped(body: str) -> str | None:
    """Text of a reply that is one JSON string, or JSON with every quote escaped, or HTML-escaped; else None."""
    fenced = _FENCED.fullmatch(body)
    inner = fenced[1].strip() if fenced else body
    for candidate in (inner, f'"{inner}"'):
        is_string = inner.startswith('"') if candidate == inner else re.match(r'[\[{\s]+\\"', inner) is not None
        if is_string and candidate.endswith('"'):
            try:
                value = orjson.loads(candidate if candidate == inner else candidate.replace("\n", "\\n"))
            except orjson.JSONDecodeError:
                continue
            if isinstance(value, str) and re.match(r'\s*(```\w*\s*)?[\[{"]', value):
                return _unescaped(value) or value
    if "\\_" in inner and re.search(r"(?<!\\)_", inner) is None:
        return inner.replace("\\_", "_")  # escaped for Markdown
    if re.match(r"[\[{\s]+&quot;\w+&quot;\s*:", inner) is not None and '"' not in inner:
        return html.unescape(inner)
    return None


def _final_blocks(
    text: str, fields: frozenset[str]
) -> tuple[list[tuple[Block, list[dict[str, Any] | None]]], list[str]] | None:
    """The blocks that are the answer, each with its raw objects, and the text before each and after the last."""
    reply = find_blocks(text)
    if reply is None:
        return None
    relevant = [_holds_objects(block, fields) or _spoiled(text, block, fields) for block in reply.blocks]
    leads, lead = [], ""
    for is_relevant, before in zip(relevant, reply.leads, strict=True):
        lead += before
        if is_relevant:
            leads.append(lead)
            lead = ""
    reply.tail = lead + reply.tail
    reply.blocks = [block for block, is_relevant in zip(reply.blocks, relevant, strict=True) if is_relevant]
    reply.leads = leads
    chosen = choose(reply)
    if chosen is None:
        return None
    blocks, leads = chosen
    return [(block, list(collect(block.values, fields))) for block in blocks], [*leads, reply.tail]


def _holds_objects(block: Block, fields: frozenset[str]) -> bool:
    """Blocks of ours hold objects with our fields, or were cut or broken before they could."""
    if block.broken or (block.cut and not block.values):
        return True
    return any(raw is not None for raw in collect(block.values, fields))


def _spoiled(text: str, block: Block, fields: frozenset[str]) -> bool:
    """A judgement of which too little could be read: those after it would move to its place."""
    return fields is SCORE_FIELDS and _REMAINS.search(text, block.start, block.end) is not None


def _items_of_reply(text: str) -> Items | None:
    try:
        found = _final_blocks(text, QA_FIELDS)
    except Doubt:
        return None
    if found is None:
        return None
    kept: Items = []
    for _, raws in found[0]:
        items = [item for raw in raws if raw is not None and (item := qa_item(raw)) is not None]
        fresh = [item for item in items if item not in kept]  # a list may be given twice, or begun again
        earlier = {_words_of(item["question"]) for item in kept}
        if any(_words_of(item["question"]) in earlier for item in fresh):
            return None  # two versions of one question, and nothing that says which is final
        kept += fresh
    return kept or None


def _words_of(question: str) -> str:
    return re.sub(r"\W+", " ", question).strip().lower()


def _scores_of_reply(text: str) -> Items | None:
    try:
        found = _final_blocks(text, SCORE_FIELDS)
    except Doubt:
        return None
    if found is None:
        return None
    blocks, around = found
    if any(block.broken for block, _ in blocks) or any(
        _REMAINS.search(words) or _LOST_BRACE.search(words) for words in around
    ):
        return None
    if len(blocks) > 1 and blocks[-1][0].cut and not blocks[-1][1]:
        blocks, around = (
            blocks[:-1],
            [*around[:-2], around[-1]],
        )  # the last of several lines was cut: the others are whole
    while len(blocks) > 1 and all(is_schema(raw) for raw in blocks[0][1]):
        blocks, around = blocks[1:], around[1:]
    if len(blocks) > 1:
        single = all(len(raws) == 1 and not block.cut for block, raws in blocks)
        if not single or not all(_COUNTER.fullmatch(words.lower()) for words in around[1:-1]):
            return None
    whole = _all_or_nothing([raw for _, raws in blocks for raw in raws])
    return None if whole is None or contradicts(around[-1], whole) else whole


def _all_or_nothing(raws: list[dict[str, Any] | None]) -> Items | None:
    items = [score_item(raw) if raw is not None else None for raw in raws]
    whole = [item for item in items if item is not None]
    return whole if whole and len(whole) == len(items) else None
