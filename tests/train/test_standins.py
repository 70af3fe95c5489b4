"""The stand-ins: text that is true of its scene, and the shipped weights with their recipe."""

from __future__ import annotations

import random
from dataclasses import asdict
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import mmevol_train.standins as standins
from mmevol_core.files import file_digest, read_json
from mmevol_train.standins import language, text
from mmevol_train.standins import scene as scenes

WEIGHTS = Path(standins.__file__).parent / "weights"


def test_the_letter_of_a_multiple_choice_turn_stands_before_the_fact_of_the_scene():
    rng = random.Random(0)
    for _ in range(500):
        scene = scenes.scene(rng)
        question, letter = text.choice(scene, rng)
        line = next(line for line in question.splitlines() if line.startswith(f"{letter}. "))
        assert line.removeprefix(f"{letter}. ") in scene.facts.values()


def test_letters_and_yes_no_are_balanced_enough_that_a_constant_answer_gains_nothing():
    rng = random.Random(1)
    yes = [text.yes_no(scenes.scene(rng), rng)[1] == "yes" for _ in range(2_000)]
    assert 0.46 < sum(yes) / 2_000 < 0.54
    first = [text.choice(scenes.scene(rng), rng)[1] == "A" for _ in range(2_000)]
    assert 0.25 < sum(first) / 2_000 < 0.42  # two to four options


def test_every_fact_of_a_scene_is_somewhere_in_its_slots():
    rng = random.Random(2)
    for _ in range(300):
        scene = scenes.scene(rng)
        words = scenes.slots(scene, rng)
        assert len(words) == scenes.SLOTS
        assert set(scene.facts.values()) <= set(words)


@pytest.mark.parametrize("family", ["qwen2", "llama3"])
def test_the_shipped_language_model_answers_a_question_about_a_scene_in_words(family):
    tokens = AutoTokenizer.from_pretrained(WEIGHTS / family)
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS / family).eval()
    found = language.probe(model, language.Writer(tokens, family), 60)
    assert found["look_up"] > 0.85
    assert found["one_or_other"] > 0.8


@pytest.mark.parametrize("name", ["clip_tower", "qwen2", "llama3"])
def test_shipped_weights_are_small_and_match_the_fingerprint_in_their_recipe(name):
    file = WEIGHTS / name / "model.safetensors"
    assert file.stat().st_size <= 4_000_000
    recipe = read_json(WEIGHTS / name / "recipe.json")
    assert recipe["weights"] == file_digest(file)
    assert recipe["steps"] > 0
    assert recipe["training_seconds"] > 0


@pytest.mark.parametrize("name", ["qwen2", "llama3"])
def test_what_a_recipe_says_was_measured_is_measured_by_the_present_program(name):
    recipe = read_json(WEIGHTS / name / "recipe.json")
    assert set(recipe["measured"]) == {task.__name__ for task in text.TASKS}
    assert set(asdict(language.Recipe(name, 1))) <= set(recipe)


def test_the_same_steps_give_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "CORPUS", 200)
    monkeypatch.setattr(language, "probe", lambda *_: {})  # a measurement, which takes longer than the steps
    plan = language.Recipe("qwen2", steps=3, batch=2)
    for place in ("a", "b"):
        language.train(plan, tmp_path / place)
    assert file_digest(tmp_path / "a" / "model.safetensors") == file_digest(tmp_path / "b" / "model.safetensors")
