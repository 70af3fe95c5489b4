"""Pretraining and fine-tuning for real, on random tiny parts: what learns, from which rows, and what is refused."""

import json
import logging
import re
import shutil
from dataclasses import replace

import pytest
import torch
from support.tiny_models import world
from support.training_runs import folder, inputs, losses, tune

from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl
from mmevol_train import checkpoint, finetune, packing, training
from mmevol_train.checkpoint import load, save


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


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_rows_that_the_last_step_does_not_reach_are_counted(base, tmp_path):
    stopped = tune(base[1], max_steps=3, epochs=1, stop_at_step=2)
    found = finetune.run(stopped, inputs(base), folder(tmp_path, "out")).metrics
    assert (found["rows"]["kept"], found["train_samples"], found["rows_not_reached"]) == (24, 8, 16)


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_rows_of_a_step_are_those_that_packed_rows_really_hold(base, tmp_path, caplog):
    packed = tune(base[1], epochs=1, batch_size=16, batching="packed", pack_length=400, max_length=400)
    found = finetune.run(packed, inputs(base), folder(tmp_path, "out")).metrics
    samples = [row["samples"] for row in read_jsonl(tmp_path / "out" / "metrics.jsonl")]
    assert sum(samples) == 24 and found["rows_a_step"] == round(24 / len(samples), 1)
    wanted = packed.model_copy(update={"global_batch": 16})
    assert finetune.run(wanted, inputs(base), folder(tmp_path, "wanted")).metrics["rows_a_step"] == found["rows_a_step"]
    assert re.search(r"rows a step on average, not global_batch=16; accumulate=\d would come nearest", caplog.text)


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_refused_rows_are_listed_when_they_are_too_many_and_the_list_goes_when_there_are_none(base, tmp_path):
    rows = json.loads(base[3].read_text())
    (tmp_path / "rows.json").write_text(json.dumps([*rows, {"id": "x", "conversations": []}]))
    out = folder(tmp_path, "out")
    with pytest.raises(UserError, match="1 of 25 rows refused"):
        finetune.run(tune(base[1], max_bad_share=0), inputs(base, conversations=tmp_path / "rows.json"), out)
    assert [row["row"] for row in read_jsonl(out / "refused.jsonl")] == [24]
    finetune.run(tune(base[1], max_steps=1, max_bad_share=0), inputs(base), out)
    assert not (out / "refused.jsonl").exists()


def test_a_mended_picture_is_trained_on_by_the_same_call(base, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(base[4], images)
    (images / "0.png").rename(tmp_path / "0.png")
    out, given = folder(tmp_path, "out"), inputs(base, images=images)
    with pytest.raises(UserError, match="1 x image not found"):
        finetune.run(tune(base[1], max_steps=1), given, out)
    (tmp_path / "0.png").rename(images / "0.png")
    assert finetune.run(tune(base[1], max_steps=1), given, out).metrics["rows"]["kept"] == 24


def test_text_rows_without_images_train_beside_the_others(base, tmp_path):
    root = tmp_path / "world"
    data, images = world(root, rows=6, text_rows=6)
    found = finetune.run(tune(base[1]), inputs(base, conversations=data, images=images), folder(tmp_path, "out"))
    assert found.metrics["rows"]["kept"] == 12


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


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_weights_of_a_step_that_is_no_number_are_not_kept_when_the_run_goes_on(base, tmp_path, caplog):
    """A row with a token whose weights are no number spoils its step and all that follow; those before are kept."""
    model, processor = load(base[2].files["checkpoint"])
    with torch.no_grad():
        model.get_input_embeddings().weight[processor.tokenizer("¤").input_ids[-1]] = float("nan")
    save(model, processor, tmp_path / "broken")
    talks = [[{"from": "human", "value": f"what {row}"}, {"from": "gpt", "value": "yes"}] for row in range(16)]
    talks[3][0]["value"] += "¤"
    data = tmp_path / "rows.json"
    data.write_text(json.dumps([{"id": str(number), "conversations": talk} for number, talk in enumerate(talks)]))
    config = tune(base[1], on_divergence="warn", save_every_steps=1, keep_checkpoints=99)
    out = folder(tmp_path, "out")
    refused = pytest.raises(UserError, match="last step, 12, is no number, so there are no weights to export")
    with caplog.at_level(logging.WARNING, logger="mmevol_train"), refused:
        finetune.run(config, inputs(base, checkpoint=tmp_path / "broken", conversations=data), out)
    losses_seen = [row["loss"] for row in read_jsonl(out / "metrics.jsonl")]
    sound = [step for step, loss in enumerate(losses_seen, 1) if loss is not None]
    assert sound and len(sound) < len(losses_seen) == 12  # 3 epochs of 16 rows, 4 a step
    assert [checkpoint.step_of(kept) for kept in checkpoint.kept(out / "training")] == sound
    assert f"no checkpoint of step {len(sound) + 1}: its loss or gradient is no number" in caplog.text


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
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_packing_is_checked_as_it_will_be_trained_and_a_leak_is_found_before_the_first_step(
    base, tmp_path, monkeypatch, dtype
):
    """On the prepared model, on its device, in its precision, and where the first packed row holds one conversation."""
    seen, order = [], training.make_plan

    def leaky(*inputs, cu_seq_lens_q=None, **options):
        seen.append(torch.is_autocast_enabled("cpu"))
        return packing.sdpa_attention_forward(*inputs, **options)

    def one_alone(*given):
        whole = order(*given)
        (first, *rest), *others = whole.batches
        return replace(whole, batches=[[first], rest, *others])

    monkeypatch.setattr(training, "make_plan", one_alone)
    config = tune(base[1], batching="packed", pack_length=800, max_steps=1, dtype=dtype)
    finetune.run(config, inputs(base), folder(tmp_path, "apart"))
    monkeypatch.setattr(packing, "segment_sdpa", leaky)
    monkeypatch.setattr("transformers.masking_utils.find_packed_sequence_indices", lambda places: places * 0)
    with pytest.raises(UserError, match="does not keep packed conversations apart"):
        finetune.run(config, inputs(base), folder(tmp_path, "leak"))
    assert not (tmp_path / "leak" / "metrics.jsonl").read_bytes()
    assert set(seen) == {dtype == "bfloat16"}
