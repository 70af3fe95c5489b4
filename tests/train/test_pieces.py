"""Tokenising in remembered pieces: the ids and labels of the tokenizer that reads every text whole."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.tiny_models import SPECIAL, tokenizer
from tokenizers import AddedToken, Tokenizer, normalizers, processors

import mmevol_train
from mmevol_train import pieces
from mmevol_train.conversation import (
    TEMPLATES,
    BadRow,
    Rendered,
    chat_template,
    render_answer,
    render_mmevol,
    template,
)
from mmevol_train.encoding import encode, untrimmed
from mmevol_train.pieces import Pieces

STANDINS = Path(mmevol_train.__file__).parent / "standins" / "weights"
BITS = [
    "a", "I'll", "don't", "word", " word", "  two", "x y", "red, blue", "no.Space", "é", "e\u0301", "\u0301", "\u0338",
    "中文", "7", "1234 5678", " ", "  ", "\n", "\n\n", " \n ", "\r\n", "\t", "\x85", "\u00a0", "\u2028", "\x1c", "!",
    "\u200b z", "?!\n\n", "<|im_end|>", "<|im_end", "|>", "<image>", "<image", "<b> bold </b>", "<|eot_id|>",
    "😀 smile", "ſ's", "'s",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(BITS) | st.text(max_size=3), max_size=8).map("".join)
TALK = st.lists(st.tuples(st.sampled_from(["human", "gpt", "system"]), TEXT), min_size=1, max_size=5).map(
    lambda turns: [{"from": role, "value": value} for role, value in turns]
)


def words(family):
    """The stand-in's tokenizer, its expressions those of the real ones; Qwen2 with its NFC."""
    found = Tokenizer.from_file(str(STANDINS / family / "tokenizer.json"))
    found.normalizer = normalizers.NFC() if family == "qwen2" else None
    return found


TOKENIZERS = {family: words(family) for family in TEMPLATES}
REMEMBERING = {family: Pieces(TOKENIZERS[family]) for family in TEMPLATES}


def same(found, text, family, also=()):
    expected = encode(text, untrimmed(TOKENIZERS[family]), also)
    assert found[0].tolist() == expected.ids
    assert found[1].tolist() == expected.supervised


@settings(max_examples=150, deadline=None)
@given(talks=st.lists(TALK, min_size=1, max_size=3), family=st.sampled_from(list(TEMPLATES)))
@example(talks=[[{"from": "gpt", "value": "\n x"}], [{"from": "human", "value": "a b"}]], family="qwen2")
def test_pieces_give_the_tokens_and_labels_of_the_whole_text_by_both_rules(talks, family):
    texts = [render_mmevol(talk, template(family), has_image=True) for talk in talks]
    for talk in talks:
        try:
            texts.append(render_answer(talk, chat_template(family)))
        except BadRow:
            continue
    for text in texts:
        same(REMEMBERING[family].encode(text), text, family)


@settings(max_examples=150, deadline=None)
@given(text=TEXT, cuts=st.lists(st.integers(0, 40), max_size=4), family=st.sampled_from(list(TEMPLATES)))
def test_borders_may_fall_anywhere(text, cuts, family):
    places = sorted({cut for cut in cuts if cut <= len(text)})
    spans = tuple(zip(places[::2], places[1::2], strict=False))
    rendered = Rendered(text, spans)
    same(REMEMBERING[family].encode(rendered), rendered, family)
    same(Pieces(TOKENIZERS[family], also=(5, 9)).encode(rendered), rendered, family, also=(5, 9))


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(pieces, "REMEMBERED", 500)
    few = Pieces(TOKENIZERS["qwen2"])
    for number in range(40):
        text = Rendered(f"word{number} other more {number * 'long'}", ())
        same(few.encode(text), text, "qwen2")
    assert few._first.held + few._later.held < 1500


def test_known_expressions_are_read_in_pieces_and_all_others_whole():
    assert all(Pieces(TOKENIZERS[family]).knows_cuts for family in TEMPLATES)
    strange = words("qwen2")
    strange.add_tokens([AddedToken("<|tool|>", lstrip=True)])
    cutting = words("qwen2")
    cutting.enable_truncation(3)
    for other in (tokenizer("qwen2"), strange, cutting):
        assert not Pieces(other).knows_cuts
    text = Rendered("a word and\n another", ((2, 6),))
    ids, supervised = Pieces(tokenizer("qwen2")).encode(text)
    expected = encode(text, tokenizer("qwen2"))
    assert (ids.tolist(), supervised.tolist()) == (expected.ids, expected.supervised)


def test_a_tokenizer_that_trims_offsets_supervises_the_same_tokens():
    """A ByteLevel post-processor says of the two spaces before the end token that they begin where it begins."""
    plain, trims = tokenizer("qwen2"), tokenizer("qwen2")
    trims.post_processor = processors.ByteLevel(trim_offsets=True)
    text = render_mmevol([{"from": "human", "value": "x  "}], template("qwen2"), has_image=False)
    found, expected = Pieces(trims).encode(text), Pieces(plain).encode(text)
    assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])
    assert trims.encode(text.text).offsets != plain.encode(text.text).offsets


@settings(max_examples=100, deadline=None)
@given(talk=TALK, family=st.sampled_from(list(TEMPLATES)), system=st.sampled_from([None, "", 'Say "ü😀"\n\\n {x} ']))
def test_answers_are_written_as_the_chat_template_renders_them(talk, family, system):
    jinja = chat_template(family, system)
    try:
        found = render_answer(talk, jinja, SPECIAL[family], "escape")
    except BadRow:
        return
    # a comment makes it a template that this package does not know
    assert found == render_answer(talk, jinja + "{# other #}", SPECIAL[family], "escape")


@pytest.mark.parametrize("family", list(TEMPLATES))
def test_one_memory_serves_texts_in_any_order(family):
    texts = [Rendered(text, ()) for text in ("b word", " word b", "word", " word", "x word\n\nword", "word word")]
    memory = Pieces(TOKENIZERS[family])
    for order in (texts, texts[::-1]):
        for text in order:
            same(memory.encode(text), text, family)
