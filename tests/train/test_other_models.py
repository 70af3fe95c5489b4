"""Any other causal language model by id: with its own chat template, or refused in one line."""

import json

import pytest
import torch
from support.tiny_models import PINPOINTS, parts, tokenizer, world
from tokenizers import AddedToken
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

from mmevol_core.errors import UserError
from mmevol_train import finetune, pretrain
from mmevol_train.backbone import build
from mmevol_train.checkpoint import load
from mmevol_train.config import FinetuneConfig, PretrainConfig
from mmevol_train.conversation import render_answer
from mmevol_train.own_template import own_template
from mmevol_train.parts import BackboneConfig

MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST] {{ message['content'] }} "
    "[/INST]{% elif message['role'] == 'assistant' %} {{ message['content'] }}{{ eos_token }}{% else %}"
    "{{ raise_exception('no system') }}{% endif %}{% endfor %}"
)
FORGETFUL = (
    "{% for message in messages[-2:] %}{{ message['role'] }}: {{ message['content'] }}{{ eos_token }}{% endfor %}"
)
SIZES = {
    "vocab_size": 384, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 2048, "pad_token_id": 0,
}  # fmt: skip
TALK = [
    {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "red"},
    {"from": "human", "value": "Sure?"}, {"from": "gpt", "value": "yes"},
]  # fmt: skip


def language_model(root, kind, template):
    """A folder with a random language model and a tokenizer that brings `template`."""
    torch.manual_seed(0)
    tower, _ = parts(root, "qwen2")
    models = {
        "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)),
        "gemma": lambda: GemmaForCausalLM(GemmaConfig(**SIZES, head_dim=8)),
        "cohere": lambda: CohereForCausalLM(CohereConfig(**SIZES, logit_scale=0.0625)),
        "granite": lambda: GraniteForCausalLM(GraniteConfig(**SIZES, logits_scaling=8.0)),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=384, n_embd=32, n_layer=2, n_head=2)),
    }
    folder = root / kind
    models[kind]().save_pretrained(folder)
    words = tokenizer("qwen2", image=False)
    words.add_special_tokens([AddedToken(text, special=True) for text in ("<s>", "</s>")])
    fast = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<|endoftext|>")
    fast.chat_template = template
    fast.save_pretrained(folder)
    return BackboneConfig(
        name=kind, vision_tower=str(tower), language_model=str(folder), chat_template="tokenizer", pinpoints=PINPOINTS
    )


def test_answers_are_found_in_a_template_that_does_not_mark_them():
    jinja = own_template(MISTRAL, {"bos_token": "<s>", "eos_token": "</s>"}, None)
    found = render_answer(TALK, jinja, ["<s>", "</s>"])
    assert found.text == "<s>[INST] <image>\nWhat? [/INST] red</s>[INST] Sure? [/INST] yes</s>"
    assert [found.text[start:end] for start, end in found.supervised] == [" red</s>", " yes</s>"]


@pytest.mark.parametrize("kind", ["mistral", "gemma"])
def test_another_family_trains_on_its_own_template_and_is_loaded_again(tmp_path, kind):
    backbone = language_model(tmp_path, kind, MISTRAL)
    data, images = world(tmp_path, rows=8)
    common = {
        "backbone": backbone, "batch_size": 4, "dtype": "float32", "tracking": {"wandb": "off"}, "verify": False,
        "save_every_s": None, "batching": "packed", "pack_length": 800, "max_length": 800,
    }  # fmt: skip
    for name in ("pretrain", "finetune"):
        (tmp_path / name).mkdir()
    first = pretrain.run(PretrainConfig(**common), {"captions": data, "images": images}, tmp_path / "pretrain")
    inputs = {"checkpoint": first.files["checkpoint"], "conversations": data, "images": images}
    second = finetune.run(FinetuneConfig(**common), inputs, tmp_path / "finetune")
    _, processor = load(second.files["checkpoint"])
    content = [{"type": "image"}, {"type": "text", "text": "What?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    assert text == "<s>[INST] <image>\nWhat? [/INST]"
    assert processor.tokenizer.eos_token == "</s>"


@pytest.mark.parametrize(
    ("kind", "template", "words"),
    [
        ("mistral", None, "brings no chat template"),
        ("mistral", FORGETFUL, "writes earlier turns differently"),
        ("mistral", "{% for m in messages %}{{ m['content'] }}{% endfor %}", "no special token ends an answer"),
        ("mistral", "{{ raise_exception('never') }}", "refuses the conversation: never"),
        ("gpt2", MISTRAL, "GPT2LMHeadModel has no `model`"),
        ("cohere", MISTRAL, "CohereForCausalLM changes its logits"),
        ("granite", MISTRAL, "GraniteForCausalLM changes its logits"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, kind, template, words):
    with pytest.raises(UserError, match=words) as found:
        build(language_model(tmp_path, kind, template))
    assert "\n" not in str(found.value)


def test_the_references_labels_need_a_template_it_knows(tmp_path):
    backbone = language_model(tmp_path, "mistral", MISTRAL)
    with pytest.raises(ValueError, match="set label_mode to answer"):
        FinetuneConfig(backbone=backbone, batch_size=1, label_mode="mmevol")
    assert json.loads(backbone.model_dump_json())["chat_template"] == "tokenizer"
