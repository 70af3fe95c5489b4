"""What a backbone would be trained on, row by row: the text behind `mmevol labels`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.text import Text
from tokenizers import Tokenizer

from mmevol_core.errors import UserError, unknown
from mmevol_core.json_stream import json_rows
from mmevol_train.conversation import (
    IMAGE,
    BadRow,
    Rendered,
    Span,
    Template,
    chat_template,
    render_answer,
    render_mmevol,
    render_plain,
    special_tokens,
    template,
    union,
)
from mmevol_train.encoding import Encoded, encode, newline_ids, untrimmed, with_image_token
from mmevol_train.llava import image_names, row_problem

STAGES = ("pretrain", "finetune")
MODES = ("answer", "mmevol")


@dataclass(frozen=True)
class LabelRow:
    """One conversation as text; `supervised` the characters the loss is taken on.

    `problem` says why there are none, `note` what of the row's own words was written differently.
    """

    row: int
    rendered: str
    supervised: tuple[Span, ...]
    problem: str = ""
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The JSON line of `mmevol labels --json`."""
        shown = {"row": self.row, "rendered": self.rendered, "supervised": [list(span) for span in self.supervised]}
        return shown | {name: text for name in ("problem", "note") if (text := getattr(self, name))}


def label_rows(
    data: Path, template_name: str, stage: str, mode: str, tokenizer: Path | None = None, max_length: int | None = None
) -> Iterator[LabelRow]:
    """Render every row of a LLaVA JSON file and say which characters are supervised.

    `<image>` stands for the image slot and counts as one token. `max_length` cuts after that many tokens, before
    images are expanded, as the reference's collator does. `tokenizer` is a `tokenizer.json`; the default is the
    stand-in of the template.

    Raises:
        UserError: for an unknown template, stage or mode, a bad `max_length`, and a file that is no JSON list; a row
            that is no conversation is no error but a `LabelRow` with its problem.
    """
    for kind, name, valid in (("stage", stage, STAGES), ("label mode", mode, MODES)):
        if name not in valid:
            raise unknown(kind, name, valid)
    shape = template(template_name)
    words = load_tokenizer(tokenizer, shape)
    if max_length is not None and max_length < 1:
        raise UserError(f"--max-length must be 1 or more, got {max_length}")
    begins = _start(words, shape, tokenizer is None)
    known = [untrimmed(words), with_image_token(untrimmed(words))]
    also = newline_ids(words, shape, mode, stage)
    for number, row in enumerate(json_rows(data)):
        try:
            rendered = _rendered(row, shape, stage, mode, words, begins)
            reads = known[stage == "pretrain" or "image" in row]
            rendered = normalised(rendered, reads)
            shown = _shown(number, rendered, encode(rendered, reads, also), max_length)
            yield replace(shown, note=_escaped(row, words) if mode == "answer" else "")
        except BadRow as problem:
            yield LabelRow(number, "", (), str(problem))


def colour(row: LabelRow) -> Text:
    """For the terminal: supervised characters in green, the rest dim; what is wrong with a row in red."""
    said = "; ".join(text for text in (row.problem, row.note) if text)
    head = Text(f"row {row.row}: ", style="bold") + Text(f"{said} " if said else "", style="red")
    text = head + Text(row.rendered, style="dim")
    offset = len(text.plain) - len(row.rendered)
    for start, end in row.supervised:
        text.stylize("not dim green", offset + start, offset + end)
    return text


def load_tokenizer(path: Path | None, shape: Template) -> Tokenizer:
    """A `tokenizer.json` (or the folder that holds it); the template's stand-in by default."""
    if path is None:
        path = Path(__file__).parent / "standins" / "weights" / shape.name
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"tokenizer not found: {path}; give --tokenizer a tokenizer.json")
    try:
        words = Tokenizer.from_buffer(file.read_bytes())  # from_str raises Exception itself
    except (ValueError, TypeError, OSError) as error:
        raise UserError(f"{file} is not a tokenizer.json that can be read: {error}") from error
    missing = [token for token in shape.control if words.token_to_id(token) is None]
    if missing:
        raise UserError(f"{file} lacks {', '.join(missing)}; choose the tokenizer of a {shape.name} model")
    return words


def _rendered(
    row: Mapping[str, Any], shape: Template, stage: str, mode: str, words: Tokenizer, begins: str
) -> Rendered:
    if problem := row_problem(row):
        raise BadRow(problem)
    turns, has_image = row["conversations"], "image" in row
    if mode == "answer":
        images = len(image_names(row))
        return render_answer(turns, chat_template(shape.name), special_tokens(words), "escape", images)
    if stage == "pretrain":
        return render_plain(turns, begins, has_image)
    return render_mmevol(turns, shape, has_image)


def _escaped(row: Mapping[str, Any], words: Tokenizer) -> str:
    """Which special tokens stand in a row's own text; in training `special_text` decides about them."""
    texts = "\n".join(turn["value"] for turn in row["conversations"])
    literal = [token for token in special_tokens(words) if token != IMAGE and token in texts]
    literal += [IMAGE] if texts.count(IMAGE) > len(image_names(row)) else []
    return f"literal {', '.join(literal)} escaped" if literal else ""


def _start(words: Tokenizer, shape: Template, standin: bool) -> str:
    """What the tokenizer itself puts before a text: Llama-3's does, Qwen2's does not."""
    if standin:
        return shape.start
    ids = words.encode("", add_special_tokens=True).ids
    return shape.start if shape.start and ids[:1] == [words.token_to_id(shape.start)] else ""


def normalised(rendered: Rendered, words: Tokenizer) -> Rendered:
    """The text as the tokenizer reads it (Qwen2: NFC), with the spans moved along; added tokens are found before."""
    normalizer = words.normalizer
    if normalizer is None:
        return rendered
    cuts = {0, len(rendered.text), *(place for span in rendered.supervised for place in span)}
    added = [token.content for token in words.get_added_tokens_decoder().values() if not token.normalized]
    known = re.compile("|".join(map(re.escape, added)) or "(?!)")
    cuts |= {place for match in known.finditer(rendered.text) for place in match.span()}
    text, moved = "", {}
    edges = sorted(cuts)
    for start, end in pairwise(edges):
        moved[start] = len(text)
        part = rendered.text[start:end]
        text += part if known.fullmatch(part) else normalizer.normalize_str(part)
    moved[edges[-1]] = len(text)
    return Rendered(text, tuple((moved[start], moved[end]) for start, end in rendered.supervised))


def _shown(number: int, rendered: Rendered, encoded: Encoded, max_length: int | None) -> LabelRow:
    """Characters of the supervised tokens; a character split over tokens belongs to all of them."""
    kept = len(encoded.ids) if max_length is None else min(max_length, len(encoded.ids))
    whole = kept == len(encoded.ids)
    ends = [*encoded.ends[: kept - 1], len(rendered.text)] if whole else encoded.ends[:kept]
    spans, start = [], 0
    for supervised, end in zip(encoded.supervised, ends, strict=False):
        if supervised:
            spans.append((start, end))
        start = max(start, end)
    text = rendered.text if whole else rendered.text[: ends[-1]]
    return LabelRow(number, text, union(spans), "" if spans else "nothing supervised")
