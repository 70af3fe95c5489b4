"""Checkpoints in the form of the published LLaVA-NeXT: what transformers 4, vLLM and SGLang read by name."""

import json

import pytest
import torch
from safetensors import safe_open
from support import tiny_models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mmevol_train import backbone, checkpoint
from mmevol_train.interchange import publish, published

LLAMA3 = {
    "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(model, processor, folder) of a Llama 3: scaled rotary positions, a tokenizer that has no `<image>` yet."""
    root = tmp_path_factory.mktemp("published")
    parts = tiny_models.backbone(root, "llama3")
    shape = LlamaConfig.from_pretrained(root / "llama3")
    shape.rope_parameters = {"rope_theta": 500000.0, **LLAMA3}
    LlamaForCausalLM(shape).save_pretrained(root / "llama3")
    without = PreTrainedTokenizerFast(
        tokenizer_object=tiny_models.tokenizer("llama3", image=False),
        bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", pad_token="<|reserved_special_token_250|>",
    )  # fmt: skip
    without.save_pretrained(root / "llama3")
    model, processor = backbone.build(parts)
    checkpoint.save(model, processor, root / "checkpoint")
    return model, processor, root / "checkpoint"


def names(folder):
    with safe_open(folder / "model.safetensors", "pt") as file:
        return set(file.keys())


def test_every_weight_has_the_name_of_the_published_checkpoints(made):
    stored = names(made[2])
    assert {name.split(".")[0] for name in stored} == {
        "image_newline", "language_model", "multi_modal_projector", "vision_tower",
    }  # fmt: skip
    tower = {name for name in stored if name.startswith("vision_tower.")}
    assert tower == {name for name in stored if name.startswith("vision_tower.vision_model.")}
    assert "vision_tower.vision_model.embeddings.class_embedding" in tower
    assert {"language_model.lm_head.weight", "language_model.model.norm.weight"} <= stored


def test_rotary_parameters_are_said_in_both_forms_and_read_as_before(made):
    model, _, folder = made
    text = json.loads((folder / "config.json").read_text())["text_config"]
    assert text["rope_parameters"] == {"rope_theta": 500000.0, **LLAMA3}
    assert (text["rope_theta"], text["rope_scaling"]) == (500000.0, LLAMA3)
    again, _ = checkpoint.load(folder)
    assert again.config.text_config.rope_parameters == model.config.text_config.rope_parameters
    rotary = [one.model.language_model.rotary_emb.inv_freq for one in (model, again)]
    assert torch.equal(*rotary)


def test_the_tokenizer_is_said_in_words_that_both_versions_know_and_read_as_before(made):
    _, processor, folder = made
    stored = json.loads((folder / "tokenizer_config.json").read_text())
    assert stored["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert stored["additional_special_tokens"] == ["<image>"]
    assert "extra_special_tokens" not in stored
    again = checkpoint.load(folder)[1].tokenizer
    assert again.special_tokens_map == processor.tokenizer.special_tokens_map
    assert again.backend_tokenizer.to_str() == processor.tokenizer.backend_tokenizer.to_str()


def test_names_that_nothing_has_renamed_become_the_published_ones_too(made):
    assert {published(name) for name in made[0].state_dict()} == names(made[2])
    assert {published(name) for name in names(made[2])} == names(made[2])


def test_a_checkpoint_of_several_files_has_the_names_in_its_index_too(made, tmp_path):
    model, processor, folder = made
    model._weight_conversions = None
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    processor.save_pretrained(tmp_path)
    publish(tmp_path)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) > 1 and index.keys() == names(folder)
    for name, file in index.items():
        with safe_open(tmp_path / file, "pt") as stored, safe_open(folder / "model.safetensors", "pt") as one:
            assert torch.equal(stored.get_tensor(name), one.get_tensor(name))


def test_a_loaded_checkpoint_is_written_as_it_was_and_one_with_shorter_names_is_still_read(made, tmp_path):
    model, processor, folder = made
    loaded, _ = checkpoint.load(folder)
    checkpoint.save(loaded, processor, tmp_path / "again")
    assert checkpoint.fingerprint(tmp_path / "again") == checkpoint.fingerprint(folder)
    model._weight_conversions = None  # as earlier versions wrote it
    model.save_pretrained(tmp_path / "again")
    assert "vision_tower.embeddings.class_embedding" in names(tmp_path / "again")
    old, _ = checkpoint.load(tmp_path / "again")
    assert all(torch.equal(old.state_dict()[name], value) for name, value in model.state_dict().items())
    checkpoint.save(old, processor, tmp_path / "mended")
    assert names(tmp_path / "mended") == names(folder)
