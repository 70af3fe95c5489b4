"""How fast evaluation is, against VLMEvalKit's own loop on the same checkpoint, and what scoring alone costs.

    python benchmarks/evaluation.py loop       500 items: answer and score, ours and the official package in turn
    python benchmarks/evaluation.py scoring    10,000 stored predictions of each benchmark, no judge

Both sides of `loop` get the same tiny checkpoint, the same questions of the nine benchmarks of the kit, greedy decoding
and the same cores, and run in a process of their own each time. The package is run with one thread and with as many as
`--threads`; whichever is faster is what we are compared with. The clocks start when the model is loaded and stop when
the scores are there: questions are read and written down, answers logged, replies graded. `make vlmeval-env` builds the
official side; the checkpoint and the held-out pictures are those of `make experiment` unless they are named.
"""

import argparse
import multiprocessing
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmevol_core.files import read_jsonl, write_jsonl
from mmevol_eval.backends.vlmeval import BackendConfig, drive
from mmevol_eval.benchmarks import find
from mmevol_eval.data import STAGE, BenchmarksConfig, locate
from mmevol_eval.grading.tsv import read_rows, write_tsv
from mmevol_eval.models.local import LocalModel
from mmevol_eval.predictions import Ask, answer_all
from mmevol_eval.score import score_file
from mmevol_eval.twins.writing import base64_image

ROOT = Path(__file__).resolve().parents[1]
NINE = (
    "MME",
    "MMMU_DEV_VAL",
    "MathVista_MINI",
    "RealWorldQA",
    "MMStar",
    "AI2D_TEST",
    "HallusionBench",
    "POPE",
    "BLINK",
)
FOLDERS = ("VQAv2", "GQA", "MMSInst")
WITHOUT_TWINS = ("MMBench", "ScienceQA", "TextVQA", "OCRBench", "SEEDBench_IMG")
SCORED = (*NINE, *FOLDERS, *WITHOUT_TWINS)  # all that are scored without a judge
RULES = {"MMSInst": "without_nlp"}  # the official ones spend their time in spaCy
LONGEST = 20  # new tokens


@dataclass(frozen=True)
class Took:
    """Seconds of one side of one round, and what it found."""

    wall: float
    cpu: float
    scores: dict[str, float]
    replies: dict[tuple[str, str], str]


def write_twins(held_out: Path, root: Path, names: tuple[str, ...], items: int) -> Path:
    """Twins of the named benchmarks with about so many items each."""
    STAGE.run(BenchmarksConfig(source="twins", names=names, items=items), {"held_out": held_out}, root)
    return root / "benchmarks"


def ours(checkpoint: Path, data: Path, work: Path, threads: int, batch_size: int) -> Took:
    """Read, ask, log, grade."""
    model = LocalModel(checkpoint, batch_size=batch_size, max_new_tokens=LONGEST, threads=threads, device="cpu")
    wall, cpu = time.perf_counter(), time.process_time()
    items = {name: list(find(name).load(locate(data, find(name)))) for name in NINE}
    asks = [
        Ask("real", name, item.index, find(name).prompt(item, "vlmevalkit")) for name in NINE for item in items[name]
    ]
    answers = answer_all(asks, model, work / "predictions.jsonl", work)
    scores = {}
    for name in NINE:
        rules = find(name)
        replies = {item.index: answers["real", name, item.index].text for item in items[name]}
        graded = rules.grade_all(items[name], replies, "vlmevalkit-0.2rc1", None)
        scores[name] = rules.scores(graded, "vlmevalkit-0.2rc1")[rules.headline("vlmevalkit-0.2rc1").name]
    took = time.perf_counter() - wall, time.process_time() - cpu
    return Took(
        *took, scores, {(ask.benchmark, ask.index): answers["real", ask.benchmark, ask.index].text for ask in asks}
    )


def ours_alone(*arguments: Any) -> Took:
    """`ours` in a new process, as the package has one."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(ours, *arguments).result()


def official(checkpoint: Path, data: Path, work: Path, threads: int) -> Took:
    """The package's own loop and evaluators, in their environment."""
    config = BackendConfig(environment=ROOT / ".venv-vlmeval", max_new_tokens=LONGEST, threads=threads, device="cpu")
    results = drive(checkpoint, NINE, data, work, config)
    seconds = [result["seconds"] for result in results.values()]
    replies = {
        (name, row["index"]): row["prediction"]
        for name in NINE
        for row in read_jsonl(work / f"{name}.predictions.jsonl")
    }
    return Took(
        sum(one["wall_s"] + one["score_wall_s"] for one in seconds),
        sum(one["cpu_s"] + one["score_cpu_s"] for one in seconds),
        {name: result["headline"]["value"] for name, result in results.items()},
        replies,
    )


def loop(options: argparse.Namespace, work: Path) -> None:
    """Rounds of ours and theirs in turn; medians, and how many replies are the same."""
    data = write_twins(options.held_out, work, NINE, round(options.items / len(NINE)))
    mine = f"ours, {options.threads} threads"
    theirs = {f"official package, {threads} threads": threads for threads in sorted({1, options.threads})}
    took: dict[str, list[Took]] = {name: [] for name in (mine, *theirs)}
    loads = []
    for number in range(options.rounds):
        folder = work / f"round_{number}"
        folder.mkdir()
        loads.append(os.getloadavg()[0])
        took[mine].append(ours_alone(options.checkpoint, data, folder, options.threads, options.batch_size))
        for name, threads in theirs.items():
            took[name].append(official(options.checkpoint, data, folder / str(threads), threads))
        last = (f"{name}: {sides[-1].wall:.2f} s wall, {sides[-1].cpu:.2f} s CPU" for name, sides in took.items())
        say(f"round {number + 1}, load {loads[-1]:.1f}: " + "; ".join(last))
    say(f"\n{len(took[mine][0].replies)} items, medians of {options.rounds} rounds\n")
    say("| | wall s | CPU s | wall, of ours |\n|---|---|---|---|")
    for name, sides in took.items():
        wall, cpu = (statistics.median(getattr(one, clock) for one in sides) for clock in ("wall", "cpu"))
        ratio = statistics.median(one.wall / own.wall for one, own in zip(sides, took[mine], strict=True))
        say(f"| {name} | {wall:.2f} | {cpu:.2f} | {ratio:.2f} |")
    peer = min(theirs, key=lambda name: statistics.median(one.wall for one in took[name]))
    say(f"\nfaster of theirs: {peer}")
    compare(took[mine][0], took[peer][0], asked_in_other_words(data))


def compare(mine: Took, theirs: Took, reworded: set[tuple[str, str]]) -> None:
    """How many replies and headlines are the same; `reworded`: items that the two sides ask in other words."""
    assert mine.replies.keys() == theirs.replies.keys()
    for label, keys in (("all", mine.replies.keys()), ("asked in the same words", mine.replies.keys() - reworded)):
        same = sum(mine.replies[key] == theirs.replies[key] for key in keys)
        say(f"identical replies, {label}: {same} of {len(keys)} ({100 * same / len(keys):.2f} %)")
    say(f"left out for their words: {', '.join(f'{name} {index}' for name, index in sorted(reworded)) or 'none'}")
    different = [name for name in NINE if abs(mine.scores[name] - theirs.scores[name]) > 1e-6]
    say(f"equal headlines: {len(NINE) - len(different)} of {len(NINE)}; different: {', '.join(different) or 'none'}")


def asked_in_other_words(data: Path) -> set[tuple[str, str]]:
    """Items whose options the package rewrites: a column of numbers and empty cells becomes one of fractions."""
    found = set()
    for name in NINE:
        rows = list(read_rows(locate(data, find(name))))
        for letter in "ABCD":
            column = {row["index"]: row.get(letter, "") for row in rows}
            numbers = {index for index, value in column.items() if value.strip().lstrip("-").isdigit()}
            empty = {index for index, value in column.items() if not value}
            if numbers and empty and len(numbers) + len(empty) == len(column):
                found |= {(name, index) for index in numbers}
    return found


def enlarge(path: Path, rows: int) -> Path:
    """A TSV's rows again and again under new indices and groups, until there are so many."""
    own, large = list(read_rows(path)), []
    for number in range(rows):
        row, turn = dict(own[number % len(own)]), number // len(own)
        places = row["index"].split("_")
        places[3:4] = [f"{place}x{turn}" for place in places[3:4]]  # HallusionBench: the set
        row["index"] = "_".join(places) if len(places) > 1 else str(number)
        if "image_path" in row:
            row["image_path"] = f"{turn}/{row['image_path']}"
        large.append(row)
    target = path.with_name(f"{path.stem}.large.tsv")
    write_tsv(target, large)
    return target


def write_rows(name: str, rows: int, picture: str, path: Path) -> Path:
    """A TSV of a benchmark without a twin: so many rows of the official columns, one picture."""
    options = dict(zip("ABCD", ("red", "green", "a blue circle", "3"), strict=True))
    made = []
    for number in range(rows):
        row = {"index": str(number), "image": picture, "question": "What is it?", "category": f"kind {number % 20}"}
        if name == "TextVQA":
            row["answer"] = str([("red", "3", "stop")[number % 3]] * 9 + ["a stop"])
        elif name == "OCRBench":
            kind = ("Regular Text Recognition", "Handwritten Mathematical Expression Recognition", "Doc-oriented VQA")
            row |= {"answer": str([("red", "x ^ 2", "3")[number % 3]]), "category": kind[number % 3]}
        else:
            row |= options | {"answer": "ABCD"[number % 4]}
        if name == "MMBench":  # four rotations of each question, a million apart
            turn, row["index"] = number % 4, str(number // 4 + number % 4 * 1_000_000)
            texts = list(options.values())
            row |= dict(zip("ABCD", texts[turn:] + texts[:turn], strict=True)) | {"l2-category": f"kind {number % 6}"}
            row |= {"answer": "ABCD"[(number // 4 - turn) % 4], "split": "dev"}
        made.append(row)
    write_tsv(path, made)
    return path


def scoring(options: argparse.Namespace, work: Path) -> None:
    """`mmevol score` on 10,000 predictions a benchmark: reading, grading, adding up, writing."""
    data = write_twins(options.held_out, work, NINE, 300)
    write_twins(options.held_out, work, FOLDERS, options.predictions)
    picture = base64_image(min((options.held_out / "images").iterdir()))
    say(f"{options.predictions} predictions each, load {os.getloadavg()[0]:.1f}\n")
    say("| benchmark | items | wall s | CPU s |\n|---|---|---|---|")
    for name in SCORED:
        rules, rng = find(name), random.Random(name)
        if name in WITHOUT_TWINS:
            path = write_rows(name, options.predictions, picture, work / f"{name}.tsv")
        else:
            path = locate(data, rules)
            path = enlarge(path, options.predictions) if path.is_file() else path
        predictions = work / f"{name}.jsonl"
        said = ["yes", "No.", "A", "The answer is B.", "red", "3", "I cannot tell", "a red circle at the top left"]
        rows = [{"index": item.index, "prediction": rng.choice([*said, item.answer])} for item in rules.load(path)]
        write_jsonl(predictions, rows)
        wall, cpu = time.perf_counter(), time.process_time()
        result = score_file(name, path, predictions, work / f"{name}.json", RULES.get(name))
        say(f"| {name} | {result['n']} | {time.perf_counter() - wall:.2f} | {time.process_time() - cpu:.2f} |")


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    """Run what is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["loop", "scoring"], metavar="loop|scoring")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "outputs/quickstart/finetune.evolved/checkpoint")
    parser.add_argument("--held-out", type=Path, default=ROOT / "outputs/quickstart/seed/held_out")
    parser.add_argument("--items", type=int, default=520)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of either side; the package is run with one, too")
    parser.add_argument("--batch-size", type=int, default=32, help="ours; the package asks one at a time")
    parser.add_argument("--predictions", type=int, default=10_000)
    options = parser.parse_args()
    for path, made_by in (
        (options.checkpoint / "config.json", "make experiment"),
        (options.held_out, "make experiment"),
    ):
        if not path.exists():
            sys.exit(f"{path} is not there; run `{made_by}` first, or name another with --checkpoint and --held-out")
    say(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    for part in options.parts:
        say(f"\n## {part}\n")
        with tempfile.TemporaryDirectory() as folder:
            {"loop": loop, "scoring": scoring}[part](options, Path(folder))


if __name__ == "__main__":
    main()
