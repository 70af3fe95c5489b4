"""When memory runs out, batches become smaller and no answer is lost; the allocator really refuses."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch
from support import tiny_llava
from support.prompts import answers, picture, prompts

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import Message
from mmevol_eval.models import Prompt
from mmevol_eval.models.local import LocalModel


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_llava.save(tmp_path_factory.mktemp("qwen2"))


@pytest.fixture(autouse=True)
def _one_thread():
    """A model on two threads sets torch's number for the whole process."""
    yield
    torch.set_num_threads(1)


class Tight(torch.nn.Module):
    """Part of a model that the allocator has no room for above a number of rows: it really asks for the room."""

    def __init__(self, inner, rows):
        super().__init__()
        self.inner, self.rows, self.seen = inner, rows, []

    def forward(self, embedded, **rest):
        self.seen.append(len(embedded))
        torch.empty(1 << 50 if len(embedded) > self.rows else 1, dtype=torch.uint8)
        return self.inner(embedded, **rest)


@pytest.mark.parametrize(
    ("settings", "rows"),
    [({}, 2), ({"threads": 2}, 2), ({"beams": 3}, 6), ({"dtype": torch.bfloat16}, 2)],
    ids=["greedy", "two batches", "beams", "bfloat16"],
)
def test_running_out_of_memory_halves_the_batch_and_loses_nothing(checkpoint, settings, rows):
    free = LocalModel(checkpoint, batch_size=2, max_new_tokens=3, **settings)
    model = LocalModel(checkpoint, batch_size=4, max_new_tokens=3, **settings)
    tight = model._model.lm_head = Tight(model._model.lm_head, rows)
    assert answers(model, prompts()) == answers(free, prompts())
    assert max(tight.seen) > rows  # it happened
    assert model._batch_size <= 2


def test_memory_may_run_out_over_the_pictures(checkpoint):
    model = LocalModel(checkpoint, batch_size=4, max_new_tokens=3)
    tower = model._model.model.vision_tower
    seen = []

    def ask_for_room(_, given, named):
        seen.append(len(given[0] if given else named["pixel_values"]))
        torch.empty(1 << 50 if seen[-1] > 4 else 1, dtype=torch.uint8)

    tower.register_forward_pre_hook(ask_for_room, with_kwargs=True)
    colors = ("red", "green", "blue", "black", "white", "yellow")
    asked = [Prompt(color, Message((picture(color), "What color?"))) for color in colors]
    assert answers(model, asked) == answers(LocalModel(checkpoint, max_new_tokens=3), asked)
    assert max(seen) == 8 and model._batch_size == 2  # two views of each picture


LIMITED = """
import resource, sys
from pathlib import Path
import torch
from mmevol_eval.benchmark import Message
from mmevol_eval.models import Prompt
from mmevol_eval.benchmark import Message
from mmevol_eval.models import Prompt
from mmevol_eval.models.local import LocalModel
model = LocalModel(Path(sys.argv[1]), batch_size=64, max_new_tokens=2)
asked = [Prompt(str(number), Message(("word " * 200 + str(number),))) for number in range(64)]
list(model.answer(asked[:1]))  # whatever is loaded late is loaded now
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (int(sys.argv[2]) << 20),) * 2)
print(len(list(model.answer(asked))), model._batch_size)
"""


@pytest.mark.slow  # a process of its own
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space is limited by Linux alone")
def test_a_process_that_may_have_little_memory_answers_in_smaller_batches(checkpoint):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(checkpoint), "64"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answered, size = map(int, done.stdout.split())
    assert answered == 64 and size < 64


class Crowded(torch.nn.Module):
    """Part of a model with room for one batch at a time."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.inside, self.refused = inner, 0, 0

    def forward(self, embedded, **rest):
        self.inside += 1
        try:
            time.sleep(0.02)
            if self.inside > 1:
                self.refused += 1
                torch.empty(1 << 50, dtype=torch.uint8)
            return self.inner(embedded, **rest)
        finally:
            self.inside -= 1


def test_a_prompt_that_has_no_room_beside_another_is_asked_alone(checkpoint):
    model = LocalModel(checkpoint, batch_size=1, max_new_tokens=3, threads=2)
    crowded = model._model.lm_head = Crowded(model._model.lm_head)
    assert answers(model, prompts()) == answers(LocalModel(checkpoint, max_new_tokens=3), prompts())
    assert crowded.refused  # it happened


def test_kept_pictures_make_room_for_a_prompt(checkpoint):
    model = LocalModel(checkpoint, batch_size=1, max_new_tokens=1)
    colors = ("red", "green", "blue")
    asked = [Prompt(color, Message((picture(color), "What color?"))) for color in colors]
    seen = []

    def ask_for_room(*_):
        seen.append(len(model._pictures))
        torch.empty(1 << 50 if seen[-1] > 1 else 1, dtype=torch.uint8)

    model._model.lm_head.register_forward_pre_hook(ask_for_room)
    assert answers(model, asked) == answers(LocalModel(checkpoint, max_new_tokens=1), asked)
    assert max(seen) == 2


def test_a_prompt_that_fits_into_no_memory_is_named(checkpoint):
    model = LocalModel(checkpoint, batch_size=4)
    model._model.lm_head = Tight(model._model.lm_head, 0)
    with pytest.raises(UserError, match=r"not enough memory for one prompt of \d+ tokens"):
        answers(model, prompts())
