"""The stage `evolve` over as many records as SEED-163K has, against a local mock teacher without latency.

    python benchmarks/evolution.py                      163,000 records, one round
    python benchmarks/evolution.py --records 5000 --rounds 3 --folder /tmp/evolution

Prints, for the first run and for the same command again: wall seconds, CPU seconds and peak memory of the process that
runs the stage (the mock teacher has its own), the requests that the teacher saw, and the sums of the ledger. Resident
memory is read along the way, so that growth with the number of records would show.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import orjson
from dataengine import stats, teacher

WORDS = (
    "a",
    "man",
    "in",
    "red",
    "jacket",
    "stands",
    "beside",
    "the",
    "wooden",
    "table",
    "while",
    "two",
    "small",
    "dogs",
)


STRANGE_TO_THE_MOCK = ("skill_unknown", "format_unknown", "options", "reasoning_cue", "nothing_added", "length")


def seeds(path: Path, count: int) -> None:
    """Records with a caption of 60 words, three boxes, one question, one picture that all share."""
    from mmevol_core.sample import QA, Box, Sample, write_samples

    def one(number: int) -> Sample:
        caption = " ".join(WORDS[(number * 7 + place * place) % len(WORDS)] for place in range(60))
        boxes = tuple(
            Box(label=WORDS[(number + place) % len(WORDS)], xyxy=(place / 4, 0.1, place / 4 + 0.2, 0.9))
            for place in range(3)
        )
        item = QA(id=f"{number}-0", question=f"What is beside table {number}?", answer="A dog", skills=("existence",))
        return Sample(id=f"s{number}", images=("0.jpg",), caption=caption, boxes=boxes, rounds=((item,),))

    write_samples(path, (one(number) for number in range(count)))


def stage(folder: Path, url: str, rounds: int, concurrency: int) -> None:
    """What the measured process does."""
    from mmevol_dataengine.evolve import STAGE, EvolveConfig
    from mmevol_dataengine.teacher import TeacherConfig

    endpoint = TeacherConfig(base_url=url + "/v1", model="mock", concurrency=concurrency, sees_image=False)
    # the mock knows nothing of the recipe: without these rules most of its items reach the judge
    rules = {"annotations_complete": False, "skip": STRANGE_TO_THE_MOCK}
    config = EvolveConfig(teacher=endpoint, recipe={"rounds": rounds, "rules": rules}, max_failed=1.0)
    result = STAGE.run(config, {"seed": folder / "seed.jsonl", "images": folder}, folder / "out")
    print(orjson.dumps(dict(result.metrics)).decode())


def watched(process: subprocess.Popen, every_s: float) -> list[float]:
    """Resident MB of a process, read again and again until it ends."""
    found: list[float] = []

    def look() -> None:
        while process.poll() is None:
            try:
                text = Path(f"/proc/{process.pid}/statm").read_text()
            except OSError:
                return
            found.append(int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)
            time.sleep(every_s)

    threading.Thread(target=look, daemon=True).start()
    return found


def run(name: str, args: argparse.Namespace, folder: Path, url: str) -> None:
    command = [sys.executable, __file__, "--stage", "--url", url, "--folder", str(folder), "--rounds", str(args.rounds)]
    sent, began = stats(url)["requests"], time.monotonic()
    process = subprocess.Popen([*command, "--concurrency", str(args.concurrency)], stdout=subprocess.PIPE, text=True)
    resident = watched(process, max(0.2, args.records / 40_000))
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall, cpu = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    path = [f"{resident[int(share * (len(resident) - 1))]:.0f}" for share in (0.1, 0.25, 0.5, 0.75, 1)]
    requests = stats(url)["requests"] - sent
    peak = usage.ru_maxrss / 1024
    print(f"| {name} | {wall:.1f} | {cpu:.1f} | {requests:,} | {peak:.0f} | {' '.join(path)} |", flush=True)
    total = orjson.loads(out)
    sums = {
        key: value if isinstance(value, int) else sum(value.values()) for key, value in total.items() if key != "usage"
    }
    assert sums["given"] == sums["kept"] + sums["eliminated"] + sums["failed"], "items got lost"
    print(f"\n{orjson.dumps(sums).decode()}\n" if name == "first" else "", end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=163_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--folder", type=Path, help="keep the run here")
    parser.add_argument("--stage", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stage:
        stage(args.folder, args.url, args.rounds, args.concurrency)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        seeds(folder / "seed.jsonl", args.records)
        with teacher(folder, "--max-seconds", "36000", core=None) as url:
            print(f"\n| {args.records:,} records, {args.rounds} rounds, {args.concurrency} in flight | wall s | CPU s |"
                  " requests | peak MB | resident MB at 10, 25, 50, 75, 100 % of the time |")  # fmt: skip
            print("|---|---:|---:|---:|---:|---|", flush=True)
            for name in ("first", "the same again"):
                run(name, args, folder, url)


if __name__ == "__main__":
    main()
