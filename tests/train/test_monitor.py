"""The numbers of a step: counted by hand, and compared with what PyTorch itself counts."""

import logging
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPVisionConfig, LlavaNextConfig, LlavaNextForConditionalGeneration, Qwen2Config

from mmevol_core.errors import UserError
from mmevol_train.config import FinetuneConfig, PretrainConfig
from mmevol_train.corpus import Picture, Refused, Row, in_memory, to_batch
from mmevol_train.flops import (
    adapter_forward,
    language_forward,
    peak_flops,
    projector_forward,
    step_flops,
    vision_forward,
)
from mmevol_train.monitor import ENOUGH, Meter
from mmevol_train.parts import BackboneConfig

PARTS = BackboneConfig(
    name="x", vision_tower="x", language_model="x", chat_template="qwen2", tile=64, patch=16, pinpoints=((64, 64),)
)
TEXT = Qwen2Config(
    vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2,
)  # fmt: skip
VISION = CLIPVisionConfig(
    hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, image_size=64, patch_size=16
)
SHAPE = LlavaNextConfig(
    vision_config=VISION.to_dict(), text_config=TEXT.to_dict(), image_token_index=1,
    image_grid_pinpoints=[[64, 64]], vision_feature_layer=-2, vision_feature_select_strategy="default",
)  # fmt: skip


def tune(**changes):
    return FinetuneConfig(backbone=PARTS, batch_size=2, dtype="float32", **changes)


def corpus():
    """Row 0: 4 ids, one a picture of 6 tokens (9 in all), 2 supervised; row 7: 5 ids, 3 supervised; row 9: text."""
    picture = Picture("coco/a.png", (64, 64), 6)

    def row(number, learned, count, pictures, name, source):
        supervised = np.arange(count) >= count - learned
        return Row(number, np.arange(count, dtype=np.int32), supervised, pictures, name, source)

    rows = [row(0, 2, 4, (picture,), "a", "coco"), row(7, 3, 5, (), "", "text"), row(9, 1, 5, (), "c", "text")]
    return in_memory([(10, to_batch(rows), Refused(Counter({"bad": 7}), {}))])


def batch(rows, tokens, targets, places, views=0):
    found = {"rows": rows, "tokens": tokens, "targets": torch.zeros(targets), "input_ids": torch.zeros(places)}
    return {**found, "pixel_values": torch.zeros(views, 1)} if views else found


def test_a_step_is_counted_over_its_micro_batches():
    meter = Meter(tune(), SHAPE, corpus())
    meter.saw(batch([0, 7], 14, 5, 18, views=2))
    meter.saw(batch([9, -1], 5, 1, 10, views=2))  # -1: the blank picture
    meter.waited(1e-9)
    found = meter.values()
    assert (found["tokens"], found["samples"]) == (19, 3)
    assert found["supervised_share"] == pytest.approx(6 / 19)
    assert found["padding_share"] == pytest.approx(1 - 19 / 28)
    assert found["supervised/coco"] == pytest.approx(2 / 9)  # 4 ids, one of them 6 image tokens
    assert found["supervised/text"] == pytest.approx(4 / 10)
    assert 0 <= found["data_wait_share"] <= 1 and found["memory_gib"] > 0.05
    expected = step_flops(SHAPE, [9, 5, 5], 4, tune(), 6)
    assert found["tflops"] * 1e12 / expected == pytest.approx(found["tokens_per_s"] / 19, rel=1e-6)
    meter.reset()
    assert meter.values()["tokens"] == 0


def test_packed_rows_are_measured_against_their_room():
    meter = Meter(tune(batching="packed", pack_length=100), SHAPE, corpus())
    meter.saw(batch([0, 7], 14, 5, 14))
    assert meter.values()["padding_share"] == pytest.approx(0.86)


def test_a_loss_that_is_no_number_stops_and_the_samples_are_named():
    meter = Meter(tune(), SHAPE, corpus())
    meter.saw(batch([0, 7], 14, 5, 14))
    with pytest.raises(UserError, match=r"loss nan at step 3; rows of the step: 0 \(a\), 7\. Look"):
        meter.judge(3, float("nan"), 1.0)
    with pytest.raises(UserError, match="gradient inf at step 4"):
        meter.judge(4, 1.0, float("inf"))


def test_a_spike_stops_or_warns_and_does_not_become_the_usual(caplog):
    meter = Meter(tune(spike_factor=3.0), SHAPE, corpus())
    for step in range(ENOUGH):
        meter.judge(step, 9.0 if step == 0 else 0.1, 1.0)  # the first steps have nothing to compare with
    meter.judge(20, 1.0, 1.0)  # ten times the usual, but less than a nat above it
    with pytest.raises(UserError, match=r"loss 1.2 at step 21, usual is 0.1 \(spike_factor=3\)"):
        meter.judge(21, 1.2, 1.0)
    calm = Meter(tune(spike_factor=3.0, on_divergence="warn"), SHAPE, corpus())
    for step in range(ENOUGH):
        calm.judge(step, 0.1, 1.0)
    with caplog.at_level(logging.WARNING, logger="mmevol_train.monitor"):
        calm.judge(30, 5.0, 1.0)
        calm.judge(31, 5.0, 1.0)
    assert caplog.text.count("usual is 0.1") == 2
    Meter(tune(spike_factor=None), SHAPE).judge(1, 1e9, 1.0)


def test_a_resumed_run_finds_the_spikes_that_an_undisturbed_one_would():
    lines = [{"step": step, "loss": 0.1 if step != 5 else 7.0, "grad_norm": 1.0} for step in range(ENOUGH + 1)]
    resumed = Meter(tune(spike_factor=3.0), SHAPE)
    resumed.remember([*lines, {"step": 30, "loss": None, "grad_norm": 1.0}])
    with pytest.raises(UserError, match=r"loss 5 at step 31, usual is 0\.1"):
        resumed.judge(31, 5.0, 1.0)


def test_operations_equal_what_pytorch_counts():
    torch.manual_seed(0)
    model = LlavaNextForConditionalGeneration(SHAPE)
    model.set_attn_implementation("eager")  # fused kernels are not counted
    with FlopCounterMode(display=False) as counter:
        model.model.language_model(input_ids=torch.zeros(1, 10, dtype=torch.long), use_cache=False)
    # PyTorch counts causal attention as if it were not: 2 x 2 h T^2, we half of it
    attention = 3 * 2 * 32 * 10**2
    assert counter.get_total_flops() == pytest.approx(language_forward(TEXT, [10], supervised=0) + attention)
    with FlopCounterMode(display=False) as counter:
        model.model.vision_tower(pixel_values=torch.zeros(2, 3, 64, 64))
    last = 2 * (2 * 32 * (4 * 32 + 2 * 64) * 17 + 4 * 32 * 17**2)  # the layer behind the selected one
    assert counter.get_total_flops() == pytest.approx(vision_forward(VISION, 2) + last)
    with FlopCounterMode(display=False) as counter:
        model.model.multi_modal_projector(torch.zeros(2, 16, 32))
    assert counter.get_total_flops() == pytest.approx(projector_forward(SHAPE, 2))


def test_backward_costs_by_what_learns():
    language = language_forward(TEXT, [10], 4)
    vision, projector = vision_forward(VISION, 2), projector_forward(SHAPE, 2)
    assert step_flops(SHAPE, [10], 2, tune(), 4) == pytest.approx(3 * (language + vision + projector))
    pretraining = PretrainConfig(backbone=PARTS, batch_size=1)
    assert step_flops(SHAPE, [10], 2, pretraining, 4) == pytest.approx(2 * language + vision + 3 * projector)


# Rank 4 on q (32 + 32), k (32 + 16) and down (64 + 32) of 3 layers, 10 tokens: 2 x 10 x 3 x 4 x 208 = 49,920.
def test_adapters_cost_what_they_are_and_their_frozen_matrices_no_gradient_of_weights():
    adapted = tune(lora={"rank": 4, "targets": ["q_proj", "k_proj", "down_proj"]})
    language = language_forward(TEXT, [10], 4)
    rest = vision_forward(VISION, 2) + projector_forward(SHAPE, 2)
    assert step_flops(SHAPE, [10], 2, adapted, 4) == pytest.approx(2 * language + 3 * 49_920 + 3 * rest)
    assert adapter_forward(TEXT, 10, 4, ["v_proj", "o_proj", "gate_proj", "up_proj"]) == 2 * 10 * 3 * 4 * 304


def test_the_peak_is_known_by_the_name_of_the_gpu():
    assert peak_flops("NVIDIA H200") == 989e12
    assert peak_flops("NVIDIA GeForce GTX 1080") is None
