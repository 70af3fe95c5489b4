"""The batch engine on random weights: same answers in any batch, each picture prepared once, both template families."""

from __future__ import annotations

import io
import json

import pytest
import torch
from PIL import Image
from support import tiny_llava

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import Message
from mmevol_eval.models import LocalModel, Prompt


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
    assert len(model._views) == 1


def test_an_unreadable_picture_is_a_named_failure_and_the_rest_is_answered(checkpoint):
    asked = [Prompt("bad", Message((b"no picture", "What?"))), prompts()[0]]
    replies = {reply.key: reply for reply in LocalModel(checkpoint, max_new_tokens=2).answer(asked)}
    assert replies["bad"].failure == "image: UnidentifiedImageError"
    assert replies["bad"].text == ""
    assert replies["a"].failure is None


def test_running_out_of_memory_halves_the_batch_and_loses_nothing(checkpoint):
    model = LocalModel(checkpoint, batch_size=4, max_new_tokens=2)
    inner, sizes = model._model.generate, []

    def small_memory(**inputs):
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(**inputs)

    model._model.generate = small_memory
    found = answers(model, prompts())
    assert found.keys() == set("abcde")
    assert sizes[0] == 4 and max(sizes[1:]) == 2


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
