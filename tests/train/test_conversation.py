"""Both label rules on golden conversations; expectations written by hand from the measured facts of the reference."""

import json

import pytest
from support.tiny_models import SPECIAL, tokenizer

from mmevol_core.errors import UserError
from mmevol_train.conversation import BadRow, chat_template, render_answer, render_mmevol, render_plain, template
from mmevol_train.labels import colour, label_rows


def turns(*pairs):
    return [{"from": role, "value": value} for role, value in pairs]


def marked(rendered):
    """The text with supervised characters in square brackets."""
    text, place = "", 0
    for start, end in rendered.supervised:
        text += f"{rendered.text[place:start]}[{rendered.text[start:end]}]"
        place = end
    return text + rendered.text[place:]


def test_qwen2_reference_rule_supervises_whole_answers_and_control_tokens():
    found = render_mmevol(turns(("human", "Hi"), ("gpt", "red")), template("qwen2"), has_image=False)
    assert marked(found) == (
        "[<|im_start|>]system\nYou are a helpful assistant.[<|im_end|>]\n"
        "[<|im_start|>]user\nHi[<|im_end|>]\n"
        "[<|im_start|>assistant\nred<|im_end|>\n]"
    )


def test_llama3_reference_rule_trims_contents_and_supervises_four_control_tokens():
    found = render_mmevol(turns(("human", " Hi \n"), ("gpt", " red ")), template("llama3"), has_image=False)
    text = marked(found)
    assert text.startswith(
        "[<|begin_of_text|><|start_header_id|>]system[<|end_header_id|>]\n\nYou are a helpful language"
    )
    assert text.endswith(
        "[<|eot_id|><|start_header_id|>]user[<|end_header_id|>]\n\nHi"
        "[<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nred<|eot_id|>]"
    )


def test_answer_mode_supervises_the_answer_and_its_end_token_only():
    for family, end, after in (("qwen2", "<|im_end|>", "\n"), ("llama3", "<|eot_id|>", "")):
        found = render_answer(
            turns(("human", "Hi"), ("gpt", "red"), ("human", "Sure?"), ("gpt", "")), chat_template(family)
        )
        text = marked(found)
        assert f"[red{end}]{after}" in text
        assert text.endswith(f"[{end}]{after}")
        assert text.count("[") == 2


def test_both_modes_write_the_same_text_for_an_ordinary_conversation():
    talk = turns(("human", "<image>\nWhat?"), ("gpt", "red"), ("human", "Sure?"), ("gpt", "yes"))
    for family in ("qwen2", "llama3"):
        reference = render_mmevol(talk, template(family), has_image=True)
        assert render_answer(talk, chat_template(family)).text == reference.text


def test_all_placeholders_of_a_turn_become_one_in_front():
    found = render_mmevol(turns(("human", "a <image> b <image>"), ("gpt", "c")), template("qwen2"), has_image=True)
    assert "user\n<image>\na  b<|im_end|>" in found.text


def test_a_placeholder_without_an_image_stays_where_it_is():
    found = render_mmevol(turns(("human", "a <image> b"), ("gpt", "c")), template("qwen2"), has_image=False)
    assert "user\na <image> b<|im_end|>" in found.text


def test_placeholders_stand_for_pictures_or_are_words_and_none_is_left_out():
    """In mode answer; the prompt's form is one placeholder a picture, each on a line, then the text."""
    jinja = chat_template("qwen2", "")
    user = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n[c<|im_end|>]\n"

    def text(value, images, policy):
        try:
            return marked(render_answer(turns(("human", value), ("gpt", "c")), jinja, (), policy, images))
        except BadRow as problem:
            return str(problem)

    two = "<image>\n<image>\ncompare"
    assert text(two, 2, "refuse") == user.format(two)
    assert text("<image><image> compare", 2, "refuse") == user.format(two)
    assert text("compare\n<image>", 1, "refuse") == user.format("<image>\ncompare")
    tag = "<image>\nWhat does the tag <image> mean?"
    for policy in ("refuse", "keep"):
        assert text(tag, 1, policy) == "1 images for 2 placeholders"
    assert text(tag, 1, "escape") == user.format("<image>\nWhat does the tag <image > mean?")
    assert text("The tag <image>?", 0, "escape") == user.format("The tag <image >?")
    for policy in ("refuse", "escape"):
        assert text(two, 1, policy) == "1 images for 2 placeholders"
        assert text("compare", 1, policy) == "1 images for 0 placeholders"
    talk = turns(("human", "<image>\nq"), ("gpt", "write <image> there"))
    assert "write <image > there" in render_answer(talk, jinja, (), "escape", 1).text


def test_special_tokens_of_any_form_are_literal_text_of_a_turn():
    talk, special = turns(("human", "say [INST] twice"), ("gpt", "c")), ("[INST]", "<image>")
    with pytest.raises(BadRow, match=r"literal \[INST\] in text"):
        render_answer(talk, chat_template("qwen2"), special)
    assert "say [INST ] twice" in render_answer(talk, chat_template("qwen2"), special, "escape").text


def test_a_first_turn_that_is_not_human_is_dropped_and_a_later_system_turn_is_masked():
    talk = turns(("system", "Be bad."), ("human", "Hi"), ("system", "Now."), ("gpt", "ok"))
    text = marked(render_mmevol(talk, template("qwen2"), has_image=False))
    assert "Be bad." not in text
    assert "[<|im_start|>]system\nNow.[<|im_end|>]\n" in text


def test_typed_control_tokens_are_supervised_as_in_the_reference():
    text = marked(render_mmevol(turns(("human", "x<|im_end|>y"), ("gpt", "z")), template("qwen2"), has_image=False))
    assert "user\nx[<|im_end|>]y[<|im_end|>]" in text


def test_plain_pretraining_has_no_end_token_and_a_masked_begin_token():
    found = render_plain(turns(("human", "Describe.\n<image>"), ("gpt", "a cat")), "<|begin_of_text|>", has_image=True)
    assert marked(found) == "<|begin_of_text|><image>[a cat\n]"


@pytest.mark.parametrize(
    "talk",
    [
        turns(
            ("human", "<image>"),
        ),
        turns(("human", "no slot"), ("gpt", "x")),
    ],
)
def test_plain_refuses_what_the_reference_asserts_against(talk):
    with pytest.raises(BadRow):
        render_plain(talk, "", has_image=True)


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (turns(("human", "Hi")), "no answer"),
        (turns(("gpt", "Hi"), ("human", "x")), "starts with an answer"),
        (turns(("human", "a"), ("human", "b"), ("gpt", "c")), "two turns of one role"),
        (turns(("human", "a"), ("tool", "b"), ("gpt", "c")), "unknown role"),
        (turns(("human", "a"), ("gpt", "<image> b")), "image slot in an answer"),
        (turns(("human", "a<|im_end|>"), ("gpt", "b")), "literal <|im_end|>"),
    ],
)
def test_answer_mode_names_what_cannot_be_trained_on(talk, reason):
    with pytest.raises(BadRow, match=reason.replace("|", r"\|")):
        render_answer(talk, chat_template("qwen2"), SPECIAL["qwen2"])


def test_escaped_special_text_is_no_special_token_any_more():
    found = render_answer(
        turns(("human", "a<|im_end|>b"), ("gpt", "c")), chat_template("qwen2"), SPECIAL["qwen2"], "escape"
    )
    assert "a<|im_end| >b" in found.text


def test_a_system_text_can_be_left_out():
    found = render_answer(turns(("human", "Hi"), ("gpt", "x")), chat_template("qwen2", ""))
    assert found.text.startswith("<|im_start|>user\n")


def write(tmp_path, rows):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    return path


def test_label_rows_cut_after_tokens_and_count_an_image_as_one(tmp_path):
    tokenizer("qwen2", image=False).save(str(tmp_path / "tokenizer.json"))
    data = write(tmp_path, [{"image": "x.png", "conversations": turns(("human", "<image>"), ("gpt", "red"))}])
    whole = next(label_rows(data, "qwen2", "pretrain", "mmevol", tmp_path / "tokenizer.json"))
    assert (whole.rendered, whole.supervised) == ("<image>red\n", ((7, 11),))
    cut = next(label_rows(data, "qwen2", "pretrain", "mmevol", tmp_path / "tokenizer.json", 1))
    assert (cut.rendered, cut.supervised) == ("<image>", ())
    assert whole.as_dict() == {"row": 0, "rendered": "<image>red\n", "supervised": [[7, 11]]}


def test_qwen2_text_is_shown_as_its_tokenizer_normalises_it(tmp_path):
    tokenizer("qwen2").save(str(tmp_path / "tokenizer.json"))
    data = write(tmp_path, [{"conversations": turns(("human", "x"), ("gpt", "e\u0301"))}])
    row = next(label_rows(data, "qwen2", "finetune", "answer", tmp_path / "tokenizer.json"))
    assert [row.rendered[start:end] for start, end in row.supervised] == ["\u00e9<|im_end|>"]


def test_a_placeholder_that_is_no_slot_is_normalised_like_any_text(tmp_path):
    tokenizer("qwen2", image=False).save(str(tmp_path / "tokenizer.json"))
    rows = [
        {"conversations": turns(("human", "<image>\u0338"))},
        {"conversations": turns(("human", "<|im_end|>\u0338"))},
    ]
    found = label_rows(write(tmp_path, rows), "qwen2", "finetune", "mmevol", tmp_path / "tokenizer.json")
    assert ["<image\u226f<" in row.rendered for row in found] == [True, False]  # a special token is found before


def test_a_vocabulary_with_a_newline_entry_supervises_newlines_like_the_reference(tmp_path):
    words = tokenizer("qwen2")
    words.add_tokens(["\n"])
    words.save(str(tmp_path / "tokenizer.json"))
    data = write(tmp_path, [{"conversations": turns(("human", "x"), ("gpt", "y"))}])
    row = next(label_rows(data, "qwen2", "finetune", "mmevol", tmp_path / "tokenizer.json"))
    assert row.rendered[slice(*row.supervised[1])] == "\n"  # after "<|im_start|>system"


def test_every_row_has_a_line_and_says_what_is_wrong_with_it(tmp_path):
    tokenizer("qwen2").save(str(tmp_path / "tokenizer.json"))
    talk = turns(("human", "x"), ("gpt", "y"))
    rows = [
        {"conversations": []},
        {"conversations": [{"from": 1}]},
        {"conversations": turns(("human", "x"), ("gpt", 5))},
        "no row",
        {"conversations": turns(("human", "\ud800"), ("gpt", "y"))},
        {"conversations": talk, "image": "a.png"},
        {"conversations": turns(("human", "<image> x"), ("gpt", "y"))},
        {"conversations": talk, "image": 7},
        {"conversations": turns(("human", "a<|im_end|>"), ("gpt", "y"))},
        {"conversations": talk},
    ]
    found = list(label_rows(write(tmp_path, rows), "qwen2", "finetune", "answer", tmp_path / "tokenizer.json"))
    texts = "every turn needs the texts `from` and `value`"
    assert [row.problem for row in found] == [
        "needs a non-empty list `conversations`", texts, texts, "needs a non-empty list `conversations`",
        "a turn holds half of a surrogate pair, which is no character", "1 images for 0 placeholders",
        "0 images for 1 placeholders", "`image` is neither a path nor a list of paths", "", "",
    ]  # fmt: skip
    assert found[8].as_dict()["note"] == "literal <|im_end|> escaped"
    assert set(found[9].as_dict()) == {"row", "rendered", "supervised"}
    # 9 tokens are not enough to reach the answer
    cut = list(label_rows(write(tmp_path, rows[9:]), "qwen2", "finetune", "answer", tmp_path / "tokenizer.json", 9))
    assert (cut[0].supervised, cut[0].problem) == ((), "nothing supervised")
    assert "nothing supervised" in colour(cut[0]).plain and "<|im_start|>system" in colour(cut[0]).plain


def test_files_that_cannot_be_read_are_one_line_errors(tmp_path):
    tokenizer("qwen2").save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="JSON list"):
        list(label_rows(write(tmp_path, {}), "qwen2", "finetune", "answer", tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="did you mean 'qwen2'"):
        list(label_rows(write(tmp_path, []), "qwen", "finetune", "answer"))
    with pytest.raises(UserError, match="choose the tokenizer of a llama3 model"):
        list(label_rows(write(tmp_path, []), "llama3", "finetune", "answer", tmp_path / "tokenizer.json"))
    for number, wrong in enumerate((b"no json", b'{"a": 1}', b"\xff\xfe", b"")):
        (tmp_path / f"{number}.json").write_bytes(wrong)
        with pytest.raises(UserError, match=r"\.json is not a tokenizer\.json that can be read"):
            list(label_rows(write(tmp_path, []), "qwen2", "finetune", "answer", tmp_path / f"{number}.json"))


def test_supervised_characters_are_green_on_the_terminal(tmp_path):
    tokenizer("qwen2").save(str(tmp_path / "tokenizer.json"))
    data = write(tmp_path, [{"conversations": turns(("human", "x"), ("gpt", "red"))}])
    text = colour(next(label_rows(data, "qwen2", "finetune", "answer", tmp_path / "tokenizer.json")))
    green = [text.plain[span.start : span.end] for span in text.spans if "green" in str(span.style)]
    assert green == ["red<|im_end|>"]
