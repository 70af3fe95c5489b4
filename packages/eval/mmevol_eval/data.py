"""Stage `benchmarks`: a folder of benchmark files in their official formats.

`source: twins` writes the tiny twins from the held-out pictures; `source: official` checks that the published files
are there and links them. Either way the evaluation reads the folder through the same loaders.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from mmevol_core.config import Config
from mmevol_core.errors import UserError, unknown
from mmevol_core.progress import Progress
from mmevol_core.stage import Stage, StageResult
from mmevol_eval.benchmark import Benchmark
from mmevol_eval.benchmarks import find
from mmevol_eval.fetch import missing
from mmevol_eval.twins import (
    ai2d,
    blink,
    gqa,
    hallusionbench,
    mathvista,
    mia,
    mme,
    mmmu,
    mmsinst,
    mmstar,
    pope,
    realworldqa,
    vqav2,
)
from mmevol_eval.twins.scene import Scene, read_scenes

FOLDER = "benchmarks"
TWINS: dict[str, Callable[[Sequence[Scene], Path, int, int], int]] = {
    "MME": mme.write,
    "MMStar": mmstar.write,
    "HallusionBench": hallusionbench.write,
    "MathVista_MINI": mathvista.write,
    "MMMU_DEV_VAL": mmmu.write,
    "AI2D_TEST": ai2d.write,
    "POPE": pope.write,
    "BLINK": blink.write,
    "RealWorldQA": realworldqa.write,
    "VQAv2": vqav2.write,
    "GQA": gqa.write,
    "MIA-Bench": mia.write,
    "MMSInst": mmsinst.write,
}


class BenchmarksConfig(Config):
    """Settings of stage `benchmarks`."""

    source: Literal["twins", "official"]
    names: tuple[str, ...]  # benchmarks, in the order of the report
    items: int = 300  # questions per twin, about
    seed: int = 0
    path: Path | None = None  # official: folder with NAME.tsv files and NAME/ folders


def prepare(config: BenchmarksConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """Write the twins, or link the official files, under `out_dir/benchmarks`.

    Raises:
        UserError: no held-out pictures for twins, an unknown name, or an official file that is not there.
    """
    root = out_dir / FOLDER
    root.mkdir(parents=True, exist_ok=True)
    if config.source == "official":
        return StageResult({FOLDER: root}, _link_official(config, root))
    if "held_out" not in inputs:
        raise UserError(
            "benchmarks.source=twins needs the held_out pictures of the tiny world; run stage seed with them"
        )
    return StageResult({FOLDER: root}, write_twins(inputs["held_out"], root, config, out_dir))


def write_twins(held_out: Path, root: Path, config: BenchmarksConfig, out_dir: Path) -> dict[str, int]:
    """Write each twin; return its number of items. A twin is a function of (pictures, items, seed) alone."""
    for name in config.names:
        if name not in TWINS:
            raise unknown("twin", name, TWINS, where="benchmarks.names")
    scenes = read_scenes(held_out)
    counts: dict[str, int] = {}
    with Progress(out_dir, "write twins", len(config.names), "benchmarks") as progress:
        for name in config.names:
            _remove(root / name)
            counts[name] = TWINS[name](scenes, root, config.items, config.seed)
            progress.advance()
    return counts


def locate(root: Path, benchmark: Benchmark) -> Path:
    """The file or folder of a benchmark: NAME.tsv or NAME/, by its name or any of its aliases.

    Raises:
        UserError: none of them exists.
    """
    names = (benchmark.name, *benchmark.aliases)
    for name in names:
        for path in (root / f"{name}.tsv", root / name):
            if path.exists():
                return path
    tried = ", ".join(f"{name}.tsv or {name}/" for name in names)
    raise UserError(f"{missing(benchmark.name, root)} (looked for {tried})")


def _link_official(config: BenchmarksConfig, root: Path) -> dict[str, int]:
    if config.path is None:
        raise UserError("benchmarks.path is not set; point it to the folder with the official benchmark files")
    found = [(locate(config.path, find(name)), find(name)) for name in config.names]
    counts: dict[str, int] = {}
    for path, benchmark in found:
        link = root / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
        counts[benchmark.name] = sum(1 for _ in benchmark.load(link))
    return counts


def _remove(path: Path) -> None:
    """Take away what an interrupted earlier call may have left."""
    if path.is_dir():
        shutil.rmtree(path)


STAGE = Stage(config=BenchmarksConfig, needs=(), run=prepare, version="3", accepts=("held_out",))
