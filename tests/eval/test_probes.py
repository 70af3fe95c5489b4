"""The gates read 1 for a model that sees, and tell apart the ways of not seeing."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from support import tiny_llava

from mmevol_eval.predictions import Answer
from mmevol_eval.probes import LAYOUTS, measure, normal, prepare


@pytest.fixture(scope="module")
def probes(tmp_path_factory):
    return prepare(tiny_llava.held_out(tmp_path_factory.mktemp("held_out")), 80, 0)


def readings(probes, reply):
    """Measure with `reply(expected, ask)` as the model."""
    expected = {(f"probe:{one.probe}", one.index): one for one in probes.expected}
    answers = {
        (ask.run, ask.benchmark, ask.index): Answer(reply(expected[ask.benchmark, ask.index], ask), None)
        for ask in probes.asks
    }
    return measure(probes, answers)


def test_a_model_that_knows_everything_passes_every_gate(probes):
    found = readings(probes, lambda one, ask: one.answer)
    assert found["letter_binding"] == {"accuracy": 1.0, "valid": 1.0, "consistent": 1.0, "n": 80}
    assert found["cell_binding_2"]["right"] == found["cell_binding_4"]["right"] == 1.0
    assert found["cell_binding_2"]["other"] == 0.0
    assert found["seed_type"]["real"] == 1.0


def test_a_model_that_names_the_other_cell_is_found_out(probes):
    found = readings(probes, lambda one, ask: one.others[0] if "cells" in one.probe else "")
    assert found["cell_binding_4"] == {"right": 0.0, "other": 1.0, "n": 40}


def test_always_the_same_letter_is_chance_and_not_consistent(probes):
    found = readings(probes, lambda one, ask: "A")["letter_binding"]
    assert found == {"accuracy": 0.25, "valid": 1.0, "consistent": 0.0, "n": 80}


def test_the_option_text_in_place_of_its_letter_is_not_valid(probes):
    found = readings(probes, lambda one, ask: one.others[0] if one.others else "")["letter_binding"]
    assert found["valid"] == 0.0


def test_seeing_is_the_difference_of_the_real_and_the_blind_run(probes):
    found = readings(probes, lambda one, ask: one.answer.upper() + "." if ask.run == "real" else "nothing")["seed_type"]
    assert found == {"real": 1.0, "blind": 0.0, "real_minus_blind": 1.0, "n": 80}


def test_mosaics_show_each_picture_at_its_place(probes):
    for cells in LAYOUTS:
        ask = next(ask for ask in probes.asks if ask.benchmark == f"probe:cells_{cells}")
        assert Image.open(io.BytesIO(ask.message.images[0])).size == (128, 32 * cells)


def test_normal_drops_case_and_punctuation():
    assert normal(" Yes, red. ") == "yes red"
