"""Anyres arithmetic against transformers' processor and model."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.tiny_models import backbone
from transformers import LlavaNextConfig
from transformers.models.llava_next.modeling_llava_next import LlavaNextModel, image_size_to_num_patches

from mmevol_core.errors import UserError
from mmevol_train.anyres import best_resolution, grid, tokens_for
from mmevol_train.backbone import _processor

MMEVOL = ((672, 336), (336, 672), (672, 672), (336, 1008), (1008, 336))
TINY = ((64, 64), (64, 128), (128, 64), (128, 128))
SIDES = st.integers(1, 5000) | st.sampled_from([1, 2, 3, 335, 336, 337, 672, 1008, 10_000, 65_500])
TILES = st.integers(1, 4)
ANY = st.tuples(
    st.lists(st.tuples(TILES, TILES), min_size=1, max_size=7), st.sampled_from([(336, 14), (64, 16), (224, 32)])
).map(lambda drawn: (tuple((high * drawn[1][0], wide * drawn[1][0]) for high, wide in drawn[0]), *drawn[1]))


def model_tokens(width, height, pinpoints, tile, patch):
    """Tokens the real model packs for a picture, its features all zero."""
    vision = {"model_type": "clip_vision_model", "image_size": tile, "patch_size": patch}
    config = LlavaNextConfig(vision_config=vision, image_grid_pinpoints=[list(pair) for pair in pinpoints])
    shell = type("Shell", (), {"config": config})()
    views = image_size_to_num_patches((height, width), config.image_grid_pinpoints, tile)
    features = [torch.zeros(views, (tile // patch) ** 2, 1)]
    sizes = torch.tensor([[height, width]])
    packed, _ = LlavaNextModel.pack_image_features(shell, features, sizes, "default", torch.zeros(1))
    return len(packed[0]), views


class Counter:
    """The processor's own arithmetic without its files."""

    def __init__(self, pinpoints, patch):
        from transformers import LlavaNextProcessor

        self.image_processor = type("Images", (), {"image_grid_pinpoints": [list(pair) for pair in pinpoints]})()
        self.patch_size, self.num_additional_image_tokens = patch, 1
        self._features = LlavaNextProcessor._get_number_of_features
        self._get_unpadded_features = LlavaNextProcessor._get_unpadded_features.__get__(self)

    def tokens(self, width, height, tile):
        return self._features(self, height, width, tile, tile) - 1


@settings(max_examples=300, deadline=None)
@given(width=SIDES, height=SIDES, setup=st.sampled_from([(MMEVOL, 336, 14), (TINY, 64, 16)]) | ANY)
def test_tokens_and_views_equal_processor_and_model_for_every_size_and_grid(width, height, setup):
    pinpoints, tile, patch = setup
    found = grid(width, height, pinpoints, tile, patch)
    assert found.tokens == Counter(pinpoints, patch).tokens(width, height, tile)
    assert (found.tokens, found.views) == model_tokens(width, height, pinpoints, tile, patch)


EXTREMES = [(1, 5000), (5000, 1), (10_000, 3), (3, 10_000), (1, 1), (65_500, 1), (1, 65_500)]


@pytest.mark.parametrize("size", EXTREMES)
def test_pictures_of_one_line_are_counted_like_the_model(size):
    found = grid(*size, MMEVOL, 336, 14)
    assert (found.tokens, found.views) == model_tokens(*size, MMEVOL, 336, 14)
    assert found.tokens == Counter(MMEVOL, 14).tokens(*size, 336)


def test_each_of_the_five_grids_is_the_best_for_some_picture():
    pictures = {(336, 672): (672, 336), (672, 336): (336, 672), (672, 672): (600, 600), (1008, 336): (300, 900),
                (336, 1008): (900, 300)}  # fmt: skip
    assert {best: best_resolution(*size, MMEVOL) for best, size in pictures.items()} == {best: best for best in MMEVOL}


@pytest.mark.parametrize("size", [[3], [0, 5], [1.5, 2], [True, 2], ["a", 1], None, {"width": 1}, [1, -2], [1, 2, 3]])
def test_a_size_that_is_none_is_named_by_its_place(tmp_path, size):
    with pytest.raises(UserError, match=r"^sizes\[1\] is .*give \[width, height\] in pixels"):
        tokens_for([[4, 5], size], backbone(tmp_path, "qwen2"))


def test_a_640x480_picture_takes_five_views_and_2340_tokens():
    # 672x672 grid of 2x2 tiles of 24x24 patches; 480/640*48 = 36 rows remain: 576 + 36 * (48 + 1) = 2340
    found = grid(640, 480, MMEVOL, 336, 14)
    assert (found.best_resolution, found.views, found.rows, found.columns, found.tokens) == (
        (672, 672),
        5,
        36,
        48,
        2340,
    )


def test_the_first_pinpoint_wins_a_tie():
    assert best_resolution(100, 100, MMEVOL) == (672, 336)


def test_transformers_rounding_is_followed_where_the_original_truncates():
    # 205 * (48 / 328) = 29.999999999999996: transformers makes it 30, so 48 - 2 * ((48 - 30) // 2) = 30 rows
    assert grid(328, 205, ((672, 672),), 336, 14).rows == 30


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_a_picture_without_pixels_is_refused(size):
    with pytest.raises(UserError, match="sides must be 1 or more"):
        grid(*size, MMEVOL, 336, 14)


def test_pinpoints_that_are_no_whole_tiles_are_refused():
    with pytest.raises(UserError, match="multiples of the tile"):
        grid(10, 10, ((100, 64),), 64, 16)


def test_the_processor_is_given_the_same_pinpoints(tmp_path):
    from transformers import AutoTokenizer

    config = backbone(tmp_path, "qwen2")
    processor = _processor(config, AutoTokenizer.from_pretrained(config.language_model))
    picture = Image.fromarray(np.zeros((50, 120, 3), np.uint8))
    views = processor.image_processor(picture, return_tensors="pt")["pixel_values"].shape[1]
    assert views == grid(120, 50, config.pinpoints, *config.tower_geometry()).views
