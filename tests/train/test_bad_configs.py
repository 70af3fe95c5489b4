"""Values that fit a type and mean nothing are refused in one line, before a row is read."""

import json

import pytest
from support.tiny_models import backbone
from support.training_runs import COMMON

from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_train.backbone import build
from mmevol_train.config import FinetuneConfig
from mmevol_train.parts import BackboneConfig
from mmevol_train.ready import check_machine
from mmevol_train.shapes import shapes
from mmevol_train.training import adapted


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return backbone(tmp_path_factory.mktemp("parts"), "qwen2")


def finetune(parts, **changes):
    return fit(FinetuneConfig, {"backbone": parts.model_dump(), **COMMON, **changes}, "finetune")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"betas": [2, 3]}, r"finetune\.betas\.0: Input should be less than 1"),
        ({"engine": {"name": "single", "fsdp": {}}}, "engine single and an fsdp section do not fit"),
        ({"engine": {"name": "single", "nodes": 2}}, "engine single is one process of one node"),
        ({"engine": {"name": "single", "processes": 4}}, "engine single is one process of one node"),
        (
            {"engine": {"name": "deepspeed_zero2", "deepspeed": {"zero_optimization": {"stage": 3}}}},
            "engine deepspeed_zero2 has zero_optimization.stage 3",
        ),
        (
            {"engine": {"name": "deepspeed_zero2", "deepspeed": {"zero_optimization": None}}},
            "engine deepspeed_zero2 has zero_optimization.stage None",
        ),
        ({"seed": -1}, r"finetune\.seed: .*greater than or equal to 0"),
        ({"seed": 2**63}, r"finetune\.seed: .*less than 4294967296"),
        ({"threads": 10**6}, r"finetune\.threads: .*less than or equal to 1024"),
        ({"lr_projector": float("inf")}, r"finetune\.lr_projector: Input should be a finite number"),
        ({"weight_decay": float("nan")}, r"finetune\.weight_decay: Input should be a finite number"),
        ({"lora": {"targets": []}}, r"finetune\.lora\.targets: .*at least 1 item"),
        ({"lora": {}, "train_language_model": False}, "set train_language_model to true, or lora to null"),
    ],
)
def test_a_value_without_meaning_is_named(parts, changes, words):
    with pytest.raises(UserError, match=words) as refused:
        finetune(parts, **changes)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("target", ["foo", "q_proj|k_proj"])
@pytest.mark.parametrize("model", ["", "Qwen/Qwen2-7B-Instruct", "standin:llama3"])
def test_a_target_that_a_known_language_model_lacks_is_named_before_it_is_built(parts, model, target):
    backbone = {**parts.model_dump(), "language_model": model or parts.language_model}
    config = finetune(parts, backbone=backbone, lora={"targets": ["q_proj", target]})
    with pytest.raises(UserError, match=r"unknown linear layer '.*' in lora\.targets.* Valid: down_proj, gate_proj"):
        check_machine(config)


@pytest.mark.parametrize("model_type", ["phi3", None])
def test_layers_of_other_language_models_are_left_to_the_model_whatever_its_template(parts, tmp_path, model_type):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    folder = tmp_path if model_type else tmp_path / "not" / "here"
    backbone = {**parts.model_dump(), "language_model": str(folder), "chat_template": "qwen2"}
    check_machine(finetune(parts, backbone=backbone, lora={"targets": ["qkv_proj"]}))


def test_a_target_that_another_language_model_lacks_is_named(parts):
    own = {**parts.model_dump(), "chat_template": "tokenizer"}
    config = FinetuneConfig.model_validate({"backbone": own, **COMMON, "lora": {"targets": ("q_proj", "query_key")}})
    model, _ = build(parts)
    with pytest.raises(UserError, match=r"unknown linear layer 'query_key' in lora\.targets.* Valid: down_proj, "):
        adapted(model, config)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vision_feature_layer": 99}, r"vision_feature_layer=99, .* has the layers 1 to 3, or -3 to -1"),
        ({"vision_feature_layer": -4}, "vision_feature_layer=-4"),
        ({"vision_feature_layer": 0}, "vision_feature_layer=0"),
        ({"projector_act": "foo"}, r"unknown activation 'foo' in backbone\.projector_act"),
        ({"tile": 32}, "has tile=64 and patch=16; correct them"),
        ({"patch": 7}, "has tile=64 and patch=16; correct them"),
    ],
)
def test_a_backbone_that_its_parts_cannot_be_is_refused(parts, changes, words):
    config = BackboneConfig.model_validate({**parts.model_dump(), **changes})
    with pytest.raises(UserError, match=words):
        build(config)
    if "projector_act" not in changes:
        with pytest.raises(UserError, match=words):  # `mmevol plan` knows it without a weight
            shapes(config)


def test_the_first_and_the_last_layer_of_the_tower_are_taken(parts):
    for layer in (1, 3, -1, -3):
        build(parts.model_copy(update={"vision_feature_layer": layer}))


def test_the_class_token_has_no_place_in_a_grid(parts):
    with pytest.raises(UserError, match="vision_feature_select_strategy: Input should be 'default'"):
        fit(BackboneConfig, {**parts.model_dump(), "vision_feature_select_strategy": "full"}, "backbone")
