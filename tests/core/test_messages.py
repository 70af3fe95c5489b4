"""Keys that identify requests, and answers read from response bodies."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmevol_core.chat import ChatFailure, Endpoint, Message, system, user
from mmevol_core.images import Picture
from mmevol_core.messages import build, read_completion

END = Endpoint(base_url="http://localhost:1/v1", model="m")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PICTURE = st.sampled_from("abc").map(
    lambda name: Picture(name, orjson.Fragment(b'"data:image/png;base64,%s"' % name.encode()), (1, 1), (1, 1), 30)
)
MESSAGES = st.lists(
    st.builds(
        Message, st.sampled_from(["user", "system"]), st.lists(TEXT | PICTURE, min_size=1, max_size=3).map(tuple)
    ),
    min_size=1,
    max_size=3,
)


def content(messages: list[Message]) -> list:
    """What a key stands for: roles, texts and pictures in order."""
    return [(m.role, [p if isinstance(p, str) else ("picture", p.digest) for p in m.parts]) for m in messages]


@given(MESSAGES, MESSAGES, st.integers(0, 2), st.integers(0, 2))
def test_keys_are_equal_exactly_when_content_and_salt_are(one, two, salt_one, salt_two):
    same = (content(one), salt_one) == (content(two), salt_two)
    assert (build(one, END, None, salt_one).key == build(two, END, None, salt_two).key) == same


@given(MESSAGES)
def test_the_body_holds_every_text_and_picture_in_order(messages):
    sent = orjson.loads(build(messages, END, None, 0).body)["messages"]
    read = []
    for turn in sent:
        parts = turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
        read.append((turn["role"], [p["text"] if p["type"] == "text" else p["image_url"]["url"] for p in parts]))
    sent = [
        (m.role, [part if isinstance(part, str) else orjson.loads(orjson.dumps(part.url)) for part in m.parts])
        for m in messages
    ]
    assert read == sent


@pytest.mark.parametrize(
    "change",
    [{"model": "n"}, {"temperature": 0.5}, {"max_tokens": 5}, {"seed": 1}, {"extra": {"top_p": 0.9}}],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_answer_changes_the_key(change):
    other = END.model_copy(update=change)
    assert build([user("hello")], END, None, 0).key != build([user("hello")], other, None, 0).key


@pytest.mark.parametrize("change", [{"concurrency": 2}, {"deadline_s": 5.0}, {"max_usd": 1.0}, {"api_key_name": "K"}])
def test_whatever_does_not_change_the_answer_keeps_the_key(change):
    other = END.model_copy(update=change)
    assert build([user("hello")], END, None, 0).key == build([user("hello")], other, None, 0).key


def test_a_schema_counts_only_where_it_is_sent():
    schema = {"type": "object"}
    bound = END.model_copy(update={"structured": True})
    assert build([user("x")], END, schema, 0).key == build([user("x")], END, None, 0).key
    assert build([user("x")], bound, schema, 0).key != build([user("x")], bound, None, 0).key


def test_keys_stay_the_same_from_release_to_release():
    # A changed key would make every finished journal worthless. blake2b-128 of the canonical JSON:
    # [[["system",["be brief"]],["user",["hello"]]],{"max_tokens":2048,"model":"m"},0]
    assert build([system("be brief"), user("hello")], END, None, 0).key.hex() == "da1e9e1a081e69d4d14751ef185dc9ec"


def test_text_that_is_not_unicode_fails_its_row_only():
    with pytest.raises(ChatFailure, match="not_unicode"):
        build([user("half a pair: \ud800")], END, None, 0)


@pytest.mark.parametrize(
    ("message", "finish", "text"),
    [
        ({"content": "yes"}, "stop", "yes"),
        ({"content": ""}, "stop", ""),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "stop", "ab"),
        ({"content": None}, "length", ""),
        ({"content": None, "refusal": "no"}, "stop", None),
        ({"content": "half"}, "content_filter", None),
    ],
)
def test_answers_of_all_shapes_are_read(message, finish, text):
    body = {"choices": [{"message": message, "finish_reason": finish}], "usage": {"prompt_tokens": 3}}
    completion = read_completion(orjson.dumps(body))
    assert completion is not None
    assert (completion.text, completion.prompt_tokens, completion.completion_tokens) == (text, 3, 0)


@pytest.mark.parametrize(
    "raw",
    [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"error": "busy"}', b'{"choices": [{"message": {"co', b"1"],
)
def test_anything_else_is_not_an_answer(raw):
    assert read_completion(raw) is None
