"""Training throughput on the CPU, three arms interleaved in one process.

    python benchmarks/training.py [--rows 192] [--rounds 2]

`reference` emulates the reference's batches: four rows, sorted by words and dealt so that long and short rows meet,
padded, the head evaluated everywhere. `padded` is what `batching=padded` does, `packed` what `batching=packed` does.
Real tokens (padding excluded) per second of CPU time, forward and backward, random tiny weights.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.tiny_models import backbone

from mmevol_train.backbone import build
from mmevol_train.collate import Collator
from mmevol_train.config import FinetuneConfig
from mmevol_train.dataset import Conversations, read_corpus
from mmevol_train.images import Normalizer
from mmevol_train.packing import PackedCollator, use_packing
from mmevol_train.sampler import plan
from mmevol_train.trainer import freeze, head_on
from mmevol_train.training import reading_of

SIZES = ((64, 64), (100, 40), (50, 120), (128, 128), (300, 200))


def world(root, rows):
    """Lognormal text lengths, seven of eight rows with a picture of mixed size."""
    draw = random.Random(0)
    (root / "images").mkdir()
    stored = []
    for number in range(rows):
        words = " ".join(
            draw.choices(["red", "blue", "circle", "square"], k=max(2, int(draw.lognormvariate(3.6, 0.9))))
        )
        turns = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": words}]
        row = {"conversations": turns}
        if number % 8:
            Image.new("RGB", draw.choice(SIZES), "red").save(root / "images" / f"{number}.png")
            turns[0]["value"] = "<image>\nWhat is it?"
            row["image"] = f"{number}.png"
        stored.append(row)
    (root / "rows.json").write_text(json.dumps(stored))


def reference_batches(corpus, stored):
    """Four rows a batch from groups sorted by words, dealt like the reference's sampler deals them to its batches."""
    words = np.array(
        [sum(len(turn["value"].split()) for turn in stored[row.number]["conversations"]) for row in corpus.rows]
    )
    order = np.random.default_rng(0).permutation(len(words))
    batches = []
    for start in range(0, len(order) - 15, 16):
        group = order[start : start + 16]
        group = group[np.argsort(-words[group], kind="stable")]
        batches += [group[place::4].tolist() for place in range(4)]
    return batches


def run(model, dataset, batches, collator, pixels, everywhere, attention):
    """(real tokens, seconds of CPU) of forward and backward over all batches."""
    model.model.language_model.set_attn_implementation(attention)
    tokens, start = 0, time.process_time()
    for rows in batches:
        batch = collator([dataset[row] for row in rows])
        tokens += batch.pop("tokens")
        batch.pop("rows")
        positions, targets = batch.pop("positions"), batch.pop("targets")
        if "pixel_values" in batch:
            batch["pixel_values"] = pixels(batch["pixel_values"])
        if everywhere:
            logits = model(**batch, use_cache=False).logits.flatten(0, 1)[positions]
        else:
            with head_on(model.lm_head, positions):
                logits = model(**batch, use_cache=False).logits
        functional.cross_entropy(logits, targets).backward()
        model.zero_grad()
    return tokens, time.process_time() - start


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=192)
    options.add_argument("--rounds", type=int, default=2)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        world(root, chosen.rows)
        parts = backbone(root, "qwen2")
        config = FinetuneConfig(backbone=parts, batch_size=4, max_length=1024)
        model, processor = build(parts)
        freeze(model, config)
        use_packing(model)
        reading = reading_of(config, "finetune", processor)
        corpus = read_corpus(root / "rows.json", root / "images", reading, 0.1)
        dataset = Conversations(corpus, root / "images", reading, 512)
        stored = json.loads((root / "rows.json").read_text())
        pixels = Normalizer(processor.image_processor.image_mean, processor.image_processor.image_std)
        padded = Collator(processor.tokenizer.pad_token_id)
        arms = {
            "reference": (reference_batches(corpus, stored), padded, True, "sdpa"),
            "padded": (plan(corpus.lengths, 4, epochs=1, seed=0).batches, padded, False, "sdpa"),
            "packed": (
                plan(corpus.lengths, 4, epochs=1, seed=0, pack_length=1024).batches,
                PackedCollator(),
                False,
                "segment_sdpa",
            ),
        }
        for _ in range(chosen.rounds):
            speeds = {}
            for name, (batches, collator, everywhere, attention) in arms.items():
                tokens, seconds = run(model, dataset, batches, collator, pixels, everywhere, attention)
                speeds[name] = tokens / seconds
            print(
                {
                    name: f"{speed:.0f} tokens/CPU-s, {speed / speeds['reference']:.2f}x"
                    for name, speed in speeds.items()
                }
            )


if __name__ == "__main__":
    main()
