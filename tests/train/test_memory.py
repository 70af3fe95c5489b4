"""Memory and shapes of the paper's configurations, without a weight."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from support.tiny_models import backbone
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    Qwen2Config,
)

from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_experiment.compose import compose
from mmevol_experiment.training_plan import PAPER_ROWS, global_batch, rows_a_step, stage_lines
from mmevol_train.backbone import build
from mmevol_train.config import FinetuneConfig, PretrainConfig
from mmevol_train.memory import largest_picture, need
from mmevol_train.parts import BackboneConfig
from mmevol_train.shapes import Language, Vision, projector, shapes

PUBLISHED = {  # parameters that the model cards' safetensors say
    "qwen2_0_5b": 494_032_768, "qwen2_1_5b": 1_543_714_304, "qwen2_7b": 7_615_616_512,
    "llama3_8b": 8_030_261_248, "llama3_2_1b": 1_235_814_400,
}  # fmt: skip


def stage(name, *overrides):
    values = compose(["experiment=qwen2_evol", *overrides])
    whole = {**values[name], "backbone": values["backbone"], "engine": values["engine"], "tracking": values["tracking"]}
    return fit(PretrainConfig if name == "pretrain" else FinetuneConfig, whole, name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_published_models(name):
    config = fit(BackboneConfig, compose([f"backbone={name}", "name=x"])["backbone"], "backbone")
    language, tower = shapes(config)
    assert language.parameters == PUBLISHED[name]
    assert tower.parameters == 303_507_456  # CLIP ViT-L/14-336 without its projection


@pytest.mark.parametrize("family", ["qwen2", "llama3"])
def test_parameters_equal_those_of_the_model_that_is_built(tmp_path, family):
    config = backbone(tmp_path, family)
    model, _ = build(config)
    language, tower = shapes(config)
    with torch.device("meta"):
        empty = LlavaNextForConditionalGeneration(model.config)
    count = sum(parameter.numel() for parameter in empty.parameters())
    assert language.parameters + tower.parameters + projector(language, tower) == count


@pytest.mark.parametrize("name", ["qwen2_7b", "llama3_8b"])
def test_parameters_at_the_papers_scale_equal_those_of_the_model_without_its_weights(name):
    config = fit(BackboneConfig, compose([f"backbone={name}", "name=x"])["backbone"], "backbone")
    language, tower = shapes(config)
    sizes = dataclasses.asdict(language)
    text = (Qwen2Config if name.startswith("qwen2") else LlamaConfig)(**{**sizes, "attention_bias": False})
    whole = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**dataclasses.asdict(tower)), text_config=text,
        tie_word_embeddings=language.tie_word_embeddings,
    )  # fmt: skip
    with torch.device("meta"):
        empty = LlavaNextForConditionalGeneration(whole)
    assert sum(p.numel() for p in empty.parameters()) == language.parameters + tower.parameters + projector(
        language, tower
    )


def test_model_states_are_those_of_the_zero_papers_figure():
    """Figure 1 of arXiv 1910.02054: 7.5 billion parameters on 64 GPUs keep 16.6 GB with ZeRO-2, 1.9 GB with ZeRO-3."""
    for number, gigabytes in ((2, 16.6), (3, 1.9)):
        config = stage("finetune", f"engine=deepspeed_zero{number}")
        language, tower = shapes(config.backbone)
        total = language.parameters + tower.parameters + projector(language, tower)
        found = need(config, language, tower, 64)
        states = found.weights + found.gradients + found.optimizer
        assert states / total == pytest.approx(gigabytes / 7.5, rel=0.02)


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_the_global_batch_of_the_paper_is_reached_on_eight_gpus(name):
    assert global_batch(stage(name), 8) == PAPER_ROWS[name]


def test_zero_stages_share_what_they_say():
    two, three = (stage("finetune", f"engine=deepspeed_zero{number}") for number in (2, 3))
    language, tower = shapes(two.backbone)
    total = language.parameters + tower.parameters + projector(language, tower)
    found = need(two, language, tower, 8)
    assert (found.weights, found.gradients, found.optimizer) == pytest.approx((2 * total, total / 4, 12 * total / 8))
    assert need(three, language, tower, 8).weights == pytest.approx(2 * total / 8)
    assert found.fits(80 * 2**30) and not need(two, language, tower, 1).fits(80 * 2**30)


def test_what_is_frozen_needs_no_optimizer():
    config = stage("pretrain")
    language, tower = shapes(config.backbone)
    assert need(config, language, tower, 1).optimizer == 12 * projector(language, tower)


# Language model: matrices of a layer 4x4 + 4x2 + 4x2 + 4x4 = 48 and 3 x 4x8 = 96, of both 288; with norms
# 2 x 2 x 4 + 4 = 20 and embeddings 2 x 10 x 4 = 80: 388. Tower: 4 x (2x2 + 2) + 2x4 + 4 + 4x2 + 2 + norms 2 x 4 = 54,
# patches 3 x 2x2 x 2 = 24, class token 2, places 5 x 2 = 10, norms 8: 98. Projector: 2x4 + 4 + 4x4 + 4 + 4 = 36.
SMALL = Language(4, 8, 2, 2, 1, 10, tie_word_embeddings=False, head_dim=2, attention_bias=False)
SMALL_TOWER = Vision(2, 4, 1, 1, image_size=4, patch_size=2)


def states(found):
    return found.weights, found.gradients, found.optimizer, found.host


def test_qlora_keeps_the_matrices_in_four_bits_and_their_scales():
    # adapters of rank 1: a layer (4+4) + (4+2) + (4+2) + (4+4) + 3 x (4+8) = 64, so 128; P = 388 + 98 + 36 + 128 = 650
    # G = 98 + 36 + 128 = 262; NF4: 288 / 2 + 288 / 64 + 4 x 288 / 16384 = 144 + 4.5 + 0.0703125; the others 650 - 288
    four = 148.5703125
    one = stage("finetune", "train@finetune=finetune_qlora", "finetune.lora.rank=1", "engine=single")
    assert states(need(one, SMALL, SMALL_TOWER, 1)) == (6 * 362 + four, 4 * 262, 8 * 262, 0)
    two = stage("finetune", "train@finetune=finetune_qlora", "finetune.lora.rank=1", "engine=deepspeed_zero2")
    assert states(need(two, SMALL, SMALL_TOWER, 2)) == (2 * 362 + four, 262, 12 * 131, 0)


def test_seven_billion_parameters_in_four_bits_fit_a_gpu_that_cannot_hold_them_whole():
    """QLoRA's storage: 0.5 + 0.127 / 8 bytes a matrix weight (arXiv 2305.14314)."""
    four, whole = (stage("finetune", f"train@finetune=finetune_{name}", "engine=single") for name in ("qlora", "lora"))
    language, tower = shapes(four.backbone)
    saved = need(whole, language, tower, 1).weights - need(four, language, tower, 1).weights
    assert saved == pytest.approx(language.matrices * (6 - 0.5 - 0.127 / 8), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # P = G = 388 + 98 + 36 = 522, two ranks: host 2 x 522 / 2 weights, (2 + 12 + 4) x 522 / 2 for AdamW
        ([], (2 * 522, 0, 0, 261 * (2 + 2 + 12 + 4))),
        (["engine.deepspeed.zero_optimization.stage3_max_live_parameters=100"], (200, 0, 0, 261 * 20)),
        (["engine.deepspeed.zero_optimization.stage3_max_live_parameters=auto"], (2 * 522, 0, 0, 261 * 20)),
        (["engine.deepspeed.zero_optimization.offload_param=null"], (2 * 261, 0, 0, 261 * 18)),
        (["engine.deepspeed.zero_optimization.offload_optimizer=null"], (2 * 522, 2 * 261, 12 * 261, 2 * 261)),
        (["engine.deepspeed.zero_optimization.offload_optimizer.device=nvme"], (2 * 522, 0, 0, 2 * 261)),
    ],
)
def test_what_is_offloaded_is_in_host_memory(changes, expected):
    config = stage("finetune", "engine=deepspeed_zero3_offload", *changes)
    assert states(need(config, SMALL, SMALL_TOWER, 2)) == expected


def test_the_largest_picture_fills_its_grid():
    # 672x672: 576 + 48 rows of 48 patches and a newline = 2928 tokens, 5 views
    assert largest_picture(stage("finetune").backbone) == (2928, 5)


def test_plan_counts_packed_rows_in_tokens_and_refuses_rows_that_no_packed_row_holds():
    packed = stage("finetune", "finetune.batching=packed", "finetune.pack_length=8192")
    assert rows_a_step("finetune", packed, 8) == (
        "8 GPUs x 4 packed rows of 8,192 = 262,144 tokens a step; as many rows as fit, counted when they are read; "
        "a warning where their mean is not near 128"
    )
    longer = {**packed.model_dump(), "max_length": 9000}
    with pytest.raises(UserError, match=r"max_length=9000 takes rows .* set finetune.pack_length=9000"):
        list(stage_lines("finetune", longer, 8))
    with pytest.raises(UserError, match="raise max_length and pack_length"):
        list(stage_lines("finetune", {**longer, "max_length": 2048, "pack_length": 2048}, 8))


def test_sizes_that_do_not_fit_are_named():
    config = stage("finetune").backbone
    with pytest.raises(UserError, match="has tile=336 and patch=14"):
        shapes(config.model_copy(update={"patch": 16}))
    with pytest.raises(UserError, match="shape of nobody/nothing is not known here"):
        shapes(config.model_copy(update={"language_model": "nobody/nothing"}))
    assert dataclasses.is_dataclass(shapes(config)[0])


@pytest.mark.slow
def test_plan_says_it_all_and_names_what_is_missing(tmp_path):
    command = [sys.executable, "-m", "mmevol_experiment", "plan", "experiment=llama3_evol"]
    done = subprocess.run([*command, f"paths.outputs={tmp_path}"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 2
    assert "pretrain: 8 GPUs x 4 x 8 = 256 rows a step (as the paper)" in done.stdout
    assert "finetune: 8 GPUs x 4 x 4 = 128 rows a step (as the paper)" in done.stdout
    assert "GiB a GPU with deepspeed_zero2 on 8 (weights 15." in done.stdout
    assert "weights: openai/clip-vit-large-patch14-336, meta-llama/Meta-Llama-3-8B-Instruct" in done.stderr
