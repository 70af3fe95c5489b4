"""Training throughput: the reference's batches, HF Trainer with padded batches, and this project's, in one run.

    python benchmarks/training.py                                              # CPU, tiny model, three rounds
    python benchmarks/training.py --device cuda --shape qwen2_7b --rows 256    # GPU: tokens a second, memory, MFU
    python benchmarks/training.py --rehearse --peak-tflops 0.1 --rows 8        # a GPU's settings on a CPU: does it run?

Every arm is a Trainer that takes whole optimizer steps over the same synthetic rows: seven of eight with a picture of
mixed size, lognormal text, views as random bytes. Arms take turns, each round in another order, from equal weights.

`reference`  batches of four, one modality at a time, sorted by *words* in megabatches of 8 GPUs x 4 x 4 rows and dealt
             to micro-batches of equal total length; padded; attention mask; a blank view for every row of text alone;
             head and loss evaluated everywhere (MMEvol, llava/train/{llava_trainer,train}.py, facts only).
`hf`         transformers' Trainer as it comes: random order, batches of four, padded, mask, the model's own loss.
`padded`     this project's Trainer, `batching=padded`; `packed`: `batching=packed`.

Counted are real tokens (padding and blanks excluded) a second: of CPU time on a CPU, of wall time on a GPU.
"""

import argparse
import copy
import gc
import json
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback

sys.path.insert(0, str(Path(__file__).parent))
from training_shapes import SHAPES, random_model, random_rows

from mmevol_train.collate import Collator
from mmevol_train.config import FinetuneConfig, PretrainConfig
from mmevol_train.engine import arguments
from mmevol_train.flops import peak_flops, step_flops
from mmevol_train.groups import freeze
from mmevol_train.images import Normalizer
from mmevol_train.monitor import Meter
from mmevol_train.packing import PackedCollator, use_packing
from mmevol_train.sampler import plan
from mmevol_train.trainer import PartsTrainer

BATCH, MEGABATCH = 4, 4 * 8 * 4  # rows: a micro-batch; what the scripts' 8 GPUs with 4 micro-batches sort together
MEAN, STD = [0.481, 0.458, 0.408], [0.269, 0.261, 0.276]
ARMS = ("reference", "hf", "padded", "packed")


class Clock(TrainerCallback):
    """Time and real tokens after the first `warm` steps."""

    def __init__(self, tokens, cuda, warm):
        self.tokens, self.cuda, self.warm, self.begun, self.seconds = tokens, cuda, warm, 0.0, 0.0

    def now(self):
        if self.cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.warm:
            self.begun = self.now()

    def on_train_end(self, args, state, control, **kwargs):
        self.seconds = self.now() - self.begun

    @property
    def counted(self):
        return sum(self.tokens[self.warm :])


class Fixed(Trainer):
    """HF Trainer on a fixed list of batches."""

    def __init__(self, *, batches, **kwargs):
        super().__init__(**kwargs)
        self.batches = batches

    def get_train_dataloader(self):
        loader = DataLoader(self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)


class Reference(Fixed):
    """The reference's loss: logits everywhere, in float32, and the blank views it encodes and does not use."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels, blanks = inputs.pop("labels"), inputs.pop("blanks")
        logits = model(**inputs, use_cache=False).logits.float()
        flat = logits[:, :-1].contiguous().flatten(0, 1)
        loss = functional.cross_entropy(flat, labels[:, 1:].contiguous().flatten(), ignore_index=-100)
        if len(blanks):
            inner = self.accelerator.unwrap_model(model).model
            layer = inner.config.vision_feature_layer
            seen = inner.vision_tower(blanks, output_hidden_states=True).hidden_states[layer][:, 1:]
            loss = loss + 0 * inner.multi_modal_projector(seen).sum()
        return loss


def hf_collator(pad, normalizer, shape, blanks):
    """What LlavaNextProcessor gives for a batch: float views padded to the most views, mask, labels."""

    def collate(rows):
        batch = Collator(pad)(rows)
        longest = batch["input_ids"].shape[1]
        labels = np.full((len(rows), longest), -100, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for number, row in enumerate(rows):
            labels[number, : len(row["ids"])], mask[number, : len(row["ids"])] = row["labels"], 1
        found = {"input_ids": batch["input_ids"], "labels": torch.from_numpy(labels)}
        found["attention_mask"] = torch.from_numpy(mask)
        if "pixel_values" in batch:
            found |= {"pixel_values": normalizer(batch["pixel_values"]), "image_sizes": batch["image_sizes"]}
        if blanks:
            text_rows = sum(not row["views"] for row in rows)
            found["blanks"] = torch.zeros(text_rows, 3, shape.tile, shape.tile)
        return found

    return collate


def reference_batches(rows):
    """Micro-batches in the reference's order; the rest that fills no megabatch of its modality is mixed."""
    draw = random.Random(0)
    kinds = [[place for place, row in enumerate(rows) if bool(row["views"]) == kind] for kind in (True, False)]
    groups, rest = [], []
    for places in kinds:
        draw.shuffle(places)
        whole = len(places) - len(places) % MEGABATCH
        groups += [places[start : start + MEGABATCH] for start in range(0, whole, MEGABATCH)]
        rest += places[whole:]
    draw.shuffle(groups)
    groups += [rest[start : start + MEGABATCH] for start in range(0, len(rest), MEGABATCH)]
    return [batch for group in groups for batch in dealt(group, [rows[place]["words"] for place in group])]


def dealt(group, words):
    """The longest first, each to the micro-batch that is shortest so far and has room."""
    chunks = [[] for _ in range(-(-len(group) // BATCH))]
    totals = [0] * len(chunks)
    for place in sorted(range(len(group)), key=lambda place: -words[place]):
        chunk = totals.index(min(totals))
        chunks[chunk].append(group[place])
        totals[chunk] = totals[chunk] + words[place] if len(chunks[chunk]) < BATCH else float("inf")
    return chunks


def batches_of(arm, rows, lengths, config):
    if arm == "reference":
        return reference_batches(rows)
    if arm == "hf":
        order = np.random.default_rng(0).permutation(len(rows)).tolist()
        return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return plan(lengths, BATCH, epochs=1, seed=0, pack_length=config.pack_length if arm == "packed" else None).batches


def trainer_of(arm, model, rows, batches, config, shape, work, clock):
    normalizer = Normalizer(MEAN, STD)
    args = arguments(config, work, len(batches))
    args.logging_steps = 10**6
    common = {"model": model, "args": args, "train_dataset": rows, "callbacks": [clock]}
    groups = freeze(model, config)
    if arm in ("reference", "hf"):
        kind = Reference if arm == "reference" else Fixed
        collator = hf_collator(0, normalizer, shape, arm == "reference")
        return kind(batches=batches, data_collator=collator, **common)
    if arm == "packed":
        use_packing(model)
    order = replace(plan(np.array([1]), 1, epochs=1, seed=0), batches=batches)
    collator = PackedCollator() if arm == "packed" else Collator(0)
    return PartsTrainer(
        config=config,
        groups=groups,
        plan=order,
        normalizer=normalizer,
        tracker=None,
        meter=Meter(config, model.config),
        data_collator=collator,
        **common,
    )


def row_flops(row, shape, config):
    """Arithmetic that a row needs, the same for every arm: the head on supervised tokens (mmevol_train.flops)."""
    learned = int((row["labels"] != -100).sum())
    return step_flops(shape, [len(row["ids"])], sum(map(len, row["views"])), config, learned)


def measure(arm, base, rows, config, shape, options):
    """One arm once: tokens a second, padding, memory, MFU."""
    cuda = options.device == "cuda"
    lengths = np.array([len(row["ids"]) for row in rows])
    batches = batches_of(arm, rows, lengths, config)
    clock = Clock([int(lengths[batch].sum()) for batch in batches], cuda, options.warm)
    model = base if cuda else copy.deepcopy(base)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        trainer_of(arm, model, rows, batches, config, shape, Path(folder), clock).train()
    slots = sum(config.pack_length if arm == "packed" else max(lengths[b]) * len(b) for b in batches)
    found = {"tokens_per_s": clock.counted / clock.seconds, "padding": 1 - int(lengths.sum()) / int(slots)}
    if cuda or options.rehearse:
        counted = [rows[row] for batch in batches[options.warm :] for row in batch]
        peak = options.peak_tflops * 1e12 if options.peak_tflops else peak_flops(torch.cuda.get_device_name())
        found["tflops"] = sum(row_flops(row, model.config, config) for row in counted) / clock.seconds / 1e12
        found["mfu"] = found["tflops"] * 1e12 / peak if peak else None
    if cuda:
        found["gib"] = torch.cuda.max_memory_allocated() / 2**30
    del model
    gc.collect()
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--shape", choices=list(SHAPES), default="tiny")
    parser.add_argument("--stage", choices=["finetune", "pretrain"], default="finetune")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", type=int, default=1, help="steps before the clock starts")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU in bfloat16; default: by its name")
    parser.add_argument("--rehearse", action="store_true", help="a GPU's settings on a CPU; needs --peak-tflops")
    options = parser.parse_args()
    if options.rehearse and not options.peak_tflops:
        parser.error("--rehearse needs --peak-tflops")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here: --device cpu --shape tiny tries the same script")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    shape = SHAPES[options.shape]
    as_gpu = options.device == "cuda" or options.rehearse
    kind = FinetuneConfig if options.stage == "finetune" else PretrainConfig
    config = kind(
        backbone=shape.backbone(), batch_size=BATCH, pack_length=shape.pack_length, max_length=shape.pack_length,
        dtype="bfloat16" if as_gpu else "float32", gradient_checkpointing=as_gpu, batching="padded",
        save_every_s=None, warmup_ratio=0, lr_language_model=1e-5,
    )  # fmt: skip
    rows = random_rows(shape, options.rows)
    model = random_model(shape, options.device)
    tokens = [len(row["ids"]) for row in rows]
    parameters = sum(p.numel() for p in model.parameters())
    print(json.dumps({"shape": options.shape, "rows": len(rows), "tokens_per_row": float(np.mean(tokens)),
                      "parameters": parameters, "torch": torch.__version__}))  # fmt: skip
    for number in range(options.rounds):
        arms = [*options.arms[number % len(options.arms) :], *options.arms[: number % len(options.arms)]]
        found = {
            arm: measure(arm, model, rows, config.model_copy(update={"batching": "packed"} if arm == "packed" else {}),
                         shape, options)
            for arm in arms
        }  # fmt: skip
        for base in ("reference", "hf"):
            for arm in options.arms if base in found else ():
                found[arm][f"x_{base}"] = found[arm]["tokens_per_s"] / found[base]["tokens_per_s"]
        for arm in options.arms:
            values = {key: value if value is None else round(value, 3) for key, value in found[arm].items()}
            print(json.dumps({"round": number, "arm": arm, **values}), flush=True)


if __name__ == "__main__":
    main()
