"""Token ids of many texts at several times the tokenizer's own speed, and the same ids.

Pre-tokenizers cut a text before anything is merged, and the one that Qwen2 and Llama 3 share always cuts

* at special tokens,
* before a space that follows no white space and precedes an ASCII letter,
* between a newline and what is no white space.

So a text can be tokenised in pieces, and most pieces have come before: their ids are looked up. Where a tokenizer is of
another kind, or a border of what is supervised falls elsewhere, the tokenizer reads the whole text (`encode`, which
defines what is right: tests/train/test_pieces.py compares).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers

from mmevol_train.conversation import Rendered
from mmevol_train.encoding import encode, untrimmed

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = (SPLIT % "", SPLIT % "{1,3}")  # Qwen2's, Llama 3's
WORD = re.compile(r" (?<=\S )(?=[A-Za-z])")
REMEMBERED = 2**25  # characters of remembered pieces, each counted with OVERHEAD: at most about 100 MB
OVERHEAD = 100
Ids = tuple[NDArray[np.int32], NDArray[np.bool_]]


class Piece(NamedTuple):
    """A stretch of a text: its first word, and those behind it without the space before each."""

    first: str
    later: list[str]
    supervised: bool


class Pieces:
    """A tokenizer with a memory. `also` are ids that are supervised wherever they occur, as in `encode`."""

    def __init__(self, tokenizer: Tokenizer, also: Iterable[int] = ()) -> None:
        self._tokenizer, self._also = tokenizer, list(also)
        self._special = _special_ids(tokenizer) if _cuts_as_said(tokenizer) else None
        self._control = re.compile("|".join(map(re.escape, self._special or ())) or "(?!)")
        self._forget()

    def encode(self, texts: Sequence[Rendered]) -> list[Ids]:
        """ids (T,) and supervised (T,) of each text."""
        cut = [self._cut(text) for text in texts]
        self._learn([piece for pieces in cut if pieces is not None for piece in pieces])
        both = zip(texts, cut, strict=True)
        found = [self._whole(text) if pieces is None else self._joined(pieces) for text, pieces in both]
        if self._held > REMEMBERED:
            self._forget()
        return found

    def _forget(self) -> None:
        self._first = {text: _bytes([number]) for text, number in (self._special or {}).items()}
        self._later: dict[str, bytes] = {}
        self._held = 0

    def _cut(self, rendered: Rendered) -> list[Piece] | None:
        """Pieces that are tokenised each for itself, None where a border of what is supervised is no cut."""
        if self._special is None:
            return None
        text = rendered.text
        control = {place for match in self._control.finditer(text) for place in match.span()}
        borders = {place for span in rendered.supervised for place in span} - control - {0, len(text)}
        if any(text[place - 1] != "\n" or text[place].isspace() for place in borders):
            return None
        marked = bytearray(len(text))
        for start, end in rendered.supervised:
            marked[start:end] = b"\1" * (end - start)
        pieces = []
        for start, end in pairwise(sorted(control | borders | {0, len(text)})):
            first, *later = WORD.split(text[start:end])
            pieces.append(Piece(first, later, bool(marked[start])))
        return pieces

    def _learn(self, pieces: Sequence[Piece]) -> None:
        """Tokenise what has not come before."""
        first = [*{piece.first for piece in pieces} - self._first.keys()]
        later = [*set().union(*(piece.later for piece in pieces)) - self._later.keys()]
        texts = first + [f" {word}" for word in later]
        ids = [_bytes(one.ids) for one in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        self._first.update(zip(first, ids[: len(first)], strict=True))
        self._later.update(zip(later, ids[len(first) :], strict=True))
        self._held += sum(map(len, texts)) + OVERHEAD * len(texts)

    def _joined(self, pieces: Sequence[Piece]) -> Ids:
        parts = [self._first[piece.first] + b"".join(map(self._later.__getitem__, piece.later)) for piece in pieces]
        ids = np.frombuffer(b"".join(parts), np.int32)
        supervised = np.repeat([piece.supervised for piece in pieces], [len(part) // 4 for part in parts])
        return ids, supervised.astype(bool) | np.isin(ids, self._also) if self._also else supervised.astype(bool)

    @cached_property
    def _untrimmed(self) -> Tokenizer:
        return untrimmed(self._tokenizer)

    def _whole(self, text: Rendered) -> Ids:
        encoded = encode(text, self._untrimmed, self._also)
        return np.array(encoded.ids, np.int32), np.array(encoded.supervised, bool)


def _bytes(ids: Sequence[int]) -> bytes:
    return np.array(ids, np.int32).tobytes()


def _special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Added tokens, all of the form <...>: two of them never overlap."""
    return {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}


def _cuts_as_said(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer cuts where the head of this file says, and each piece is tokenised for itself."""
    added = tokenizer.get_added_tokens_decoder().values()
    plain = all(
        re.fullmatch("<[^<>]+>", token.content)
        and not (token.lstrip or token.rstrip or token.single_word or token.normalized)
        for token in added
    )
    reads_all = tokenizer.truncation is None and tokenizer.padding is None and not tokenizer.encode_special_tokens
    same = tokenizer.normalizer is None or isinstance(tokenizer.normalizer, normalizers.NFC)
    merges = isinstance(tokenizer.model, models.BPE) and not tokenizer.model.dropout
    return plain and reads_all and same and merges and _pattern(tokenizer) in PATTERNS


def _pattern(tokenizer: Tokenizer) -> str:
    """The expression by which a byte-level tokenizer splits a text, "" when it splits in another way."""
    if tokenizer.pre_tokenizer is None:
        return ""
    state = json.loads(tokenizer.pre_tokenizer.__getstate__())
    steps = state.get("pretokenizers", [])
    if [step["type"] for step in steps] != ["Split", "ByteLevel"]:
        return ""
    split, levels = steps
    expected = (split["behavior"], split["invert"], levels["add_prefix_space"], levels["use_regex"])
    return str(split["pattern"].get("Regex", "")) if expected == ("Isolated", False, False, False) else ""
