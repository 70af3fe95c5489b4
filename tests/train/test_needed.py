"""Leaving out what nothing reads changes neither loss nor gradient."""

import pytest
import torch
from support.tiny_models import backbone, world
from torch.nn import functional

from mmevol_train.backbone import build
from mmevol_train.collate import Collator
from mmevol_train.config import FinetuneConfig
from mmevol_train.dataset import Conversations, read_corpus
from mmevol_train.images import Normalizer
from mmevol_train.needed import Needed, unused_layers, without_unused_layers
from mmevol_train.training import reading_of


@pytest.fixture(params=["qwen2", "llama3"])
def given(request, tmp_path):
    """(model, batch) of pictures and text."""
    parts = backbone(tmp_path, request.param)
    data, images = world(tmp_path, rows=3, text_rows=1)
    model, processor = build(parts)
    reading = reading_of(FinetuneConfig(backbone=parts, batch_size=1), "finetune", processor)
    rows = Conversations(read_corpus(data, images, reading, 0), images, reading)
    batch = Collator(0)([rows[place] for place in range(4)])
    pixels = Normalizer(processor.image_processor.image_mean, processor.image_processor.image_std)
    return model.train(), {**batch, "pixel_values": pixels(batch["pixel_values"])}


def step(model, batch, needed=None):
    """(loss, gradients by name) of one batch."""
    model.zero_grad()
    inputs = {key: batch[key] for key in ("input_ids", "pixel_values", "image_sizes")}
    if needed is None:
        logits = model(**inputs, use_cache=False).logits.flatten(0, 1)[batch["positions"]]
        loss = functional.cross_entropy(logits, batch["targets"])
        loss.backward()
    else:
        with needed.only(batch["positions"]):
            logits = model(**inputs, use_cache=False).logits
            loss = functional.cross_entropy(logits, batch["targets"])
            loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_loss_and_gradients_equal_the_whole_computation(given, checkpointing):
    model, batch = given
    loss, gradients = step(model, batch)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    needed = Needed(model, model.get_output_embeddings())
    with without_unused_layers(model):
        found, fewer = step(model, batch, needed)
    needed.remove()
    assert found == pytest.approx(loss, abs=1e-6)
    assert fewer.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(fewer[name], gradient, rtol=1e-5, atol=1e-6)


def test_the_last_mlp_works_on_supervised_places_alone(given):
    model, batch = given
    seen = []
    handle = model.model.language_model.layers[-1].mlp.gate_proj.register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0].shape[0])
    )
    needed = Needed(model, model.get_output_embeddings())
    step(model, batch, needed)
    needed.remove()
    handle.remove()
    assert seen == [len(batch["targets"])]


def test_unused_layers_come_back(given):
    model, batch = given
    inputs = {key: batch[key] for key in ("pixel_values",)}
    with torch.no_grad():
        before = model.model.vision_tower(**inputs).last_hidden_state
        with without_unused_layers(model):
            shorter = model.model.vision_tower(**inputs).last_hidden_state
        after = model.model.vision_tower(**inputs).last_hidden_state
    assert len(unused_layers(model)) == 1
    assert torch.equal(before, after) and not torch.equal(before, shorter)
