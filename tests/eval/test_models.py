"""The batch engine on random weights: same answers in any batch, each picture seen once, both template families."""

from __future__ import annotations

import io
import json
import shutil
import struct
import threading
import zlib
from dataclasses import replace

import pytest
import torch
from PIL import Image
from support import tiny_llava
from support.prompts import answers, picture, prompts

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import Message
from mmevol_eval.models import Prompt, decoding_of, local, pictures
from mmevol_eval.models.checkpoint import device_of
from mmevol_eval.models.decoding import Decoder
from mmevol_eval.models.local import LocalModel
from mmevol_eval.models.pictures import Picture
from mmevol_eval.models.rendering import Ready


@pytest.fixture(autouse=True)
def _one_thread():
    """A model on two threads sets torch's number for the whole process."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["qwen2", "llama3"])
def checkpoint(request, tmp_path_factory):
    return tiny_llava.save(tmp_path_factory.mktemp(request.param), request.param)


def test_answers_do_not_depend_on_the_batch(checkpoint):
    big = answers(LocalModel(checkpoint, batch_size=8, max_new_tokens=4), prompts())
    assert big.keys() == set("abcde")
    assert big == answers(LocalModel(checkpoint, batch_size=1, max_new_tokens=4), prompts()[::-1])


def test_two_batches_at_work_give_what_one_at_a_time_gives(checkpoint):
    asked = [replace(one, key=f"{one.key}{number}") for number in range(6) for one in prompts()]
    one = answers(LocalModel(checkpoint, batch_size=4, max_new_tokens=4), asked)
    model = LocalModel(checkpoint, batch_size=4, max_new_tokens=4, threads=2)
    barrier, met = threading.Barrier(2, timeout=60), threading.local()

    def meet(*_):
        """A worker's first batch waits in the network for the other's: with one at a time nobody comes."""
        if threading.current_thread() is not threading.main_thread() and not hasattr(met, "once"):
            met.once = True
            barrier.wait()

    model._model.register_forward_pre_hook(meet)
    assert one == answers(model, asked)


def test_two_batches_may_let_go_of_each_others_pictures(checkpoint, monkeypatch):
    monkeypatch.setattr(pictures, "CACHE_BYTES", 1)
    colors = ("red", "green", "blue", "black")
    asked = [Prompt(f"{n}", Message((picture(colors[n % 4]), f"What color, {n}?"))) for n in range(40)]
    model = LocalModel(checkpoint, batch_size=2, max_new_tokens=1, threads=2)
    assert answers(model, asked) == answers(LocalModel(checkpoint, max_new_tokens=1), asked)


def test_a_batch_holds_on_to_the_features_that_it_found(checkpoint, tmp_path):
    """Between the two calls another batch lets go of them, and the file has gone: nothing is opened again."""
    path = tmp_path / "red.png"
    path.write_bytes(picture("red"))
    shared = LocalModel(checkpoint)._pictures
    look = shared.look(path)
    first = shared.features([look], shared.prepare([look])[0])
    prepared, broken = shared.prepare([look])
    assert shared.forget() == {look.key} and not broken
    path.unlink()
    assert torch.equal(shared.features([look], prepared)[0], first[0])


def generated(model, ask, **settings):
    """What Transformers' own processor and `generate` make of a prompt without us."""
    content = [
        {"type": "text", "text": one} if isinstance(one, str) else {"type": "image"} for one in ask.message.parts
    ]
    messages = [{"role": "user", "content": content}]
    if ask.message.system:
        messages.insert(0, {"role": "system", "content": ask.message.system})
    text = model._processor.apply_chat_template(messages, add_generation_prompt=True)
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data in ask.message.images]
    inputs = model._processor(images=images or None, text=text, return_tensors="pt", add_special_tokens=False)
    tokens = model._model.generate(**inputs.to(model._model.dtype), do_sample=False, **settings)
    return model._tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


@pytest.mark.parametrize("beams", [1, 3])
def test_the_answer_is_what_transformers_generates_for_the_processors_own_inputs(checkpoint, beams):
    model = LocalModel(checkpoint, max_new_tokens=6, beams=beams)
    expected = {ask.key: generated(model, ask, max_new_tokens=6, num_beams=beams) for ask in prompts()}
    assert answers(model, prompts()) == expected
    assert model.decoding["beams"] == beams


def test_answers_that_end_early_leave_the_batch_and_the_others_go_on_as_they_would(checkpoint):
    model = LocalModel(checkpoint, max_new_tokens=12)
    ready, _ = model._renderer.render(prompts())
    views, _ = model._pictures.prepare(picture for one in ready for picture in one.pictures)
    free = Decoder(model._model, [], 0).greedy(model._embed(ready, views), 12).tokens
    ends = sorted({int(free[0, 0]), int(free[1, 1]), int(free[2, 3])})  # answers now end at the first of these
    decoder = Decoder(model._model, ends, 0)
    sizes = []
    hook = model._model.register_forward_pre_hook(
        lambda _, __, given: sizes.append(len(given["attention_mask"])), with_kwargs=True
    )
    made = decoder.greedy(model._embed(ready, views), 12).tokens
    hook.remove()
    assert sizes[0] == 5 and sizes[-1] < 5
    for row, one in enumerate(ready):
        inputs = model._embed([one], views)
        alone = model._model.generate(
            input_ids=inputs.ids, inputs_embeds=inputs.embeddings, attention_mask=inputs.mask,
            max_new_tokens=12, do_sample=False, eos_token_id=ends, pad_token_id=0,
        )[0, len(one.tokens) :]  # fmt: skip
        assert made[row, : len(alone)].tolist() == alone.tolist()
        assert not made[row, len(alone) :].any()


def test_a_penalty_in_the_generation_config_counts(checkpoint, tmp_path):
    folder = tmp_path / "penalty"
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"repetition_penalty": 1.7}))
    model = LocalModel(folder, max_new_tokens=8)
    expected = {ask.key: generated(model, ask, max_new_tokens=8) for ask in prompts()}
    assert answers(model, prompts()) == expected
    assert expected != answers(LocalModel(checkpoint, max_new_tokens=8), prompts())


@pytest.mark.parametrize("beams", [1, 3])
def test_in_bfloat16_the_self_test_passes_and_answers_come(checkpoint, beams):
    model = LocalModel(checkpoint, batch_size=3, max_new_tokens=4, beams=beams, dtype=torch.bfloat16)
    assert answers(model, prompts()).keys() == set("abcde")
    assert model.decoding["precision"] == "bfloat16"
    alone = LocalModel(checkpoint, batch_size=1, max_new_tokens=1, beams=beams, dtype=torch.bfloat16)
    first = {ask.key: generated(alone, ask, max_new_tokens=1, num_beams=beams) for ask in prompts()}
    assert answers(alone, prompts()) == first


def test_a_picture_is_seen_once_for_all_its_questions(checkpoint):
    model = LocalModel(checkpoint, batch_size=4, max_new_tokens=1)
    seen = []
    hook = model._model.model.vision_tower.register_forward_pre_hook(
        lambda _, given, named: seen.append(len((given or tuple(named.values()))[0])), with_kwargs=True
    )
    answers(model, [Prompt(str(n), Message((picture("red"), f"What is {n}?"))) for n in range(20)])
    hook.remove()
    assert seen == [2]  # the whole picture, and its one tile
    assert len(model._pictures) == 1


def test_pictures_beyond_the_room_for_them_are_seen_again(checkpoint, monkeypatch):
    asked = [Prompt(f"{n}{c}", Message((picture(c), f"What is {n}?"))) for n in range(3) for c in ("red", "blue")]
    free = answers(LocalModel(checkpoint, batch_size=1, max_new_tokens=3), asked)
    monkeypatch.setattr(pictures, "CACHE_BYTES", 1)
    model = LocalModel(checkpoint, batch_size=1, max_new_tokens=3)
    assert answers(model, asked) == free
    assert len(model._pictures) == 1


def test_a_batch_holds_prompts_about_as_long_and_of_them_those_of_one_picture_together():
    def ready(key, length, *keys):
        return Ready(key, [1] * length, tuple(Picture(key, b"", (1, 1), 1) for key in keys), 20)

    made = [ready("a", 101, "x"), ready("b", 102, "y"), ready("c", 103, "x"), ready("d", 300, "y"), ready("e", 100)]
    made.sort(key=lambda one: one.order, reverse=True)
    assert [one.key for one in made] == ["d", "b", "c", "a", "e"]


def test_a_picture_whose_end_is_missing_fails_by_name_and_only_its_questions(checkpoint):
    cut = picture("green", (512, 512))[:-300]
    asked = [Prompt("cut", Message((cut, "What?"))), *prompts()]
    replies = {reply.key: reply for reply in LocalModel(checkpoint, max_new_tokens=2).answer(asked)}
    assert replies["cut"].failure == "image: OSError"
    assert {key for key, reply in replies.items() if reply.failure is None} == set("abcde")


def bomb():
    """A picture whose header promises 40,000 x 40,000 pixels."""
    data = bytearray(picture("green"))
    data[16:24] = struct.pack(">II", 40_000, 40_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_a_picture_that_promises_too_many_pixels_is_its_questions_failure(checkpoint):
    asked = [Prompt("bad", Message((bomb(), "What?"))), *prompts()]
    replies = {reply.key: reply for reply in LocalModel(checkpoint, max_new_tokens=1).answer(asked)}
    assert replies["bad"].failure == "image: DecompressionBombError"
    assert {key for key, reply in replies.items() if reply.failure is None} == set("abcde")


def test_an_unreadable_picture_is_a_named_failure_and_the_rest_is_answered(checkpoint):
    asked = [Prompt("bad", Message((b"no picture", "What?"))), prompts()[0]]
    replies = {reply.key: reply for reply in LocalModel(checkpoint, max_new_tokens=2).answer(asked)}
    assert replies["bad"].failure == "image: UnidentifiedImageError"
    assert replies["bad"].text == ""
    assert replies["a"].failure is None


def test_a_prompt_may_set_its_own_longest_answer(checkpoint):
    model = LocalModel(checkpoint, max_new_tokens=2)
    asked = [replace(one, max_new_tokens=longest) for one, longest in zip(prompts(), (1, 6, 1, 6, None), strict=True)]
    found = answers(model, asked)
    for longest, keys in ((1, "ac"), (6, "bd"), (2, "e")):
        alone = answers(LocalModel(checkpoint, max_new_tokens=longest), prompts())
        assert {key: found[key] for key in keys} == {key: alone[key] for key in keys}
    assert decoding_of(model, 6) == {**model.decoding, "max_new_tokens": 6}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_wrong_padding_is_noticed_before_the_first_answer(checkpoint, monkeypatch, dtype):
    model = LocalModel(checkpoint, max_new_tokens=1, dtype=dtype)
    inner = model._padded

    def without_mask(batch):
        ids, mask = inner(batch)
        return ids, torch.ones_like(mask)

    monkeypatch.setattr(model, "_padded", without_mask)
    with pytest.raises(UserError, match="batched answers differ"):
        list(model.answer(prompts()))


def test_a_question_that_holds_the_image_mark_is_refused(checkpoint):
    with pytest.raises(UserError, match="2 image marks for 1 images"):
        list(LocalModel(checkpoint).answer([Prompt("x", Message((picture("red"), "What does <image> mean?")))]))


def test_another_tokenizers_merges_or_another_engine_is_another_model(checkpoint, tmp_path, monkeypatch):
    folder = tmp_path / "merges"
    shutil.copytree(checkpoint, folder)
    prints = [LocalModel(folder).fingerprint]
    (folder / "merges.txt").write_text("a b\n")
    prints.append(LocalModel(folder).fingerprint)
    monkeypatch.setattr(local, "VERSION", "0")
    prints.append(LocalModel(folder).fingerprint)
    assert len(set(prints)) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [("gpu", "unknown device 'gpu'; choose cpu"), ("cuda:99", "evaluate.device=cuda:99")],
)
def test_a_device_that_is_not_there_is_one_line(name, message):
    with pytest.raises(UserError, match=message):
        device_of(name)


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
