"""Start and memory of training data at the size of the paper's.

    python benchmarks/dataset.py [--rows 163000] [--written 2000] [--visits 20000] [--workers 0]

Each measurement is a process of its own. `write`: generated LLaVA rows, `--written` of them, to an Arrow file. They are
then repeated to `--rows`, and `map` opens that file and takes all lengths, as a start that finds it does; `epoch` asks
for rows in random order (ids, labels, views of a picture). Memory: `anonymous` is what the process holds for itself,
`peak` everything that was ever resident, torch and the mapped pages of the file included, which are shared.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import orjson
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from mmevol_train.conversation import chat_template
from mmevol_train.corpus import Refused, read, to_batch, write
from mmevol_train.dataset import Conversations, Reading, read_corpus

PICTURES = 64
PINPOINTS = ((64, 64), (64, 128), (128, 64), (128, 128))
DRAW = random.Random(0)
SYLLABLES = ["ba", "con", "der", "el", "fin", "gra", "hy", "in", "jo", "ker", "lum", "mo", "ner", "ous", "per", "qua"]
WORDS = ["".join(DRAW.choices(SYLLABLES, k=DRAW.randint(1, 4))) for _ in range(5000)]
TEXTS = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(5, 80))) for _ in range(5000)]


def generate(root, rows):
    """Rows as long as MMEvol's: about five turns, 400 words; every eighth without a picture."""
    draw = random.Random(0)
    (root / "images").mkdir()
    for number in range(PICTURES):
        size = draw.choice([(64, 64), (100, 40), (50, 120)])
        Image.new("RGB", size, (number, 2 * number, 3 * number)).save(root / "images" / f"{number}.png")
    with (root / "rows.json").open("wb") as file:
        file.write(b"[")
        for number in range(rows):
            turns = []
            for turn in range(draw.randint(3, 7)):
                texts = draw.choices(TEXTS, k=2)
                slot = "<image>\n" if turn == 0 and number % 8 else ""
                turns += [{"from": "human", "value": slot + texts[0]}, {"from": "gpt", "value": texts[1]}]
            row = {"id": str(number), "conversations": turns}
            if number % 8:
                row["image"] = f"{number % PICTURES}.png"
            file.write((b",\n" if number else b"") + orjson.dumps(row))
        file.write(b"]")


def words():
    """A byte-level BPE like Qwen2's, for these texts: a token is most of a word."""
    found = Tokenizer(models.BPE())
    found.normalizer = normalizers.NFC()
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=6000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    found.train_from_iterator(TEXTS[:500], trainer)
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


def repeat(root, rows):
    """The written rows again and again, to a file of that many."""
    written = list(read(next((root / "cache").glob("*.arrow"))).rows)

    def batches():
        for start in range(0, rows, len(written)):
            again = [replace(row, number=start + place) for place, row in enumerate(written[: rows - start])]
            yield len(again), to_batch(again), Refused(Counter(), {})

    write(root / "all.arrow", batches())


def child(root, what, options):
    """One measurement, in this process."""
    reading = reading_of(root)
    before, wall, cpu = memory(), time.perf_counter(), time.process_time()
    if what == "write":
        corpus = read_corpus(root / "rows.json", root / "images", reading, 0, root / "cache", options.workers)
    else:
        corpus = read(root / "all.arrow")
    lengths = corpus.lengths
    found = {"before_mib": before["anonymous_mib"], "rows": len(lengths), "tokens": int(lengths.sum())}
    found |= {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    if what == "epoch":
        rows = Conversations(corpus, root / "images", reading)
        order = random.Random(0).sample(range(len(rows)), options.visits)
        for part in range(5):
            for place in order[part * len(order) // 5 : (part + 1) * len(order) // 5]:
                rows[place]
            found[f"anonymous_mib_after_{part + 1}_of_5"] = memory()["anonymous_mib"]
        found["rows_per_cpu_s"] = len(order) / (time.process_time() - cpu)
    print(json.dumps({"measured": what, **found, **memory()}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=163_000)
    parser.add_argument("--written", type=int, default=2000)
    parser.add_argument("--visits", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=0, help="processes that write the file")
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.root, options.child, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root, options.written)
        reading_of(root)
        flags = ["--workers", str(options.workers), "--visits", str(options.visits)]
        for what in ("write", "map", "epoch"):
            subprocess.run([sys.executable, __file__, *flags, "--root", folder, "--child", what], check=True)
            if what == "write":
                repeat(root, options.rows)
                print(json.dumps({"arrow_mb": (root / "all.arrow").stat().st_size / 1e6}), flush=True)


if __name__ == "__main__":
    main()
