"""Rows held out: never trained on, counted, their loss true, the best step exported, any kept step exportable."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.training_runs import folder, inputs, losses, tune
from typer.testing import CliRunner

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, read_jsonl
from mmevol_experiment.__main__ import app
from mmevol_train import finetune
from mmevol_train.checkpoint import best, fingerprint, kept, load, mark_complete, prune
from mmevol_train.collate import Collator
from mmevol_train.config import FinetuneConfig
from mmevol_train.dataset import Conversations, read_corpus
from mmevol_train.export import export_checkpoint
from mmevol_train.held_out import HeldOut, held_out, split
from mmevol_train.images import Normalizer
from mmevol_train.parts import BackboneConfig
from mmevol_train.trainer import PartsTrainer
from mmevol_train.training import make_plan, reading_of

PARTS = BackboneConfig(name="x", vision_tower="v", language_model="l", chat_template="qwen2", pinpoints=((64, 64),))
# a rate so high that the loss goes up and down: of ten steps the eighth is the best
UNSTEADY = {"lr_language_model": 1.0, "schedule": "constant", "warmup_ratio": 0, "on_divergence": "warn", "epochs": 2}


def config(**changes):
    return FinetuneConfig.model_validate({"backbone": PARTS, "batch_size": 3, **changes})


@given(st.integers(2, 200), st.integers(1, 199), st.integers(0, 3))
def test_rows_are_learned_from_or_held_out_never_both(total, count, seed):
    chosen = config(seed=seed, validation={"rows": count, "every": 1})
    if count >= total:
        with pytest.raises(UserError, match="leaves none to learn from"):
            split(total, chosen)
        return
    learned, aside = split(total, chosen)
    assert len(aside) == count
    assert sorted([*learned, *aside]) == list(range(total))


@given(st.integers(2, 60), st.integers(1, 5))
def test_ranks_take_every_batch_once_and_as_many_each(rows, ranks):
    aside = held_out(np.arange(1, rows + 2), config(validation={"rows": rows, "every": 1}))
    dealt = [list(aside.dealt(rank, ranks)) for rank in range(ranks)]
    assert len({len(one) for one in dealt}) == 1
    counted = [row for one in dealt for batch, counts in one if counts for row in batch]
    assert sorted(counted) == sorted(row for batch in aside.batches for row in batch)


def test_the_loss_is_taken_every_so_many_steps_and_after_the_last():
    assert [step for step in range(1, 12) if HeldOut([[0]], every=4).due(step, last=11)] == [4, 8, 11]


def test_a_run_without_it_is_described_as_before_there_was_such_a_key():
    assert not {"validation", "global_batch", "stop_at_step"} & config().model_dump(mode="json").keys()
    assert "validation" in config(validation={"rows": 1, "every": 1}).model_dump(mode="json")


@pytest.mark.parametrize("size", [{}, {"rows": 2, "share": 0.1}])
def test_either_rows_or_a_share_of_them_is_held_out(size):
    with pytest.raises(ValueError, match="either rows or share"):
        config(validation={"every": 2, **size})


def test_the_best_checkpoint_is_kept_beside_the_last_ones(tmp_path):
    for step, loss in ((2, 0.9), (4, 0.5), (6, 0.7), (7, None), (8, 0.5)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        mark_complete(tmp_path / f"checkpoint-{step}", step, held_out_loss=loss)
        prune(tmp_path, 2)
    assert [path.name for path in kept(tmp_path)] == ["checkpoint-4", "checkpoint-7", "checkpoint-8"]
    assert best(tmp_path) == (tmp_path / "checkpoint-4", 0.5)  # the earlier of two equals


@pytest.fixture(scope="module")
def unsteady(base, tmp_path_factory):
    """(configuration, folder, result) of a run whose best step is not its last."""
    chosen = tune(base[1], **UNSTEADY, validation={"rows": 5, "every": 2})
    out = tmp_path_factory.mktemp("unsteady")
    return chosen, out, finetune.run(chosen, inputs(base), out)


only_qwen2 = pytest.mark.parametrize("base", ["qwen2"], indirect=True, scope="module")


@only_qwen2
def test_the_best_step_is_exported_when_it_is_not_the_last(base, unsteady, tmp_path):
    chosen, out, found = unsteady
    taken = {row["step"]: row["held_out_loss"] for row in read_jsonl(out / "metrics.jsonl") if "held_out_loss" in row}
    best = min(taken, key=taken.get)
    assert list(taken) == [*range(2, found.metrics["steps"], 2), found.metrics["steps"]]
    assert best < found.metrics["steps"], "the run was meant to unlearn"
    assert found.metrics["best"] == {"step": best, "held_out_loss": taken[best]}
    assert found.metrics["exported_step"] == best
    # its weights are those of the same run stopped there
    last = chosen.validation.model_copy(update={"export": "last"})
    stopped = chosen.model_copy(update={"stop_at_step": best, "validation": last})
    until = finetune.run(stopped, inputs(base), folder(tmp_path, "stopped"))
    assert losses(tmp_path / "stopped") == losses(out)[:best]
    assert until.metrics["weights"] == found.metrics["weights"]
    assert until.metrics["train_samples"] < found.metrics["train_samples"]


@only_qwen2
def test_rows_held_out_are_counted_and_in_no_batch(base, unsteady):
    chosen, _, found = unsteady
    rows = found.metrics["rows"]
    assert rows == {"in": 24, "kept": 19, "eliminated": {"held out for validation": 5}, "failed": {}}
    corpus, *_ = read(base, chosen)
    _, aside = split(24, chosen)
    assert not {row for batch in make_plan(chosen, corpus, None).batches for row in batch} & set(aside.tolist())
    assert found.metrics["train_samples"] == 2 * 19


def read(base, chosen, checkpoint=None):
    """(corpus, rows, model, normalizer)."""
    model, processor = load(checkpoint or base[2].files["checkpoint"])
    reading = reading_of(chosen, "finetune", processor)
    corpus = read_corpus(base[3], base[4], reading, 0)
    pixels = Normalizer(processor.image_processor.image_mean, processor.image_processor.image_std)
    return corpus, Conversations(corpus, base[4], reading), model, pixels


@only_qwen2
def test_the_held_out_loss_is_that_of_transformers_on_the_exported_weights(base, unsteady):
    chosen, _, found = unsteady
    _, rows, model, pixels = read(base, chosen, found.files["checkpoint"])
    total, count = 0.0, 0
    for place in split(24, chosen)[1]:  # one by one and unpadded, with transformers' own loss
        row = rows[int(place)]
        batch = Collator(0)([row])
        with torch.no_grad():
            loss = model(
                input_ids=batch["input_ids"], labels=torch.tensor(row["labels"])[None],
                image_sizes=batch["image_sizes"], pixel_values=pixels(batch["pixel_values"]),
                attention_mask=torch.ones_like(batch["input_ids"]),
            ).loss  # fmt: skip
        learned = int((row["labels"] != -100).sum())
        total, count = total + float(loss) * learned, count + learned
    assert found.metrics["best"]["held_out_loss"] == pytest.approx(total / count, abs=1e-5)


@pytest.fixture
def interrupted(base, tmp_path, monkeypatch):
    """(configuration, folder) of a run that stopped at step 7 of 10; checkpoints 2, 4 and 6 were written."""
    chosen = tune(base[1], **UNSTEADY, keep_checkpoints=2, validation={"rows": 5, "every": 2})
    logged = PartsTrainer.log

    def interrupt(self, logs, start_time=None):
        logged(self, logs, start_time)
        if self.state.global_step == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PartsTrainer, "log", interrupt)
        finetune.run(chosen, inputs(base), folder(tmp_path, "broken"))
    return chosen, tmp_path / "broken"


@only_qwen2
def test_any_kept_checkpoint_of_an_interrupted_run_is_exported_and_the_run_goes_on(
    base, unsteady, interrupted, tmp_path
):
    chosen, run = interrupted
    marks = [read_json(path / "complete.json") for path in (run / "training").glob("checkpoint-*")]
    taken = {mark["step"]: mark["held_out_loss"] for mark in marks}
    assert {4, 6} <= taken.keys() <= {2, 4, 6}  # two are kept, and the best
    typed = CliRunner().invoke(app, ["export-checkpoint", str(run), "--to", str(tmp_path / "last")])
    assert f"step 6: {tmp_path / 'last'}\n" in typed.output
    assert export_checkpoint(run, tmp_path / "four", "4") == 4
    assert export_checkpoint(run, tmp_path / "best", "best") == min(taken, key=taken.get)
    assert fingerprint(tmp_path / "four") != fingerprint(tmp_path / "last")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "broken", "four", "last"]
    with pytest.raises(UserError, match=r"unknown checkpoint '5' in .*Valid: .*4, 6, best, last"):
        export_checkpoint(run, tmp_path / "five", "5")
    with pytest.raises(UserError, match="is there already"):
        export_checkpoint(run, tmp_path / "four", "4")
    # nothing was taken from the run: it ends as if nobody had looked
    found = finetune.run(chosen, inputs(base), run)
    assert losses(run) == losses(unsteady[1])
    assert found.metrics["weights"] == unsteady[2].metrics["weights"]

    with pytest.raises(UserError, match="no training stage in progress"):
        export_checkpoint(run, tmp_path / "late")
