"""Token ids of texts at several times the tokenizer's own speed, and the same ids.

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
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise

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
REMEMBERED = 2**26  # characters of remembered pieces, each counted with OVERHEAD: about 150 MB
OVERHEAD = 100
Ids = tuple[NDArray[np.int32], NDArray[np.bool_]]


class Memory(dict[str, bytes]):
    """Pieces and their ids as bytes; what it does not hold is tokenised, with `before` in front of it."""

    def __init__(self, tokenizer: Tokenizer, before: str) -> None:
        super().__init__()
        self._tokenizer, self._before = tokenizer, before
        self.held = 0

    def __missing__(self, piece: str) -> bytes:
        ids = self._tokenizer.encode(self._before + piece, add_special_tokens=False).ids
        self[piece] = found = np.array(ids, np.int32).tobytes()
        self.held += len(piece) + OVERHEAD
        return found


class Pieces:
    """A tokenizer with a memory. `also` are ids that are supervised wherever they occur, as in `encode`."""

    def __init__(self, tokenizer: Tokenizer, also: Iterable[int] = ()) -> None:
        self._tokenizer, self._also = tokenizer, list(also)
        added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        self._control = re.compile("|".join(map(re.escape, added)) or "(?!)")
        self.knows_cuts = _cuts_as_said(tokenizer)
        self._forget()

    def encode(self, rendered: Rendered) -> Ids:
        """ids (T,) and supervised (T,) of a text."""
        cuts = self._cuts(rendered) if self.knows_cuts else None
        if cuts is None:
            return self._whole(rendered)
        marked = bytearray(len(rendered.text))
        for start, end in rendered.supervised:
            marked[start:end] = b"\1" * (end - start)
        parts, flags = [], []
        for start, end in pairwise(cuts):
            words = iter(WORD.split(rendered.text[start:end]))
            parts.append(self._first[next(words)] + b"".join(map(self._later.__getitem__, words)))
            flags.append(marked[start])
        ids = np.frombuffer(b"".join(parts), np.int32)
        supervised = np.repeat(np.array(flags, bool), [len(part) // ids.itemsize for part in parts])
        if self._first.held + self._later.held > REMEMBERED:
            self._forget()
        return ids, supervised | np.isin(ids, self._also) if self._also else supervised

    def _forget(self) -> None:
        self._first, self._later = Memory(self._tokenizer, ""), Memory(self._tokenizer, " ")

    def _cuts(self, rendered: Rendered) -> list[int] | None:
        """Where the text is cut, both ends included; None where what is supervised begins or ends elsewhere."""
        text = rendered.text
        cuts = {0, len(text), *(place for match in self._control.finditer(text) for place in match.span())}
        borders = {place for span in rendered.supervised for place in span} - cuts
        if any(text[place - 1] != "\n" or text[place].isspace() for place in borders):
            return None
        return sorted(cuts | borders)

    def _whole(self, text: Rendered) -> Ids:
        encoded = encode(text, self._untrimmed, self._also)
        return np.array(encoded.ids, np.int32), np.array(encoded.supervised, bool)

    @cached_property
    def _untrimmed(self) -> Tokenizer:
        return untrimmed(self._tokenizer)


def _cuts_as_said(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer cuts where the head of this file says, and each piece is tokenised for itself."""
    added = tokenizer.get_added_tokens_decoder().values()
    plain = all(  # of the form <...>: no two of them overlap
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
