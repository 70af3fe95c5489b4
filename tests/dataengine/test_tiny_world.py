"""The tiny world against its sources: easy-VQA's own answers, and the digit set's own labels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import easy_vqa
import numpy as np
import pytest
from PIL import Image

from mmevol_core.errors import UserError
from mmevol_core.sample import Sample, read_samples
from mmevol_dataengine import tiny_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tiny_world.World:
    return tiny_world.build(tmp_path_factory.mktemp("world"), seed=0, shapes=None, digits=None)


def _by_image(path: Path) -> dict[str, Sample]:
    return {sample.images[0]: sample for sample in read_samples(path)}


def test_labels_from_the_pixels_agree_with_every_question_of_easy_vqa(world):
    seeds = _by_image(world.seed)
    checked = 0
    for question, answer, number in zip(*easy_vqa.get_train_questions(), strict=True):
        color, shape = seeds[f"easy_vqa_train_{number:04d}.png"].boxes[0].label.split()
        if question in ("what color is the shape?", "what is the color of the shape?"):
            assert color == answer
            checked += 1
        if question in ("what shape is in the image?", "what shape is present?"):
            assert shape == answer
            checked += 1
    assert checked > 3_000


def test_no_test_picture_is_among_the_train_pictures(world):
    def digests(folder: Path) -> set[str]:
        return {hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.png")}

    train, test = digests(world.images), digests(world.held_out / "images")
    assert len(train) == 5_438  # 4,000 shapes, of which easy-VQA repeats none, and 1,438 digits
    assert not train & test


def test_train_roles_name_train_pictures_only(world):
    assert all("_train_" in name for name in _by_image(world.seed))
    assert all("_test_" in name for name in _by_image(world.held_out / "annotations.jsonl"))
    assert b"_test_" not in world.captions.read_bytes()


def test_a_box_is_tight_around_the_pixels_that_are_not_background(world):
    for sample in list(_by_image(world.seed).values())[:200]:
        with Image.open(world.images / sample.images[0]) as picture:
            pixels = np.asarray(picture.convert("L")).astype(int)
        left, top, right, bottom = (round(edge * 64) for edge in sample.boxes[0].xyxy)
        outside = pixels.copy()
        outside[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = np.median(pixels)  # soft tips
        assert np.abs(outside - np.median(pixels)).max() <= 128  # a digit's rim lighter than half is not ink


def test_the_same_seed_gives_the_same_files(tmp_path):
    first, second = (tiny_world.build(tmp_path / name, seed=3, shapes=5, digits=5) for name in "ab")
    assert first.seed.read_bytes() == second.seed.read_bytes()
    assert first.captions.read_bytes() == second.captions.read_bytes()


def test_yes_and_no_are_balanced_in_the_digit_questions(world):
    answers = [qa.answer for s in read_samples(world.seed) if s.topic == "digit" for qa in s.rounds[0]]
    said = [answer for answer in answers if answer in ("yes", "no")]
    assert 0.45 < said.count("yes") / len(said) < 0.55


def test_asking_for_more_records_than_exist_says_how_many_there_are(tmp_path):
    with pytest.raises(UserError, match="1438 exist"):
        tiny_world.build(tmp_path, seed=0, shapes=1, digits=2_000)


@pytest.mark.parametrize(
    ("xyxy", "words"),
    [
        ((0.0, 0.0, 0.2, 0.2), ("left", "top", "small")),  # centre .1, .1; covers .04
        ((0.4, 0.4, 0.7, 0.7), ("center", "middle", "medium")),  # centre .55; covers .09
        ((0.5, 0.5, 1.0, 1.0), ("right", "bottom", "large")),  # centre .75; covers .25
    ],
)
def test_place_words_follow_the_centre_and_the_share_covered(xyxy, words):
    assert tiny_world.place(xyxy) == words
