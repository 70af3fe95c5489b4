"""How long and in how much memory a seed file of SEED-163K's size is read.

    python benchmarks/seeds.py            163,000 rows, about 600 MB (the release: 449), written to a temporary folder
    python benchmarks/seeds.py 20000      fewer rows

Three readings, each a process of its own: the elements alone, as `Sample`s, and the stage `seed` (validated, written as
JSONL; pictures not opened, for there are none). Peak memory is the process's own, imports included.
"""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = 163_000
NOUNS = "man street bicycle window table kitchen dog umbrella signal bench tree river light small wooden red over"
WORDS = NOUNS.split()


def make(path: Path, rows: int) -> None:
    """Rows as MMEvol's seed has them: 3 to 5 questions with steps, a caption, boxes; 3.7 KB each, indented."""
    rng = random.Random(0)

    def text(count: int) -> str:
        return " ".join(rng.choice(WORDS) for _ in range(count)).capitalize() + "."

    def item() -> dict:
        names = rng.sample(WORDS, 2)
        steps = [{"manipulation": f"grounding_1({names[0]})->bbx_1", "description": text(9)} for _ in range(2)]
        return {"image_position": "single", "objects": names, "skills": ["Grounding Ability"], "format": "Norm",
                "question": text(11), "steps": steps, "answer": text(16)}  # fmt: skip

    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for number in range(rows):
            boxes = [{"label": rng.choice(WORDS), "bbox": [0.123, 0.234, 0.567, 0.891]} for _ in range(5)]
            caption = [{"from": "human", "value": "Describe the picture."}, {"from": "gpt", "value": text(60)}]
            row = {"id": str(number), "image": f"coco/{number:012d}.jpg", "topic_name": "", "caption": caption,
                   "det": boxes, "conversations_v0": [item() for _ in range(rng.randint(3, 5))]}  # fmt: skip
            file.write((",\n" if number else "\n") + json.dumps(row, indent=1))
        file.write("\n]\n")


def read(kind: str, path: Path) -> int:
    """Read the whole file one way; return how many rows came."""
    from mmevol_core.json_stream import json_rows
    from mmevol_dataengine.seed import STAGE, SeedConfig
    from mmevol_dataengine.seeds import read_mmevol

    if kind == "elements":
        return sum(1 for _ in json_rows(path))
    if kind == "samples":
        return sum(1 for _ in read_mmevol(path))
    config = SeedConfig(source="mmevol_json", path=path, image_root=path.parent, check_images="none")
    return int(STAGE.run(config, {}, path.parent / "out").metrics["records"])


def main() -> None:
    if len(sys.argv) == 3:  # a reading of its own
        start, path = time.perf_counter(), Path(sys.argv[2])
        count = read(sys.argv[1], path)
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
        print(f"| {sys.argv[1]} | {count:,} | {time.perf_counter() - start:.1f} | {cpu:.1f} | {peak:.0f} |")
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.json"
        make(path, rows)
        (Path(folder) / "out").mkdir()
        print(f"{rows:,} rows, {path.stat().st_size / 1e6:.0f} MB, load {os.getloadavg()[0]:.1f}\n")
        print("| reading | rows | s | CPU s | peak MB |\n|---|---:|---:|---:|---:|", flush=True)
        for kind in ("elements", "samples", "stage seed"):
            subprocess.run([sys.executable, __file__, kind, str(path)], check=True)


if __name__ == "__main__":
    main()
