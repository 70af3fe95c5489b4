"""Our engine beside curator, distilabel and a bare aiohttp loop: speed, memory, faults, and kill -9.

    make peers-env                                        the two peers, each in an environment of its own
    python benchmarks/peers.py                            all tables (about 15 minutes)
    python benchmarks/peers.py kill --distilabel PYTHON   one of them (speed faults kill), another interpreter

The set-up is that of benchmarks/dataengine.py: the same prompts, pictures and mock teacher, 200 ms latency, every
client with all its processes on one core, interleaved runs. A peer has the settings that its user would choose: its
OpenAI-compatible backend, its cache, its own retries. CPU (imports included) and memory are of all its processes.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from dataengine import HARD, IMAGES, make_images, prompt, start, stats, teacher, valid

HERE = Path(__file__).resolve()
ROOT = HERE.parents[1]
FORMS = (("rate", ".0f"), ("cpu", ".2f"))
KEY = "unused"  # the mock teacher asks for none; both peers want one
LATENCY = ["--latency", "0.2"]
PATIENCE_S = 90.0  # a restarted client that has sent nothing for so long hangs


# ---------------------------------------------------------------- clients, run with `--client NAME` by a peer's Python


def usable(text: str | None) -> bool:
    """An answer with all fields; anything else counts as lost."""
    try:
        return bool(text) and valid(text)
    except (ValueError, AttributeError):
        return False


def curator(url: str, count: int, concurrency: int, images: Path | None, folder: Path) -> int:
    """bespokelabs-curator: one class; its request files and its cache lie below `folder`."""
    os.environ |= {"CURATOR_CACHE_DIR": str(folder / "curator"), "TELEMETRY_ENABLED": "0"}
    os.environ["CURATOR_DISABLE_RICH_DISPLAY"] = "1"
    tables = Path(importlib.util.find_spec("litellm").origin).parent / "litellm_core_utils" / "tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tables)  # it counts tokens; the table lies here, so nothing is downloaded
    from bespokelabs import curator

    class Teacher(curator.LLM):
        def prompt(self, row: dict) -> object:
            text = prompt(row["number"])
            return (text, curator.types.Image(url=row["image"])) if row["image"] else text

        def parse(self, row: dict, response: str) -> dict:
            return {"good": usable(response)}

    limits = {"max_requests_per_minute": 10_000_000, "max_tokens_per_minute": 10**12}  # the server sets the pace
    settings = {"base_url": url, "api_key": KEY, "max_concurrent_requests": concurrency, "require_all_responses": False}
    made = Teacher("mock", backend="openai", backend_params=settings | limits, generation_params={"max_tokens": 2048})
    rows = [{"number": n, "image": str(images / f"{n % IMAGES}.jpg") if images else ""} for n in range(count)]
    return sum(row["good"] for row in made(rows).dataset)


def distilabel(url: str, count: int, concurrency: int, images: Path | None, folder: Path) -> int:
    """distilabel: one task; its input batch is what it keeps in flight."""
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration, TextGenerationWithImage

    def row(number: int) -> dict:
        picture = images and base64.b64encode((images / f"{number % IMAGES}.jpg").read_bytes()).decode()
        return {"instruction": prompt(number), **({"image": picture} if picture else {})}

    model = OpenAILLM(model="mock", base_url=url, api_key=KEY, generation_kwargs={"max_new_tokens": 2048})
    settings = {"llm": model, "input_batch_size": concurrency}
    with Pipeline(name="bench", cache_dir=folder / "distilabel") as pipeline:
        load = LoadDataFromDicts(data=[row(number) for number in range(count)], batch_size=concurrency)
        task = TextGenerationWithImage(image_type="base64", **settings) if images else TextGeneration(**settings)
        load >> task
    made = pipeline.run(use_cache=True)
    return sum(usable(row["generation"]) for row in made["default"]["train"])


# ---------------------------------------------------------------- measuring


class Client:
    """A client under way with everything it starts."""

    def __init__(self, name: str, python: str | None, *work: object) -> None:
        program = {"program": (python, str(HERE))} if python else {}
        self.process = start(name, *work, **program)
        self.peak_mb = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        """Largest sum of proportional set sizes of the tree, looked at twice a second."""
        import psutil

        while self.process.poll() is None:
            total = 0.0
            try:
                root = psutil.Process(self.process.pid)
                for one in (root, *root.children(recursive=True)):
                    total += one.memory_full_info().pss / 2**20
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            finally:
                self.peak_mb = max(self.peak_mb, total)
            time.sleep(0.5)

    def result(self) -> int:
        """How many answers were usable: the last line of what it says."""
        lines = self.process.communicate()[0].split()
        return int(lines[-1]) if self.process.returncode == 0 and lines else 0

    def kill(self) -> None:
        """Nobody of the tree survives."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def measure(name: str, python: str | None, work: tuple, *options: str) -> dict:
    """One run on a fresh teacher and folder."""
    with tempfile.TemporaryDirectory() as scratch, teacher(Path(scratch), *LATENCY, *options) as url:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        client = Client(name, python, url, *work, Path(scratch))
        good = client.result()
        after, seen = resource.getrusage(resource.RUSAGE_CHILDREN), stats(url)
        wall = seen["last_t"] - seen["first_t"]
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"good": good, "rate": seen["by_status"].get("200", 0) / wall, "wall": wall, "peak": client.peak_mb,
                "cpu": 1000 * cpu / work[0], "again": seen["duplicate_requests"]}  # fmt: skip


def speed(engines: dict[str, str | None], images: Path, count: int) -> None:
    print(f"\n| input | in flight | N = {count:,} | req/s | share of limit | CPU s per 1,000 | peak MB | usable |")
    print("|---|---:|---|---|---:|---|---:|---:|")
    for kind, folder in (("text", None), ("image", images)):
        for concurrency in (64, 256):
            work = (count, concurrency, folder)
            turns = [{name: measure(name, python, work) for name, python in engines.items()} for _ in range(2)]
            for name in engines:
                runs = [turn[name] for turn in turns]
                rates, seconds = (", ".join(f"{run[key]:{form}}" for run in runs) for key, form in FORMS)
                share = max(run["rate"] for run in runs) * 0.2 / concurrency
                rest = f"{max(run['peak'] for run in runs):.0f} | {min(run['good'] for run in runs):,}"
                print(f"| {kind} | {concurrency} | {name} | {rates} | {share:.2f} | {seconds} | {rest} |", flush=True)


def faults(engines: dict[str, str | None], images: Path, count: int) -> None:
    print(f"\n| 5 % 500, 5 % 429, 2 % dropped, 1 % HTML with 200; 64 in flight, N = {count:,} | usable | wall s |"
          " wall s without faults | answered and sent again |\n|---|---:|---:|---:|---:|")  # fmt: skip
    for name, python in engines.items():
        if name != "bare":  # it ends at the first fault
            fine, hard = (measure(name, python, (count, 64, None), *options) for options in ([], HARD))
            walls = f"{hard['wall']:.1f} | {fine['wall']:.1f}"
            print(f"| {name} | {hard['good']:,} | {walls} | {hard['again']} |", flush=True)


def kill(engines: dict[str, str | None], images: Path, count: int) -> None:
    print(f"\n| kill -9 at half, then the same command, 64 in flight, N = {count:,} | answered at the kill |"
          " sent by the second | answered and sent again | usable |\n|---|---:|---:|---:|---:|")  # fmt: skip
    for name, python in engines.items():
        if name == "bare":  # it keeps nothing
            continue
        with tempfile.TemporaryDirectory() as scratch, teacher(Path(scratch), *LATENCY) as url:
            work = (url, count, 64, None, Path(scratch))
            client = Client(name, python, *work)
            while stats(url)["answered_prompts"] < count // 2:
                time.sleep(0.05)
            client.kill()
            time.sleep(0.5)  # what the server still works on
            half = stats(url)
            end = ending(Client(name, python, *work), url)
            sent, again = (stats(url)[key] - half[key] for key in ("requests", "duplicate_requests"))
            print(f"| {name} | {half['answered_prompts']:,} | {sent:,} | {again} | {end} |", flush=True)


def ending(client: Client, url: str) -> str:
    """What a restarted client came to."""
    seen, changed = -1, time.monotonic()
    while client.process.poll() is None:
        requests = stats(url)["requests"]
        if requests != seen:
            seen, changed = requests, time.monotonic()
        if time.monotonic() - changed > PATIENCE_S:
            client.kill()
            return f"hung: nothing sent for {PATIENCE_S:.0f} s"
        time.sleep(0.2)
    return f"{client.result():,}"


def main() -> None:
    tables = {"speed": (speed, 2_000), "faults": (faults, 1_000), "kill": (kill, 1_000)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help=f"which of: {' '.join(tables)} (default: all)")
    for name in ("curator", "distilabel"):
        default = ROOT / f".venv-{name}" / "bin" / "python"
        parser.add_argument(f"--{name}", default=str(default), help=f"Python of its environment (default: {default})")
    for name in ("--client", "--url", "--images", "--folder"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name in ("--count", "--concurrency"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        client = {"curator": curator, "distilabel": distilabel}[args.client]
        os.dup2(
            os.open(Path(args.folder) / "messages.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2
        )  # both say a lot
        images = Path(args.images) if args.images else None
        print("\n", client(args.url, args.count, args.concurrency, images, Path(args.folder)))
        return
    if wrong := [name for name in args.tables if name not in tables]:
        parser.error(f"no table {wrong[0]!r}; choose from {', '.join(tables)}")
    found = {name: python for name in ("curator", "distilabel") if Path(python := getattr(args, name)).exists()}
    for name in {"curator", "distilabel"} - found.keys():
        print(f"{name} is left out: no {getattr(args, name)}; run make peers-env", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder) / "images")
        for name in args.tables or tables:
            table, count = tables[name]
            table({"ours": None, **found, "bare": None}, Path(folder) / "images", args.count or count)


if __name__ == "__main__":
    main()
