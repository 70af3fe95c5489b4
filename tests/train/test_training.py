"""Pretraining and fine-tuning for real, on random tiny parts: accounting, exact resume, matched tokens, round trip."""

import json
import logging
import multiprocessing
import os
import shutil
import signal
import time

import pytest
import torch
from support.tiny_models import backbone, world

from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl
from mmevol_train import finetune, pretrain
from mmevol_train.checkpoint import fingerprint, is_complete, load
from mmevol_train.config import FinetuneConfig, PretrainConfig
from mmevol_train.trainer import PartsTrainer

OFF = {"wandb": "off"}
COMMON = {
    "batch_size": 4,
    "dtype": "float32",
    "tracking": OFF,
    "save_every_s": None,
    "image_cache_mb": 16,
    "verify": False,
}


@pytest.fixture(scope="module", params=["qwen2", "llama3"])
def base(request, tmp_path_factory):
    """(folder, backbone, pretrained checkpoint, captions, images) of one family."""
    root = tmp_path_factory.mktemp(request.param)
    parts = backbone(root, request.param)
    data, images = world(root)
    out = root / "pretrain"
    out.mkdir()
    result = pretrain.run(PretrainConfig(backbone=parts, **COMMON), {"captions": data, "images": images}, out)
    return root, parts, result, data, images


def tune(parts, **changes):
    return FinetuneConfig(backbone=parts, **{**COMMON, "lr_language_model": 1e-3, "epochs": 3, **changes})


def inputs(base, **more):
    _, _, result, data, images = base
    return {"checkpoint": result.files["checkpoint"], "conversations": data, "images": images, **more}


def folder(tmp_path, name):
    (tmp_path / name).mkdir()
    return tmp_path / name


def losses(out):
    return [
        (row["step"], row["loss"], row["grad_norm"], row["lr/language_model"])
        for row in read_jsonl(out / "metrics.jsonl")
    ]


def test_pretraining_changes_the_projector_and_newline_and_nothing_else(base):
    _, parts, result, _, _ = base
    from mmevol_train.backbone import build

    before = dict(build(parts, seed=0)[0].named_parameters())
    after = dict(load(result.files["checkpoint"])[0].named_parameters())
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed == {name for name in after if "multi_modal_projector" in name or "image_newline" in name}
    assert [row["part"] for row in result.metrics["trainable"] if row["parameters"]] == ["projector"]


def test_rows_tokens_and_steps_are_accounted_for(base, tmp_path):
    out = folder(tmp_path, "out")
    result = finetune.run(tune(base[1], epochs=2), inputs(base), out)
    lines = list(read_jsonl(result.files["losses"]))
    assert result.metrics["rows"] == {"in": 24, "kept": 24, "eliminated": {}, "failed": {}}
    assert result.metrics["train_samples"] == 48
    assert result.metrics["steps"] == len(lines) == 12
    assert result.metrics["train_tokens"] == sum(line["tokens"] for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_each_part_learns_at_its_own_rate(base, tmp_path):
    out = folder(tmp_path, "out")
    finetune.run(tune(base[1], lr_vision=1e-5, lr_projector=3e-4, schedule="linear", warmup_ratio=0), inputs(base), out)
    first, second = list(read_jsonl(out / "metrics.jsonl"))[:2]
    assert (first["lr/vision"], first["lr/projector"], first["lr/language_model"]) == pytest.approx((1e-5, 3e-4, 1e-3))
    assert second["lr/vision"] == pytest.approx(1e-5 * 17 / 18)  # 18 steps, linear to zero


def test_the_loss_is_that_of_transformers_on_the_same_batch(base, tmp_path):
    from mmevol_train.collate import Collator
    from mmevol_train.dataset import Conversations, read_corpus
    from mmevol_train.images import Normalizer
    from mmevol_train.training import make_plan, reading_of

    config = tune(base[1], max_steps=1)
    model, processor = load(base[2].files["checkpoint"])
    reading = reading_of(config, "finetune", processor)
    corpus = read_corpus(base[3], base[4], reading, 0)
    rows = [Conversations(corpus, base[4], reading)[index] for index in make_plan(config, corpus, None).batches[0]]
    total, count = 0.0, 0
    pixels = Normalizer(processor.image_processor.image_mean, processor.image_processor.image_std)
    for row in rows:  # one by one and unpadded, with transformers' own loss
        batch = Collator(0)([row])
        found = model(
            input_ids=batch["input_ids"], labels=torch.tensor(row["labels"])[None], image_sizes=batch["image_sizes"],
            pixel_values=pixels(batch["pixel_values"]), attention_mask=torch.ones_like(batch["input_ids"]),
        )  # fmt: skip
        learned = int((row["labels"] != -100).sum())
        total, count = total + float(found.loss) * learned, count + learned
    finetune.run(config, inputs(base), folder(tmp_path, "out"))
    assert losses(tmp_path / "out")[0][1] == pytest.approx(total / count, abs=1e-5)


LORA = {"rank": 4, "alpha": 8, "dropout": 0.1}
KINDS = [
    {},
    pytest.param({"lora": LORA}, marks=pytest.mark.slow),
    pytest.param({"batching": "packed", "pack_length": 400}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("changes", KINDS, ids=["full", "lora", "packed"])
def test_killed_at_any_step_it_ends_with_the_same_losses_and_weights(base, tmp_path, changes):
    config = tune(base[1], epochs=8, save_every_steps=5, **changes)
    undisturbed, killed = folder(tmp_path, "undisturbed"), folder(tmp_path, "killed")
    expected = finetune.run(config, inputs(base), undisturbed)
    process = multiprocessing.get_context("spawn").Process(target=finetune.run, args=(config, inputs(base), killed))
    process.start()
    deadline = time.monotonic() + 120
    while len(_lines(killed)) < 13 and time.monotonic() < deadline and process.is_alive():
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended before it could be killed"
    assert not (killed / "checkpoint").exists()
    found = finetune.run(config, inputs(base), killed)
    assert losses(killed) == losses(undisturbed)
    assert found.metrics["weights"] == expected.metrics["weights"]
    assert not (killed / "training").exists()


def _lines(out):
    path = out / "metrics.jsonl"
    return path.read_bytes().splitlines() if path.is_file() else []


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
@pytest.mark.parametrize("changes", [{"batching": "packed", "pack_length": 800}, {"lora": LORA}, {"accumulate": 2}])
def test_packed_adapted_and_accumulated_runs_resume_exactly(base, tmp_path, monkeypatch, changes):
    config = tune(base[1], epochs=6, save_every_steps=4, **changes)
    undisturbed, broken = folder(tmp_path, "undisturbed"), folder(tmp_path, "broken")
    expected = finetune.run(config, inputs(base), undisturbed)
    logged = PartsTrainer.log

    def interrupted(self, logs, start_time=None):
        logged(self, logs, start_time)
        if self.state.global_step == 10:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PartsTrainer, "log", interrupted)
        finetune.run(config, inputs(base), broken)
    found = finetune.run(config, inputs(base), broken)
    assert losses(broken) == losses(undisturbed)
    assert len(losses(broken)) == found.metrics["steps"] > 10
    assert found.metrics["weights"] == expected.metrics["weights"]


def test_a_half_written_checkpoint_is_never_resumed_from(base, tmp_path):
    from mmevol_train.checkpoint import latest, mark_complete

    for step, whole in ((5, True), (10, False)):
        path = tmp_path / "training" / f"checkpoint-{step}"
        path.mkdir(parents=True)
        (path / "model.safetensors").write_bytes(b"x" * 10)
        if whole:
            mark_complete(path, step)
    assert latest(tmp_path / "training") == tmp_path / "training" / "checkpoint-5"
    assert not (tmp_path / "training" / "checkpoint-10").exists()
    (tmp_path / "training" / "checkpoint-5" / "model.safetensors").write_bytes(b"x")
    assert not is_complete(tmp_path / "training" / "checkpoint-5")


@pytest.mark.parametrize("base", ["llama3"], indirect=True)
def test_sigterm_writes_a_checkpoint_and_the_same_call_goes_on(base, tmp_path):
    config = tune(base[1], epochs=8)
    out, undisturbed = folder(tmp_path, "out"), folder(tmp_path, "undisturbed")
    expected = finetune.run(config, inputs(base), undisturbed)
    process = multiprocessing.get_context("spawn").Process(target=finetune.run, args=(config, inputs(base), out))
    process.start()
    while len(_lines(out)) < 5 and process.is_alive():
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 1  # a UserError that the command line turns into one line
    steps = len(_lines(out))
    assert is_complete(out / "training" / f"checkpoint-{steps}")
    assert finetune.run(config, inputs(base), out).metrics["weights"] == expected.metrics["weights"]


def test_rows_are_repeated_until_the_other_arms_tokens_are_reached(base, tmp_path):
    other = tmp_path / "other.json"
    rows = json.loads(base[3].read_text())
    other.write_text(json.dumps(rows * 2 + rows[:7]))
    wanted = finetune.run(tune(base[1], epochs=1), inputs(base, conversations=other), folder(tmp_path, "other"))
    found = finetune.run(tune(base[1], epochs=1), inputs(base, match=other), folder(tmp_path, "own"))
    batch = max(line["tokens"] for line in read_jsonl(found.files["losses"]))
    assert abs(found.metrics["train_tokens"] - wanted.metrics["train_tokens"]) <= batch
    assert found.metrics["rows"]["in"] == 24


def test_bad_rows_are_counted_and_named_and_too_many_stop_the_stage(base, tmp_path):
    rows = json.loads(base[3].read_text())
    rows[0]["image"] = "absent.png"
    rows[1]["image"] = "../outside.png"
    rows[2]["conversations"][0]["value"] = "no placeholder"
    rows[3]["conversations"][1]["value"] = "ends <|im_end|> <|eot_id|>"
    rows[4] = {"id": "no conversation"}
    data = tmp_path / "rows.json"
    data.write_text(json.dumps(rows))
    with pytest.raises(UserError, match=r"5 of 24 rows refused.*rows 0"):
        finetune.run(tune(base[1]), inputs(base, conversations=data), folder(tmp_path, "strict"))
    found = finetune.run(tune(base[1], max_bad_share=0.5), inputs(base, conversations=data), folder(tmp_path, "lax"))
    rows = found.metrics["rows"]
    assert rows["in"] == rows["kept"] + sum(rows["eliminated"].values())
    assert sorted(rows["eliminated"].values()) == [1, 1, 1, 1, 1]


def test_text_rows_without_images_train_beside_the_others(base, tmp_path):
    root = tmp_path / "world"
    data, images = world(root, rows=6, text_rows=6)
    found = finetune.run(tune(base[1]), inputs(base, conversations=data, images=images), folder(tmp_path, "out"))
    assert found.metrics["rows"]["kept"] == 12


def test_a_fresh_process_loads_the_result_and_agrees(base, tmp_path):
    found = finetune.run(tune(base[1], max_steps=2, verify=True), inputs(base), folder(tmp_path, "out"))
    assert found.metrics["verified"]["max_logit_difference"] <= 1e-4
    assert fingerprint(found.files["checkpoint"]) == found.metrics["weights"]


def test_a_checkpoint_of_another_family_is_refused(base, tmp_path):
    other = "llama3" if base[1].chat_template == "qwen2" else "qwen2"
    config = tune(base[1].model_copy(update={"chat_template": other}))
    with pytest.raises(UserError, match="another chat template"):
        finetune.run(config, inputs(base), folder(tmp_path, "out"))


def test_a_diverged_loss_stops_the_run_and_names_the_rows(base, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(base[2].files["checkpoint"], broken)
    model, _ = load(broken)
    with torch.no_grad():
        model.model.image_newline.fill_(float("nan"))
    model.save_pretrained(broken)
    with pytest.raises(UserError, match="loss nan at step 1; rows of the step: "):
        finetune.run(tune(base[1]), inputs(base, checkpoint=broken), folder(tmp_path, "out"))


def test_what_learns_is_logged_as_a_table(base, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="mmevol_train"):
        finetune.run(tune(base[1], train_vision=False, max_steps=1), inputs(base), folder(tmp_path, "out"))
    assert "vision: 0 parameters learn" in caplog.text
    assert "projector: 2144 parameters learn at 2e-05" in caplog.text


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_gradient_checkpointing_changes_no_loss_and_no_gradient(base, tmp_path):
    for name, on in (("plain", False), ("checkpointed", True)):
        finetune.run(tune(base[1], max_steps=3, gradient_checkpointing=on), inputs(base), folder(tmp_path, name))
    for mine, one in zip(losses(tmp_path / "checkpointed"), losses(tmp_path / "plain"), strict=True):
        assert mine == pytest.approx(one, rel=1e-6)


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_adapters_are_merged_into_the_weights_the_run_began_with(base, tmp_path):
    changes = {"lora": LORA, "max_steps": 3, "train_vision": False, "train_projector": False, "verify": True}
    found = finetune.run(tune(base[1], **changes), inputs(base), folder(tmp_path, "out"))
    before, after = (
        load(folder)[0].state_dict() for folder in (base[2].files["checkpoint"], found.files["checkpoint"])
    )
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed
    assert all("language_model.layers" in name and "_proj.weight" in name for name in changed)
    assert all(torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) <= LORA["rank"] for name in changed)
    assert found.metrics["verified"]["max_logit_difference"] <= 1e-4  # of the model with its adapters apart


def test_a_checkpoint_of_another_number_of_processes_is_refused(tmp_path):
    from mmevol_train.checkpoint import latest, mark_complete

    (tmp_path / "checkpoint-4").mkdir()
    mark_complete(tmp_path / "checkpoint-4", 4, ranks=2)
    assert latest(tmp_path, ranks=2) == tmp_path / "checkpoint-4"
    with pytest.raises(UserError, match="written by 2 processes and here are 1"):
        latest(tmp_path, ranks=1)


def test_a_checkpoint_whose_shard_is_cut_is_not_whole(tmp_path):
    from mmevol_train.checkpoint import mark_complete

    shard = tmp_path / "checkpoint-4" / "global_step4" / "rank_1.pt"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"12345")
    mark_complete(tmp_path / "checkpoint-4", 4, ranks=2)
    assert is_complete(tmp_path / "checkpoint-4")
    shard.write_bytes(b"123")
    assert not is_complete(tmp_path / "checkpoint-4")
