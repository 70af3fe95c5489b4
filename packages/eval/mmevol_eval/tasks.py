"""What is asked: the benchmarks' items as prompts, and the same again with the pictures exchanged."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmevol_core.errors import UserError, unknown
from mmevol_core.files import digest
from mmevol_eval.benchmark import (
    PROMPTS,
    Benchmark,
    BenchmarkSettings,
    Image,
    Item,
    Message,
    image_bytes,
    without_fallback,
)
from mmevol_eval.benchmarks import find
from mmevol_eval.data import locate
from mmevol_eval.grading.tsv import Encoded
from mmevol_eval.predictions import Ask
from mmevol_eval.protocol import data_hash, default_rules
from mmevol_eval.settings import EvaluateConfig


@dataclass(frozen=True)
class Task:
    """A benchmark ready to be asked."""

    rules: Benchmark
    profile: str  # of its rules
    items: Sequence[Item]
    data: str  # hash of its files, and how many of its items are left out
    settings: BenchmarkSettings = field(default_factory=BenchmarkSettings)
    path: Path = Path()  # of its files

    @property
    def scoring(self) -> str:
        """The profile that aggregates follow: drawing letters concerns single items alone."""
        return without_fallback(self.profile)


def load_tasks(config: EvaluateConfig, root: Path | None) -> list[Task]:
    """Find and read every benchmark: its own `path`, or its file in `root`.

    Raises:
        UserError: an unknown benchmark, profile of prompts or rules, data that are not there, or items without their
            pictures.
    """
    rules = [find(name) for name in config.names]
    for name in config.settings:
        if find(name).name != name:
            raise UserError(f"evaluate.settings: {name!r} is called {find(name).name!r} here")
    tasks = [_task(benchmark, config.of(benchmark.name), root) for benchmark in rules]
    for task in tasks:
        if lacking := without_pictures(task.rules.name, task.path, task.items, config.max_failed):
            raise UserError(lacking)
    return tasks


def without_pictures(name: str, path: Path, items: Sequence[Item], allowed: float) -> str:
    """Why these items cannot be asked: a model would answer without looking, and be scored for it.

    Args:
        name: of the benchmark.
        path: of its data.
        items: those that are to be asked.
        allowed: share of them whose picture may be absent; each is a failure, as one that cannot be read.

    Returns:
        A line for people; empty when enough is there.

    Raises:
        UserError: it is not certain which file a picture is.
    """
    blind = [item.index for item in items if not len(item.images)]
    absent = [item for item in items if not isinstance(item.images, Encoded) and not all(map(_is_there, item.images))]
    fetch = f"put them there (`mmevol fetch {name} --to FOLDER` downloads them or says where they are published)"
    if blind:
        first = f"index {blind[0]}"
        return f"{name}: {len(blind)} of {len(items)} items of {path} have no picture (first: {first}); {fetch}"
    if len(absent) <= allowed * len(items):
        return ""
    gone = next(str(image) for image in absent[0].images if not _is_there(image))
    first = f"index {absent[0].index}, {gone}"
    return f"{name}: the pictures of {len(absent)} of {len(items)} items are not there (first: {first}); {fetch}"


def _is_there(image: Image) -> bool:
    return isinstance(image, bytes) or image.is_file()


def _task(rules: Benchmark, settings: BenchmarkSettings, root: Path | None) -> Task:
    if settings.prompts not in PROMPTS:
        raise unknown("profile of prompts", str(settings.prompts), PROMPTS, where=rules.name)
    if settings.path is None and root is None:
        raise UserError(f"{rules.name} has no data: run stage benchmarks, or set its path")
    path = settings.path if settings.path is not None or root is None else locate(root, rules)
    assert path is not None
    profile = rules.check_rules(settings.rules or default_rules(rules, path))
    data, items = data_hash(path), list(rules.load(path))
    if not items:
        raise UserError(f"{rules.name}: {path} holds no items")
    if settings.limit is not None:
        whole = len(items)
        items = first(items, settings.limit)
        data = f"{data}, {len(items)} of {whole} items"
    return Task(rules, profile, items, data, settings, path)


def first(items: Sequence[Item], limit: int) -> list[Item]:
    """The first clusters that hold `limit` items together, one of every category (and split) in turn, in file order.

    Pairs and groups stay whole; a cluster is of its first item's category.
    """
    sizes = Counter(item.cluster or item.index for item in items)
    turns: Counter[tuple[str, str]] = Counter()
    turn: dict[str, int] = {}  # of a cluster within its category
    for item in items:
        if (cluster := item.cluster or item.index) not in turn:
            turn[cluster] = turns[item.split, item.category]
            turns[item.split, item.category] += 1
    kept: set[str] = set()
    count = 0
    for cluster in sorted(turn, key=turn.__getitem__):  # stable: file order within a turn
        if count >= limit:
            break
        kept.add(cluster)
        count += sizes[cluster]
    return [item for item in items if (item.cluster or item.index) in kept]


def questions(task: Task, config: EvaluateConfig) -> list[Ask]:
    """Every item as it is and, when wanted, with another item's picture in place of its own."""
    name, profile, longest = task.rules.name, task.settings.prompts or config.prompts, task.settings.max_new_tokens
    asks = [Ask("real", name, item.index, task.rules.prompt(item, profile), longest) for item in task.items]
    if not config.blind:
        return asks
    donors = derange([ask.message.images for ask in asks], f"{config.seed}:{task.rules.name}")
    return asks + [
        Ask("blind", name, ask.index, with_images(ask.message, donor), longest)
        for ask, donor in zip(asks, donors, strict=True)
    ]


def derange(images: Sequence[tuple[Image, ...]], seed: str) -> list[tuple[Image, ...]]:
    """For every item the pictures of another: different pictures are exchanged along one random cycle.

    Items that share pictures get the same ones again, so pairs and groups stay together.

    Raises:
        UserError: all items show the same picture, so none can be exchanged.
    """
    own = [digest([_content(image) for image in group]) for group in images]
    first = {key: group for key, group in zip(own, images, strict=True) if group}
    if len(first) == 1:
        raise UserError("a blind run needs at least two different pictures; set evaluate.blind=false")
    cycle = sorted(first)
    random.Random(seed).shuffle(cycle)
    following = dict(zip(cycle, cycle[1:] + cycle[:1], strict=True))
    return [first[following[key]] if key in following else () for key in own]


def _content(image: Image) -> str:
    """What tells pictures apart; the path of one that cannot be read, which then fails by name."""
    try:
        return image_bytes(image).hex()
    except OSError:
        return str(image)


def with_images(message: Message, images: Sequence[Image]) -> Message:
    """The message with other pictures at its places for pictures (repeated or cut to as many as it has)."""
    places = iter([images[number % len(images)] for number in range(len(message.images))] if images else [])
    return Message(tuple(part if isinstance(part, str) else next(places) for part in message.parts), message.system)
