"""Both backbones through every engine that runs on a CPU: two real processes, rows with and without pictures."""

import json
from itertools import product

import pytest
import torch
from safetensors import safe_open
from support import ranks
from support.engine_runs import SEVERAL, STEPS, given, losses, pretraining, tune
from support.tiny_models import backbone

from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl
from mmevol_train.backbone import build
from mmevol_train.checkpoint import load, probe, save

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(300)]

SHARDED = [
    "deepspeed_zero3",
    "deepspeed_zero3_offload",
    "fsdp2",
]  # ZeRO-2 shards gradients and the optimizer's state, not weights


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """name -> (backbone, inputs)."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = given(tmp_path_factory.mktemp(name), name)
        return made[name]

    return make


@pytest.fixture(scope="module")
def undisturbed(family, tmp_path_factory):
    """family, engine, kind -> (folder, result) of a run that nobody disturbs; each is made once."""
    made = {}

    def run(name, engine, kind="full"):
        if (name, engine, kind) not in made:
            parts, inputs = family(name)
            out = tmp_path_factory.mktemp(f"{name}-{engine}-{kind}")
            config = pretraining(parts, engine) if kind == "pretrain" else tune(parts, engine, kind)
            made[name, engine, kind] = out, ranks.run(config, inputs, out)
        return made[name, engine, kind]

    return run


def assert_like_one_process(undisturbed, name, engine, kind):
    """Losses, gradient norms and export of two processes are those of one with twice the micro-batches."""
    (out, found), (alone, expected) = undisturbed(name, engine, kind), undisturbed(name, "single", kind)
    assert len(losses(out)) == STEPS
    for mine, one in zip(losses(out), losses(alone), strict=True):
        assert mine == pytest.approx(one, rel=1e-5)  # sums in another order
    assert found.metrics["trainable"] == expected.metrics["trainable"]
    assert found.metrics["rows_a_step"] == expected.metrics["rows_a_step"]
    assert kind == "packed" or found.metrics["rows_a_step"] == 4
    with safe_open(found.files["checkpoint"] / "model.safetensors", "pt") as file:
        tower = [key for key in file.keys() if key.startswith("vision_tower.")]  # noqa: SIM118  # no mapping
    assert tower and all(key.startswith("vision_tower.vision_model.") for key in tower)  # the published names
    if kind != "packed":  # a plain folder, which a fresh process found equal to the sharded model in memory
        assert found.metrics["verified"]["max_logit_difference"] <= 1e-4
    mine, one = (probe(*load(result.files["checkpoint"])) for result in (found, expected))
    assert torch.allclose(mine, one, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "engine"), [*product(["qwen2", "llama3"], SEVERAL), ("qwen2", "deepspeed_zero3_offload")]
)
def test_two_processes_train_like_one_with_twice_the_micro_batches(undisturbed, name, engine):
    assert_like_one_process(undisturbed, name, engine, "full")
    out, found = undisturbed(name, engine)
    assert found.metrics["held_share"] == pytest.approx(0.5, abs=0.1) if engine in SHARDED else 1.0
    sources = {key for row in read_jsonl(out / "metrics.jsonl") for key in row if key.startswith("supervised/")}
    assert sources == {"supervised/images", "supervised/text"}


@pytest.mark.parametrize("engine", SEVERAL[1:])
@pytest.mark.parametrize("kind", ["lora", "packed"])
def test_adapted_and_packed_runs_of_two_processes_are_those_of_one(undisturbed, engine, kind):
    assert_like_one_process(undisturbed, "qwen2", engine, kind)
    with safe_open(undisturbed("qwen2", engine, kind)[1].files["checkpoint"] / "model.safetensors", "pt") as file:
        assert not [key for key in file.keys() if "lora" in key]  # noqa: SIM118  # no mapping


@pytest.mark.parametrize("engine", SEVERAL)
def test_two_processes_take_the_held_out_loss_of_one_and_export_the_same_best_step(undisturbed, engine):
    (out, found), (alone, expected) = (
        undisturbed("qwen2", engine, "held_out"),
        undisturbed("qwen2", "single", "held_out"),
    )
    taken = [[row["held_out_loss"] for row in read_jsonl(run / "metrics.jsonl")] for run in (out, alone)]
    assert len(taken[0]) == STEPS
    assert taken[0] == pytest.approx(taken[1], rel=1e-4)
    assert found.metrics["exported_step"] == expected.metrics["exported_step"] < STEPS
    assert found.metrics["verified"]["max_logit_difference"] <= 1e-4
    mine, one = (probe(*load(result.files["checkpoint"])) for result in (found, expected))
    assert torch.allclose(mine, one, atol=2e-2)


KILLED = [
    *(("qwen2", engine, "full") for engine in SEVERAL[1:]),
    *(("qwen2", engine, "dropout") for engine in SEVERAL[1:]),
    *(("qwen2", engine, "packed") for engine in SEVERAL[1:]),
    ("llama3", "deepspeed_zero2", "pretrain"),
    ("llama3", "deepspeed_zero3", "pretrain"),
    ("qwen2", "deepspeed_zero3", "held_out"),
]


@pytest.mark.parametrize(("name", "engine", "kind"), KILLED, ids=["-".join(one) for one in KILLED])
def test_killed_by_force_two_processes_end_with_the_same_losses_and_weights(
    family, undisturbed, tmp_path, name, engine, kind
):
    parts, inputs = family(name)
    whole, expected = undisturbed(name, engine, kind)
    config = pretraining(parts, engine) if kind == "pretrain" else tune(parts, engine, kind)
    config = config.model_copy(update={"verify": False})  # its weights are to be those that a fresh process has loaded
    ranks.killed(config, inputs, tmp_path, STEPS - 2)
    assert list((tmp_path / "training").glob("checkpoint-*"))
    assert not (tmp_path / "checkpoint").exists()
    found = ranks.run(config, inputs, tmp_path)
    assert losses(tmp_path) == losses(whole)
    assert found.metrics["weights"] == expected.metrics["weights"]


@pytest.mark.parametrize("at_fault", [0, 9])
def test_a_stop_of_two_processes_names_the_rows_of_both_and_first_the_batch_at_fault(tmp_path, at_fault):
    """One row has a token whose weights are no number; whichever process reads it, it is named and nothing is kept."""
    parts = backbone(tmp_path, "qwen2")
    model, processor = build(parts)
    with torch.no_grad():
        model.get_input_embeddings().weight[processor.tokenizer("¤").input_ids[-1]] = float("nan")
    save(model, processor, tmp_path / "checkpoint")
    talks = [[{"from": "human", "value": f"what {row}"}, {"from": "gpt", "value": "yes"}] for row in range(16)]
    talks[at_fault][0]["value"] += "¤"
    rows = [{"id": f"t{number}", "conversations": talk} for number, talk in enumerate(talks)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "images").mkdir(exist_ok=True)
    inputs = {"checkpoint": tmp_path / "checkpoint", "conversations": tmp_path / "rows.json"}
    config = tune(parts, "ddp", verify=False, max_steps=4, save_every_steps=1, on_divergence="stop")
    with pytest.raises(
        UserError, match=rf"no finite loss in rows [^;]*\b{at_fault} \(t{at_fault}\)[^;]*; rows"
    ) as said:
        ranks.run(config, {**inputs, "images": tmp_path / "images"}, tmp_path / "out")
    assert str(said.value).rpartition("rows of the step: ")[2].count("(t") == 4
