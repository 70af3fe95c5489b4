"""Start and memory of training data at the size of the paper's.

    python benchmarks/dataset.py [--rows 163000] [--visits 20000] [--workers 2]

Rows of about five turns and 400 words, words as frequent as in a language (Zipf, 200,000 of them, and numbers), seven
of eight with a picture of their own. Each measurement is a process of its own:

`words`  4,096 rows by `Pieces` and by the tokenizer that reads every text whole, in turns: CPU milliseconds a row.
`start`  from the JSON file to the first batch: Arrow file written with `--workers` processes, run planned, batch made.
`again`  the same when the Arrow file is there.
`epoch`  rows in random order: ids, labels, views of a picture.

CPU seconds count the processes that shared the work. Memory: `anonymous` is what a process holds for itself, `peak`
everything that was ever resident, torch and the mapped pages of the file included, which are shared.
"""

import argparse
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import orjson
from PIL import Image
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from mmevol_core.json_stream import json_rows
from mmevol_train.collate import Collator
from mmevol_train.conversation import chat_template
from mmevol_train.dataset import Conversations, read_corpus
from mmevol_train.pieces import PATTERNS, Pieces
from mmevol_train.rows import Maker, Reading
from mmevol_train.sampler import plan

PICTURES = 64
PINPOINTS = ((64, 64), (64, 128), (128, 64), (128, 128))
SYLLABLES = ["ba", "con", "der", "el", "fin", "gra", "hy", "in", "jo", "ker", "lum", "mo", "ner", "ous", "per", "qua"]
VOCABULARY = 200_000
BATCH = 4


class Texts:
    """Texts whose words are as frequent as in a language; one in 50 ends a phrase, one in 200 is a number."""

    def __init__(self):
        draw = random.Random(0)
        self.words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 5))) for _ in range(VOCABULARY)]
        shares = 1 / (np.arange(VOCABULARY) + 2.7)
        self.edges, self.draw = np.cumsum(shares / shares.sum()), np.random.default_rng(0)

    def text(self):
        count = int(self.draw.integers(5, 80))
        found = [self.words[place] for place in self.edges.searchsorted(self.draw.random(count))]
        for place in self.draw.integers(0, count, count // 50 + 1):
            found[place] += ",.?"[place % 3]
        if self.draw.random() < count / 200:
            found[count // 2] = str(self.draw.integers(0, 10**6))
        return " ".join(found)


def generate(root, rows):
    """Rows as long as MMEvol's; the pictures are links to a few files."""
    made, draw = Texts(), random.Random(0)
    texts = [made.text() for _ in range(min(10 * rows, 100_000))]  # what is remembered are words, not texts
    (root / "images").mkdir()
    for number in range(PICTURES):
        size = draw.choice([(64, 64), (100, 40), (50, 120)])
        Image.new("RGB", size, (number, 2 * number, 3 * number)).save(root / f"{number}.jpg")
    with (root / "rows.json").open("wb") as file:
        file.write(b"[")
        for number in range(rows):
            turns = []
            for turn in range(draw.randint(3, 7)):
                slot = "<image>\n" if turn == 0 and number % 8 else ""
                asked, said = draw.choices(texts, k=2)
                turns += [{"from": "human", "value": slot + asked}, {"from": "gpt", "value": said}]
            row = {"id": str(number), "conversations": turns}
            if number % 8:
                row["image"] = f"{number}.jpg"
                (root / "images" / row["image"]).hardlink_to(root / f"{number % PICTURES}.jpg")
            file.write((b",\n" if number else b"") + orjson.dumps(row))
        file.write(b"]")


def words():
    """A byte-level BPE that splits texts as Qwen2's does, for these words: a token is most of a word."""
    found = Tokenizer(models.BPE())
    found.normalizer = normalizers.NFC()
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERNS[0]), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=20_000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    texts = Texts()
    found.train_from_iterator((texts.text() for _ in range(5000)), trainer)
    return found


def memory():
    """MiB: held for itself, resident now, ever resident."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    kib = {name: int(status[name].split()[0]) for name in ("RssAnon", "VmRSS")}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"anonymous_mib": kib["RssAnon"] >> 10, "resident_mib": kib["VmRSS"] >> 10, "peak_mib": peak >> 10}


def reading_of(root):
    file = root / "tokenizer.json"
    if not file.is_file():
        words().save(str(file))
    return Reading(
        tokenizer=Tokenizer.from_file(str(file)), template="qwen2", jinja=chat_template("qwen2"), system=None,
        stage="finetune", mode="mmevol", special_text="refuse", max_length=2**20, pinpoints=PINPOINTS, tile=64,
        patch=16,
    )  # fmt: skip


def cpu():
    """CPU seconds of this process and of those that it waited for."""
    return sum(getattr(resource.getrusage(who), name) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
               for name in ("ru_utime", "ru_stime"))  # fmt: skip


def compare(root, reading):
    """CPU milliseconds a row of both ways, the best of three turns, with equal results."""
    stored = list(islice(json_rows(root / "rows.json"), 4096))
    maker = Maker(root / "images", reading)
    texts = [maker.rendered(row["conversations"], "image" in row) for row in stored]
    whole, best = Pieces(reading.tokenizer), {"pieces": math.inf, "whole": math.inf}
    whole.knows_cuts = False
    for _ in range(3):
        found = {}
        for name, arm in (("pieces", Pieces(reading.tokenizer)), ("whole", whole)):
            begun = time.process_time()
            found[name] = [arm.encode(text) for text in texts]
            best[name] = min(best[name], (time.process_time() - begun) / len(texts) * 1e3)
        assert all(
            np.array_equal(one[part], other[part])
            for one, other in zip(found["pieces"], found["whole"], strict=True) for part in (0, 1)
        )  # fmt: skip
    return {f"{name}_ms": value for name, value in best.items()}


def child(root, what, options):
    """One measurement, in this process."""
    reading = reading_of(root)
    if what == "words":
        print(json.dumps({"measured": what, **compare(root, reading)}), flush=True)
        return
    before, wall, begun = memory(), time.perf_counter(), cpu()
    images = root / "images"
    corpus = read_corpus(root / "rows.json", images, reading, 0, root / "cache", options.workers)
    rows_s = time.perf_counter() - wall
    lengths, rows = corpus.lengths, Conversations(corpus, images, reading)
    order = plan(lengths, BATCH, epochs=1, seed=0)
    Collator(0)([rows[place] for place in order.batches[0]])
    found = {"before_mib": before["anonymous_mib"], "rows": len(lengths), "tokens": int(lengths.sum())}
    found |= {"rows_s": rows_s, "wall_s": time.perf_counter() - wall, "cpu_s": cpu() - begun}
    found["largest_worker_mib"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    if what == "epoch":
        begun, places = time.process_time(), random.Random(0).sample(range(len(rows)), options.visits)
        for part in range(5):
            for place in places[part * len(places) // 5 : (part + 1) * len(places) // 5]:
                rows[place]
            found[f"anonymous_mib_after_{part + 1}_of_5"] = memory()["anonymous_mib"]
        found["rows_per_cpu_s"] = len(places) / (time.process_time() - begun)
    print(json.dumps({"measured": what, **found, **memory()}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=163_000)
    parser.add_argument("--visits", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2, help="processes that write the file")
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.root, options.child, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root, options.rows)
        reading_of(root)
        print(json.dumps({"json_mb": (root / "rows.json").stat().st_size / 1e6}), flush=True)
        flags = ["--workers", str(options.workers), "--visits", str(options.visits)]
        for what in ("words", "start", "again", "epoch"):
            subprocess.run([sys.executable, __file__, *flags, "--root", folder, "--child", what], check=True)


if __name__ == "__main__":
    main()
