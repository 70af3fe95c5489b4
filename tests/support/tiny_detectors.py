"""Zero-shot detectors of a few thousand random weights in Hugging Face folders, with the processors they need."""

from __future__ import annotations

from pathlib import Path

from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2Processor,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTProcessor,
    SwinConfig,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
OWL = {
    "text_config": {**SIZES, "vocab_size": len(TOKENS), "max_position_embeddings": 16},
    "vision_config": {**SIZES, "image_size": 32, "patch_size": 8},
    "projection_dim": 16,
}


def owl_vit(folder: Path) -> None:
    """OWL-ViT: the picture is stretched to a square."""
    OwlViTForObjectDetection(OwlViTConfig(**OWL)).save_pretrained(folder)
    images = OwlViTImageProcessorPil(size={"height": 32, "width": 32})
    OwlViTProcessor(images, _letters()).save_pretrained(folder)


def owl_v2(folder: Path) -> None:
    """OWLv2: the picture is padded to a square, so that boxes can lie beside it."""
    Owlv2ForObjectDetection(Owlv2Config(**OWL)).save_pretrained(folder)
    images = Owlv2ImageProcessorPil(size={"height": 32, "width": 32})
    Owlv2Processor(images, _letters()).save_pretrained(folder)


def grounding_dino(folder: Path) -> None:
    """Grounding DINO: its processor joins the labels to one sentence, and phrases of it come back."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "cat", "dog", "red", "circle"]
    text = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    backbone = SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_indices=[2, 3, 4],
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=backbone, text_config=text, num_queries=6, d_model=32, encoder_layers=1, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
        max_text_len=64, num_feature_levels=4,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = GroundingDinoImageProcessorPil(size={"shortest_edge": 128, "longest_edge": 192})  # room for four levels
    tokenizer = BertTokenizer(vocab={word: n for n, word in enumerate(words)}, model_max_length=64)
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)


def _letters() -> CLIPTokenizer:
    return CLIPTokenizer(vocab={token: n for n, token in enumerate(TOKENS)}, merges=[], model_max_length=16)
