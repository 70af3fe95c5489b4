"""How fast, how lean and how safe the chat engine is, against a bare aiohttp loop and a local mock teacher.

    python benchmarks/dataengine.py                    all tables (about ten minutes)
    python benchmarks/dataengine.py throughput memory  some of them: throughput cpu memory faults kill long

Client and server are processes of their own, each pinned to one core where the machine has two. Paired runs
(ours, bare, ours, bare, ...) share whatever else the machine is doing. Requests a second are measured at the server,
from the first request to the last answer; CPU and peak memory are the client process's, imports included.
benchmarks/peers.py sets it beside other engines.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve()
MOCK = HERE.parents[1] / "tests" / "support" / "mock_teacher.py"
HARD = ["--share-500", "0.05", "--share-429", "0.05", "--share-drop", "0.02", "--share-non-json", "0.01"]
IMAGES = 64
FILLER = "An instruction about objects, skills, steps and formats, as long as such instructions are. " * 130  # 12 KB


def prompt(number: int) -> str:
    """12 KB of text that no other request has; the mock answers with two items of 1.7 KB together."""
    return f"{FILLER}\nReturn JSON with the keys skills and steps. Sample {number}."


def make_images(folder: Path) -> None:
    """JPEG files of 512x512 pixels and about 55 KB."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for number in range(IMAGES):
        noise = Image.effect_noise((512, 512), 40 + number % 8).convert("RGB")
        noise.save(folder / f"{number}.jpg", quality=55)


# ---------------------------------------------------------------- clients, run as `--client NAME ...` in a process


async def ours(url: str, count: int, concurrency: int, images: Path | None, folder: Path) -> int:
    """The engine as the data engine uses it: journal, images, parsed answers."""
    from mmevol_core.chat import Chat, Endpoint, run, user
    from mmevol_core.images import ImageStore
    from mmevol_core.journal import Journal
    from mmevol_dataengine.parse import parse_items

    good = 0
    with Journal(folder / "journal.sqlite") as journal:
        store = ImageStore(images) if images else None
        async with Chat(Endpoint(base_url=url, model="mock", concurrency=concurrency), journal) as chat:

            async def one(number: int) -> bool:
                parts = [await store.get(f"{number % IMAGES}.jpg")] if store else []
                reply = await chat.ask([user(*parts, prompt(number))])
                return len(parse_items(reply.text) or []) == 2

            async for _, fine in run(range(count), one, chat.rows_in_flight):
                good += fine
    return good


async def bare(url: str, count: int, concurrency: int, images: Path | None, folder: Path) -> int:
    """What a good engineer writes in an afternoon: workers over one session, nothing kept, nothing retried."""
    import base64

    import aiohttp

    good, numbers = 0, iter(range(count))

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal good
        for number in numbers:
            content: object = prompt(number)
            if images:
                data = base64.b64encode((images / f"{number % IMAGES}.jpg").read_bytes()).decode()
                picture = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
                content = [picture, {"type": "text", "text": content}]
            body = {"model": "mock", "max_tokens": 2048, "messages": [{"role": "user", "content": content}]}
            async with session.post(url + "/chat/completions", data=json.dumps(body).encode()) as response:
                good += valid(json.loads(await response.read())["choices"][0]["message"]["content"])

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(worker(session) for _ in range(concurrency)))
    return good


def valid(text: str) -> bool:
    """Every item has its fields."""
    needed = {"objects", "skills", "format", "question", "steps", "answer"}
    return all(needed <= item.keys() for item in json.loads(text))


def client(args: argparse.Namespace) -> None:
    import uvloop

    work = {"ours": ours, "bare": bare}[args.client]
    images = Path(args.images) if args.images else None
    good = uvloop.run(work(args.url, args.count, args.concurrency, images, Path(args.folder)))
    print(good)


# ---------------------------------------------------------------- measuring


@contextmanager
def teacher(folder: Path, *options: str, core: int | None = 0) -> Iterator[str]:
    """A mock teacher in a process of its own; yields its address."""
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, str(MOCK), "--port", "0", "--port-file", str(port_file), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    if core is not None:
        pin(process.pid, core)
    try:
        while not port_file.exists():
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text()}"
    finally:
        process.terminate()
        process.wait()


def pin(pid: int, core: int) -> None:
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(pid, {sorted(os.sched_getaffinity(0))[core]})


def stats(url: str) -> dict:
    with urllib.request.urlopen(url + "/stats") as response:
        return json.loads(response.read())


def start(
    name: str,
    url: str,
    count: int,
    concurrency: int,
    images: Path | None,
    folder: Path,
    program: tuple[str, ...] = (sys.executable, str(HERE)),
) -> subprocess.Popen:
    """A client in a process group of its own, on its core; it prints how many answers were usable."""
    command = [*program, "--client", name, "--url", url + "/v1", "--count", str(count)]
    command += ["--concurrency", str(concurrency), "--folder", str(folder)]
    command += ["--images", str(images)] if images else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    pin(process.pid, 1)
    return process


def measure(name: str, count: int, concurrency: int, images: Path | None, *options: str) -> dict:
    """One run on a fresh teacher and journal: requests a second, CPU seconds, peak MB, usable answers."""
    with tempfile.TemporaryDirectory() as scratch, teacher(Path(scratch), *options) as url:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = start(name, url, count, concurrency, images, Path(scratch))
        out, _ = process.communicate()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seen = stats(url)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {
            "good": int(out or 0),
            "rate": seen["by_status"].get("200", 0) / (seen["last_t"] - seen["first_t"]),
            "wall": seen["last_t"] - seen["first_t"],
            "cpu": cpu,
            "duplicates": seen["duplicate_requests"],
        }


def peak_mb(count: int, concurrency: int, images: Path) -> float:
    """Largest resident memory of our client."""
    with tempfile.TemporaryDirectory() as scratch, teacher(Path(scratch), "--latency", "0.05") as url:
        process = start("ours", url, count, concurrency, images, Path(scratch))
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        return usage.ru_maxrss / 1024


def throughput(images: Path) -> None:
    print("\n| input | in flight | N | limit | ours req/s | share | bare req/s | share |")
    print("|---|---:|---:|---:|---|---:|---|---:|")
    for kind, folder in (("text", None), ("image", images)):
        for concurrency, count in ((64, 3_000), (256, 10_000)):
            runs: dict[str, list[float]] = {"ours": [], "bare": []}
            for _ in range(2):
                for name, rates in runs.items():
                    rates.append(measure(name, count, concurrency, folder, "--latency", "0.2")["rate"])
            limit = concurrency / 0.2
            cells = [f"{', '.join(f'{r:.0f}' for r in rates)} | {max(rates) / limit:.3f}" for rates in runs.values()]
            print(f"| {kind} | {concurrency} | {count:,} | {limit:.0f} | {' | '.join(cells)} |", flush=True)


def cpu(images: Path) -> None:
    print("\n| input | N | ours CPU s per 1,000 | bare CPU s per 1,000 | ours / bare |\n|---|---:|---|---|---:|")
    for kind, folder in (("text", None), ("image", images)):
        runs: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(2):
            for name, seconds in runs.items():
                seconds.append(measure(name, 10_000, 256, folder, "--latency", "0.05")["cpu"] / 10)
        cells = [", ".join(f"{s:.2f}" for s in seconds) for seconds in runs.values()]
        print(f"| {kind} | 10,000 | {' | '.join(cells)} | {min(runs['ours']) / min(runs['bare']):.2f} |", flush=True)


def memory(images: Path) -> None:
    print("\n| N with images, 256 in flight | peak MB |\n|---:|---:|")
    for count in (2_500, 10_000, 40_000):
        print(f"| {count:,} | {peak_mb(count, 256, images):.0f} |", flush=True)


def faults(images: Path) -> None:
    print("\n| server, 64 in flight, N = 2,000, 200 ms | answered | wall s | duplicates |\n|---|---:|---:|---:|")
    mild = ["--share-500", "0.02", "--share-429", "0.02"]
    for name, options in (("no faults", []), ("mild (2 % 500, 2 % 429)", mild), ("hard", HARD)):
        seen = measure("ours", 2_000, 64, None, "--latency", "0.2", *options)
        print(f"| {name} | {seen['good']:,} | {seen['wall']:.1f} | {seen['duplicates']} |", flush=True)


def kill(images: Path) -> None:
    print("\n| killed (-9) at half, 64 in flight | answered at the kill | answered and sent again | complete |")
    print("|---|---:|---:|---:|")
    for count in (2_000, 10_000):
        with tempfile.TemporaryDirectory() as scratch, teacher(Path(scratch), "--latency", "0.2") as url:
            process = start("ours", url, count, 64, None, Path(scratch))
            while stats(url)["answered_prompts"] < count // 2:
                time.sleep(0.05)
            process.kill()
            process.communicate()
            answered = stats(url)["answered_prompts"]
            out, _ = start("ours", url, count, 64, None, Path(scratch)).communicate()
            print(f"| N = {count:,} | {answered} | {stats(url)['duplicate_requests']} | {int(out):,} |", flush=True)


def long(images: Path) -> None:
    print("\n| 163,000 text requests, 256 in flight, latency 0 | wall s | requests sent | answered | peak MB |")
    print("|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch, teacher(Path(scratch)) as url:
        for name in ("first run", "the same again, from the journal"):
            sent, began = stats(url)["requests"], time.monotonic()
            process = start("ours", url, 163_000, 256, None, Path(scratch))
            good = int(process.stdout.read())
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            cells = f"{time.monotonic() - began:.1f} | {stats(url)['requests'] - sent:,} | {good:,}"
            print(f"| {name} | {cells} | {usage.ru_maxrss / 1024:.0f} |", flush=True)


def main() -> None:
    tables = {f.__name__: f for f in (throughput, cpu, memory, faults, kill, long)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help=f"which of: {' '.join(tables)} (default: all)")
    for name in ("--client", "--url", "--images", "--folder"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name in ("--count", "--concurrency"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        client(args)
        return
    if wrong := [name for name in args.tables if name not in tables]:
        parser.error(f"no table {wrong[0]!r}; choose from {', '.join(tables)}")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        make_images(images)
        for name in args.tables or tables:
            tables[name](images)


if __name__ == "__main__":
    main()
