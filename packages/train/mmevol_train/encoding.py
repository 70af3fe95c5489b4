"""Text to token ids and the tokens that are supervised, one text at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer

from mmevol_train.conversation import IMAGE, Rendered, Template


@dataclass(frozen=True)
class Encoded:
    """Token ids and the tokens that are supervised (same length); an image slot is one id."""

    ids: list[int]
    supervised: list[bool]
    ends: list[int]  # character at which each token ends


def encode(rendered: Rendered, tokenizer: Tokenizer, also: Iterable[int] = ()) -> Encoded:
    """Tokenise without adding special tokens; a token is supervised when its first character is.

    `also` are ids that are supervised wherever they occur (the reference's newline look-up).
    """
    encoding = tokenizer.encode(rendered.text, add_special_tokens=False)
    marked = bytearray(len(rendered.text) + 1)
    for start, end in rendered.supervised:
        marked[start:end] = b"\1" * (end - start)
    extra = set(also)
    supervised = [
        bool(marked[start]) or number in extra
        for number, (start, _) in zip(encoding.ids, encoding.offsets, strict=True)
    ]
    return Encoded(list(encoding.ids), supervised, [end for _, end in encoding.offsets])


def with_image_token(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer, or a copy that knows `<image>` as one special token."""
    if tokenizer.token_to_id(IMAGE) is not None:
        return tokenizer
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.add_special_tokens([AddedToken(IMAGE, special=True, normalized=False)])
    return copy


def untrimmed(tokenizer: Tokenizer) -> Tokenizer:
    """A copy whose tokens begin where their text begins: a post-processor may leave out the white space in front."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.post_processor = None  # it trims offsets, and adds special tokens, which nobody asks for here
    return copy


def newline_ids(words: Tokenizer, shape: Template, mode: str, stage: str) -> tuple[int, ...]:
    """The reference looks newlines up as a token; byte-level vocabularies (Qwen2, Llama-3) have no such entry."""
    found = words.token_to_id(shape.newline) if (mode, stage) == ("mmevol", "finetune") else None
    return () if found is None else (found,)
