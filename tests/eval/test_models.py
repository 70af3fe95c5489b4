"""The batch engine on random weights: same answers in any batch, each picture prepared once, both template families."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from support import tiny_llava

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import Message
from mmevol_eval.models import Prompt, decoding_of
from mmevol_eval.models.local import LocalModel


@pytest.fixture(scope="module", params=["qwen2", "llama3"])
def checkpoint(request, tmp_path_factory):
    return tiny_llava.save(tmp_path_factory.mktemp(request.param), request.param)


def picture(color, size=(64, 64)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def prompts():
    red, wide = picture("red"), picture("blue", (128, 64))
    return [
        Prompt("a", Message((red, "What color is it?"))),
        Prompt("b", Message((wide, "Is it red or blue, and which of the two is it not?"))),
        Prompt("c", Message(("No picture: what is red?",))),
        Prompt("d", Message((red, wide, "Compare the two."))),
        Prompt("e", Message((red, "Color?"), system="Answer in one word.")),
    ]


def answers(model, asked):
    return {reply.key: reply.text for reply in model.answer(asked)}


def test_answers_do_not_depend_on_the_batch(checkpoint):
    big = answers(LocalModel(checkpoint, batch_size=8, max_new_tokens=4), prompts())
    assert big.keys() == set("abcde")
    assert big == answers(LocalModel(checkpoint, batch_size=1, max_new_tokens=4), prompts()[::-1])


def test_the_answer_is_what_transformers_generates_for_the_processors_own_inputs(checkpoint):
    model = LocalModel(checkpoint, max_new_tokens=6)
    ask = prompts()[1]
    content = [{"type": "image"}, {"type": "text", "text": ask.message.parts[1]}]
    processor = model._processor
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    image = Image.open(io.BytesIO(ask.message.images[0])).convert("RGB")
    inputs = processor(images=image, text=text, return_tensors="pt", add_special_tokens=False)
    tokens = model._model.generate(**inputs, max_new_tokens=6, do_sample=False)
    expected = processor.tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    assert answers(model, [ask]) == {"b": expected}


def test_a_picture_is_prepared_once_for_all_its_questions(checkpoint):
    model = LocalModel(checkpoint, max_new_tokens=1)
    answers(model, [Prompt(str(n), Message((picture("red"), f"What is {n}?"))) for n in range(20)])
    assert len(model._pictures) == 1


def test_an_unreadable_picture_is_a_named_failure_and_the_rest_is_answered(checkpoint):
    asked = [Prompt("bad", Message((b"no picture", "What?"))), prompts()[0]]
    replies = {reply.key: reply for reply in LocalModel(checkpoint, max_new_tokens=2).answer(asked)}
    assert replies["bad"].failure == "image: UnidentifiedImageError"
    assert replies["bad"].text == ""
    assert replies["a"].failure is None


class Tight(torch.nn.Module):
    """Part of a model that the allocator has no room for above a number of rows: it really asks for the room."""

    def __init__(self, inner, rows):
        super().__init__()
        self.inner, self.rows, self.seen = inner, rows, []

    def forward(self, embedded, **rest):
        self.seen.append(len(embedded))
        torch.empty(1 << 50 if len(embedded) > self.rows else 1, dtype=torch.uint8)
        return self.inner(embedded, **rest)


def test_running_out_of_memory_halves_the_batch_and_loses_nothing(checkpoint):
    free, model = LocalModel(checkpoint, max_new_tokens=3), LocalModel(checkpoint, batch_size=4, max_new_tokens=3)
    tight = model._model.lm_head = Tight(model._model.lm_head, 2)
    assert answers(model, prompts()) == answers(free, prompts())
    assert max(tight.seen) > 2  # it happened
    assert model._batch_size <= 2


def test_a_prompt_that_fits_into_no_memory_is_named(checkpoint):
    model = LocalModel(checkpoint, batch_size=4)
    model._model.lm_head = Tight(model._model.lm_head, 0)
    with pytest.raises(UserError, match=r"not enough memory for one prompt of \d+ tokens"):
        answers(model, prompts())


def test_a_prompt_may_set_its_own_longest_answer(checkpoint):
    model = LocalModel(checkpoint, max_new_tokens=2)
    asked = [replace(one, max_new_tokens=longest) for one, longest in zip(prompts(), (1, 6, 1, 6, None), strict=True)]
    found = answers(model, asked)
    for longest, keys in ((1, "ac"), (6, "bd"), (2, "e")):
        alone = answers(LocalModel(checkpoint, max_new_tokens=longest), prompts())
        assert {key: found[key] for key in keys} == {key: alone[key] for key in keys}
    assert decoding_of(model, 6) == {**model.decoding, "max_new_tokens": 6}


def test_beam_search_gives_what_transformers_beams_give_alone_and_in_a_batch(checkpoint):
    model = LocalModel(checkpoint, max_new_tokens=5, beams=3)
    found = answers(model, prompts())
    ready, _ = model._prepare(prompts())
    for one in ready:
        tokens = model._model.generate(**model._inputs([one]), max_new_tokens=5, num_beams=3, do_sample=False)
        text = model._tokenizer.decode(tokens[0, len(one.tokens) :], skip_special_tokens=True).strip()
        assert found[one.key] == text
    assert model.decoding["beams"] == 3


def test_wrong_padding_is_noticed_before_the_first_answer(checkpoint, monkeypatch):
    model = LocalModel(checkpoint, max_new_tokens=1)
    inner = model._inputs

    def without_mask(batch):
        made = inner(batch)
        return {**made, "attention_mask": torch.ones_like(made["attention_mask"])}

    monkeypatch.setattr(model, "_inputs", without_mask)
    with pytest.raises(UserError, match="batched answers differ"):
        list(model.answer(prompts()))


def test_a_question_that_holds_the_image_mark_is_refused(checkpoint):
    with pytest.raises(UserError, match="2 image marks for 1 images"):
        list(LocalModel(checkpoint).answer([Prompt("x", Message((picture("red"), "What does <image> mean?")))]))


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"config\.json is missing"):
        LocalModel(tmp_path)


def test_a_checkpoint_without_weights_for_every_part_is_refused(checkpoint, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in checkpoint.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    config = json.loads((broken / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] += 1
    if "layer_types" in config["text_config"]:
        config["text_config"]["layer_types"].append("full_attention")
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="does not fit LLaVA-NeXT"):
        LocalModel(broken)
