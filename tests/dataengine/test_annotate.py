"""Detectors and OCR on real code paths: tiny random models saved here, rapidocr with the models of its wheel."""

import json

import pytest
from PIL import Image, ImageDraw, ImageFont

from mmevol_core.errors import UserError
from mmevol_core.images import ImageStore
from mmevol_core.sample import QA, Box, Sample
from mmevol_dataengine.annotate import AnnotateConfig, Annotator, Detector, apart

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def owl_vit(folder):
    """An OWL-ViT of a few thousand random weights, saved as a model hub would hold it."""
    from transformers import CLIPTokenizer, OwlViTConfig, OwlViTForObjectDetection, OwlViTProcessor
    from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

    tokens = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={t: n for n, t in enumerate(tokens)}, merges=[], model_max_length=16)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = OwlViTConfig(
        text_config={**sizes, "vocab_size": len(tokens), "max_position_embeddings": 16},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    OwlViTForObjectDetection(config).save_pretrained(folder)
    OwlViTProcessor(OwlViTImageProcessorPil(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)


def grounding_dino(folder):
    """The same for Grounding DINO, whose processor joins the labels to one sentence."""
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoProcessor,
        SwinConfig,
    )
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "cat", "dog", "red", "circle"]
    tokenizer = BertTokenizer(vocab={word: n for n, word in enumerate(words)}, model_max_length=64)
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
    size = {"shortest_edge": 128, "longest_edge": 192}  # four levels must be left of it
    GroundingDinoProcessor(GroundingDinoImageProcessorPil(size=size), tokenizer).save_pretrained(folder)


def root(folder):
    folder.mkdir()
    picture = Image.new("RGB", (320, 120), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((20, 20), "EXIT 42", fill="black", font=ImageFont.load_default(40))
    picture.save(folder / "sign.png")
    (folder / "cut.png").write_bytes((folder / "sign.png").read_bytes()[:200])
    return ImageStore(folder)


@pytest.mark.slow
@pytest.mark.parametrize("make", [owl_vit, grounding_dino])
def test_a_detector_loaded_by_name_gives_boxes_of_the_asked_labels_inside_the_image(tmp_path, make):
    make(tmp_path / "model")
    config = AnnotateConfig(
        detector=str(tmp_path / "model"), labels=("cat", "dog", "red"), labels_at_once=2, threshold=0.0, most_boxes=5
    )
    found = Detector(config).find(Image.effect_noise((60, 40), 80).convert("RGB"), config.labels)
    assert len(found) <= 5
    assert make is grounding_dino or found  # random phrases need not be labels, OWL-ViT scores the labels themselves
    for label, (left, top, right, bottom), score in found:
        assert label in config.labels
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        assert 0 <= score <= 1


def test_boxes_that_coincide_under_one_label_are_one_object():
    near = [("cat", [0.1, 0.1, 0.5, 0.5], 0.9), ("cat", [0.1, 0.1, 0.5, 0.48], 0.8)]  # overlap 0.95
    other = [("dog", [0.1, 0.1, 0.5, 0.5], 0.7), ("cat", [0.1, 0.1, 0.3, 0.3], 0.6)]  # another label; overlap 0.25
    assert apart([*near, *other]) == [near[0], *other]


def test_a_detector_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"annotate\.detector .*absent"):
        Detector(AnnotateConfig(detector=str(tmp_path / "absent")))


@pytest.mark.slow
def test_text_in_pictures_is_read_once_and_a_broken_picture_is_counted(tmp_path):
    pytest.importorskip("rapidocr")
    store = root(tmp_path / "images")
    rows = [
        Sample(id="a", images=("sign.png",), rounds=((QA(id="q", question="What?", answer="A sign"),),)),
        Sample(id="b", images=("cut.png",)),
        Sample(id="c", images=("sign.png", "cut.png")),
        Sample(id="d", images=()),
    ]
    config, log = AnnotateConfig(ocr="rapidocr"), tmp_path / "annotations.jsonl"
    with Annotator(config, store, log) as annotator:
        first, *rest = annotator.annotate(rows)
    (line,) = first.ocr
    assert line.text.replace(" ", "") == "EXIT42"
    left, top, _, bottom = line.xyxy  # drawn at 20 of 320 across and 20 of 120 down
    assert left == pytest.approx(20 / 320, abs=0.04)
    assert top < 0.35 < bottom
    assert rest == rows[1:]
    assert annotator.counts == {"text_added": 1, "image_truncated": 1, "several_images": 1}
    with log.open("ab") as file:
        file.write(b'{"id": "z", "te')  # killed while writing
    (tmp_path / "images" / "sign.png").unlink()  # what is in the log is not looked at again
    with Annotator(config, store, log) as again:
        assert next(again.annotate(rows)).ocr == first.ocr
    assert [json.loads(row)["id"] for row in log.read_text().splitlines()] == ["a", "b"]


def test_what_a_record_has_is_left_alone(tmp_path):
    box = Box(label="sign", xyxy=(0.1, 0.1, 0.2, 0.2))
    sample = Sample(id="a", images=("gone.png",), boxes=(box,))
    with Annotator(AnnotateConfig(detector="never-loaded"), ImageStore(tmp_path), tmp_path / "log") as annotator:
        assert list(annotator.annotate([sample])) == [sample]
