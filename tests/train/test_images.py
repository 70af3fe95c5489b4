"""Fused image preparation against transformers' PIL processor."""

import numpy as np
import pytest
import torch
from PIL import Image
from support.broken_pictures import broken_png
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from mmevol_train.conversation import BadRow
from mmevol_train.images import Normalizer, cut, image_size, locate_image, read_views

PINPOINTS = ((64, 64), (64, 128), (128, 64), (128, 128))
MEAN, STD = [0.48, 0.45, 0.4], [0.27, 0.26, 0.275]


SIZES = [(64, 64), (1, 1), (200, 31), (31, 200), (128, 128), (97, 101), (640, 480), (3, 500)]


def official(tile, pinpoints):
    return LlavaNextImageProcessorPil(
        size={"shortest_edge": tile}, crop_size={"height": tile, "width": tile}, image_mean=MEAN, image_std=STD,
        image_grid_pinpoints=[list(pair) for pair in pinpoints],
    )  # fmt: skip


@pytest.mark.parametrize("size", [*SIZES, (1, 5000), (5000, 1), (10_000, 3)])
def test_pixels_are_bit_equal_to_the_processor(size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    picture = Image.fromarray(pixels)
    expected = official(64, PINPOINTS)(picture, return_tensors="pt")["pixel_values"][0]
    views = torch.from_numpy(cut(picture, PINPOINTS, 64))
    assert torch.equal(Normalizer(MEAN, STD)(views), expected)


@pytest.mark.parametrize("scale", [1 / 255, 1 / 127.5, 0.3])
def test_arithmetic_and_table_normalise_alike(scale):
    """CLIP's numbers are computed; where a scale makes rounding differ, the table is looked up."""
    normalise = Normalizer([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711], scale)
    views = torch.randint(0, 256, (2, 3, 8, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = normalise(views)
    assert normalise._computes or scale != 1 / 255
    normalise._computes = False
    assert torch.equal(found, normalise(views))


def test_a_path_that_leaves_the_image_root_is_refused(tmp_path):
    (tmp_path / "root").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "outside.png")
    (tmp_path / "root" / "link.png").symlink_to(tmp_path / "outside.png")
    for name in ("../outside.png", str(tmp_path / "outside.png")):
        with pytest.raises(BadRow, match="leaves the image root"):
            locate_image(tmp_path / "root", name)
    assert image_size(tmp_path / "root", "link.png") == (4, 4)  # a link is the user's own


def test_missing_and_broken_pictures_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:80])
    with pytest.raises(BadRow, match="not found"):
        image_size(tmp_path, "absent.png")
    with pytest.raises(BadRow, match="cannot be read"):
        image_size(tmp_path, "text.png")
    with pytest.raises(BadRow, match="cannot be decoded"):
        read_views(tmp_path / "cut.png", PINPOINTS, 64)
    (tmp_path / "broken.png").write_bytes(broken_png())
    with pytest.raises(BadRow, match=r"cannot be decoded \(broken PNG file"):
        read_views(tmp_path / "broken.png", PINPOINTS, 64)


@pytest.mark.parametrize("name", ["a\0.png", "a" * 300 + ".png", "loop.png"], ids=["nul", "long", "loop"])
def test_a_path_that_no_file_can_have_is_a_row_without_its_picture(tmp_path, name):
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(BadRow, match="image not found"):
        image_size(tmp_path, name)
