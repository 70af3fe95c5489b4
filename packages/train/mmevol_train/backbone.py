"""A LLaVA-NeXT model from a vision tower and a language model: native transformers classes, nothing of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
)
from transformers.activations import ACT2FN
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from mmevol_core.errors import UserError, unknown
from mmevol_train.conversation import IMAGE, chat_template, special_tokens, template
from mmevol_train.own_template import end_token, own_template
from mmevol_train.parts import BackboneConfig, locate

PADS = ("<|finetune_right_pad_id|>", "<|reserved_special_token_250|>", "<|endoftext|>")  # unused by Llama-3 and Qwen2
SENTENCE = "A red square is left of two blue circles."
SAME = 1e-2  # of the largest logit; the same layers in the same precision
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def build(
    config: BackboneConfig, *, seed: int = 0, dtype: str = "float32"
) -> tuple[LlavaNextForConditionalGeneration, LlavaNextProcessor]:
    """Load tower and language model and join them by a new projector and newline vector, drawn from `seed`.

    Raises:
        UserError: when a part cannot be loaded, the parts do not fit each other, or joined they are another model.
    """
    torch.manual_seed(seed)
    kind = DTYPES[dtype]
    tower = _load(AutoModel, config.vision_tower, dtype=kind)
    tower = getattr(tower, "vision_model", tower) if tower.config.model_type == "clip" else tower
    language = _load(AutoModelForCausalLM, config.language_model, dtype=kind, attn_implementation=config.attention)
    if not (isinstance(getattr(language, "model", None), nn.Module) and hasattr(language, "lm_head")):
        kind_name = type(language).__name__
        raise UserError(f"backbone {config.name}: {kind_name} has no `model` and `lm_head`; choose a Llama-like model")
    tokenizer = _tokenizer(config)
    rows = language.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        language.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64)
    shape = _llava_config(config, tower.config, language.config, tokenizer)
    model = _join(shape, tower, language, config).to(kind)
    _same_on_text(model, language.to(kind), tokenizer, config)
    processor = _processor(config, tokenizer)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id
    )
    return model, processor


def _load(factory: Any, identifier: str, **options: Any) -> Any:
    try:
        return factory.from_pretrained(locate(identifier), **options)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"cannot load {identifier}: {first} Give a Hugging Face id or folder, or standin:NAME"
        ) from error


def _llava_config(config: BackboneConfig, vision: Any, text: Any, tokenizer: Any) -> LlavaNextConfig:
    high, wide = int(vision.image_size), int(vision.patch_size)
    config.check_tower(high, wide, int(vision.num_hidden_layers))
    if config.projector_act not in ACT2FN:
        raise unknown("activation", config.projector_act, sorted(ACT2FN), where="backbone.projector_act")
    return LlavaNextConfig(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        projector_hidden_act=config.projector_act,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        vision_feature_layer=config.vision_feature_layer,
        image_grid_pinpoints=[list(pair) for pair in config.pinpoints],
        image_seq_length=(high // wide) ** 2,
        tie_word_embeddings=bool(getattr(text, "tie_word_embeddings", False)),
    )


def _join(
    shape: LlavaNextConfig, tower: Any, language: Any, config: BackboneConfig
) -> LlavaNextForConditionalGeneration:
    """Empty LLaVA-NeXT with its two parts put in, so that no part is held in memory twice."""
    with torch.device("meta"):
        model = LlavaNextForConditionalGeneration(shape)
    model.set_attn_implementation(config.attention)
    inner = model.model
    inner.vision_tower, inner.language_model = tower, language.model
    model.lm_head = language.lm_head
    hidden = shape.text_config.hidden_size
    std = config.projector_std or float(getattr(shape.text_config, "initializer_range", 0.02))
    inner.multi_modal_projector.to_empty(device="cpu")
    for layer in (inner.multi_modal_projector.linear_1, inner.multi_modal_projector.linear_2):
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
    inner.image_newline = nn.Parameter(torch.randn(hidden) * hidden**-0.5)  # LLaVA-NeXT's own initial scale
    return model


@torch.no_grad()
def _same_on_text(model: Any, language: Any, tokenizer: Any, config: BackboneConfig) -> None:
    """Refuse a language model that does more to its logits than LLaVA-NeXT will (Cohere, Granite scale them)."""
    ids = torch.tensor([tokenizer(SENTENCE).input_ids])
    language.set_attn_implementation("eager")  # FlashAttention does not run where models are built
    own, joined = (one.eval()(input_ids=ids, use_cache=False).logits.float() for one in (language, model))
    language.set_attn_implementation(config.attention)
    if float((own - joined).abs().max()) > SAME * float(own.abs().max()):
        raise UserError(
            f"backbone {config.name}: {type(language).__name__} changes its logits after `lm_head`, which LLaVA-NeXT "
            f"does not (largest {float(own.abs().max()):.3g} alone, {float(joined.abs().max()):.3g} joined); choose a "
            "Llama-like model"
        )


def _tokenizer(config: BackboneConfig) -> Any:
    tokenizer = _load(AutoTokenizer, config.language_model)
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise UserError(f"backbone {config.name}: {config.language_model} has no fast tokenizer; choose another model")
    if tokenizer.convert_tokens_to_ids(IMAGE) in (None, tokenizer.unk_token_id):
        tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    jinja, end = _own(config, tokenizer) if config.chat_template == "tokenizer" else _known(config, tokenizer)
    tokenizer.eos_token = end
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        tokenizer.pad_token = next((pad for pad in PADS if pad in tokenizer.get_vocab()), tokenizer.eos_token)
    tokenizer.chat_template = jinja
    tokenizer.padding_side = "left"  # for generation; training pads on its own
    return tokenizer


def _known(config: BackboneConfig, tokenizer: Any) -> tuple[str, str]:
    """(chat template, end token) of a family that this package knows."""
    shape = template(config.chat_template)
    lacking = [token for token in shape.control if token not in tokenizer.get_vocab()]
    if lacking:
        raise UserError(
            f"backbone {config.name}: tokenizer of {config.language_model} lacks {', '.join(lacking)}; "
            f"set chat_template to the family of the language model, or to tokenizer for its own"
        )
    return chat_template(config.chat_template, config.system), shape.end


def _own(config: BackboneConfig, tokenizer: Any) -> tuple[str, str]:
    """(chat template, end token) that the language model brings itself."""
    where = f"backbone {config.name}: {config.language_model}"
    if not isinstance(tokenizer.chat_template, str):
        raise UserError(f"{where} brings no chat template; choose an instruct model, or chat_template qwen2 or llama3")
    try:
        jinja = own_template(tokenizer.chat_template, tokenizer.special_tokens_map, config.system)
        end = end_token(jinja, special_tokens(tokenizer.backend_tokenizer))
    except ValueError as error:
        raise UserError(f"{where} cannot be used: {error}") from error
    if not end:
        raise UserError(f"{where}: no special token ends an answer in its chat template; choose an instruct model")
    return jinja, end


def _processor(config: BackboneConfig, tokenizer: Any) -> LlavaNextProcessor:
    tile, patch = config.tower_geometry()
    side = {"height": tile, "width": tile}
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": tile},
        crop_size=side,
        image_grid_pinpoints=[list(pair) for pair in config.pinpoints],
        **_pixel_statistics(config.vision_tower),
    )
    return LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=1,  # the class token, which the strategy leaves out
        chat_template=tokenizer.chat_template,
    )


def _pixel_statistics(identifier: str) -> dict[str, Any]:
    """Mean and standard deviation the tower was trained with; CLIP's when its folder does not say."""
    file = Path(locate(identifier)) / "preprocessor_config.json"
    if not file.is_file():
        return {}
    stored = json.loads(file.read_text(encoding="utf-8"))
    return {key: stored[key] for key in ("image_mean", "image_std") if key in stored}
