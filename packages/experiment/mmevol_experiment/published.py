"""Which benchmark files an experiment will read, and whether they are the published ones: looked at before it spends.

Files of the folder `benchmarks.path` are held to their published MD5 by `--offline`, and are noted without it; a file
that is named by itself (`benchmark.NAME.settings.path`) may be another one and is noted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_eval.benchmark import PublishedData
from mmevol_eval.benchmarks import find
from mmevol_eval.checksums import Sum, check_sums
from mmevol_eval.data import BenchmarksConfig, locate
from mmevol_eval.settings import EvaluateConfig
from mmevol_eval.tasks import first, without_pictures
from mmevol_experiment.experiment import Experiment

CACHE = "checksums.json"  # below the folder of outputs


@dataclass(frozen=True)
class Found:
    """What lies where the experiment will look; `refused` and `missing` are reasons not to start."""

    missing: list[str]
    refused: list[str]
    notes: list[str]


def look(experiment: Experiment) -> Found:
    """Check the files that stage runs still to be done will read.

    Missing are benchmarks that `benchmarks.path` lacks, and those whose pictures are not beside their file.
    """
    chosen = benchmarks_of(experiment)
    if not chosen:
        return Found([], [], [])
    config, missing = experiment.config, list[str]()
    made = fit(BenchmarksConfig, experiment.jobs["benchmarks"].node.config, "benchmarks")
    folder = made.path if made.source == "official" and made.path and made.path.is_dir() else None
    shared: list[tuple[PublishedData, Path]] = []
    own: list[tuple[PublishedData, Path]] = []
    for one in chosen.values():
        if one.settings.path is not None:
            own += [(one, one.settings.path)] if one.settings.path.exists() else []
        elif folder is not None:
            try:
                shared.append((one, locate(folder, find(one.name))))
            except UserError as error:
                missing.append(str(error))
    missing += _without_pictures(experiment, [*shared, *own])
    cache = config.paths.outputs / CACHE
    sums, own_sums = check_sums(shared, cache), check_sums(own, cache)
    refused = list(_refusals(sums, chosen, folder)) if config.offline and folder is not None else []
    return Found(missing, refused, list(_notes([*sums, *own_sums])))


def _without_pictures(experiment: Experiment, data: Iterable[tuple[PublishedData, Path]]) -> Iterator[str]:
    """Benchmarks whose pictures lie beside their file and are not there: only the evaluation would miss them."""
    evaluate = next(iter(experiment.pending("evaluate", EvaluateConfig).values()), None)
    for one, path in data:
        if evaluate is None or one.name not in evaluate.names or _holds_pictures(path):
            continue
        try:
            items = list(find(one.name).load(path))
            limit = evaluate.of(one.name).limit
            asked = first(items, limit) if limit else items
            if lacking := without_pictures(one.name, path, asked, evaluate.max_failed):
                yield lacking
        except UserError as error:
            yield str(error)


def _holds_pictures(path: Path) -> bool:
    """Whether it is a TSV with a column of pictures, as nearly all are."""
    if path.is_dir():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return "image" in file.readline().rstrip("\n").lower().split("\t")


def _refusals(sums: list[Sum], chosen: Mapping[str, PublishedData], folder: Path) -> Iterator[str]:
    keys = {one.name: key for key, one in chosen.items()}
    for one in sums:
        if one.state == "other":
            yield (
                f"{one.line}; fetch it anew (mmevol fetch {one.benchmark} --to {folder}), or say that this file is "
                f"meant: benchmark.{keys[one.benchmark]}.settings.path={one.path}"
            )


def _notes(sums: list[Sum]) -> Iterator[str]:
    for one in sums:
        if one.state == "other":
            yield f"NOT THE PUBLISHED FILE: {one.line}"
    same = sum(one.state == "published" for one in sums)
    without = [one.benchmark for one in sums if one.state == "without"]
    if sums:
        rest = f"; no MD5 is published for what lies here of {', '.join(without)}" if without else ""
        yield f"benchmark files: {same} of {len(sums)} have their published MD5{rest}"


def benchmarks_of(experiment: Experiment) -> dict[str, PublishedData]:
    """The benchmarks that stage runs still to be done will read, by their key in the configuration."""
    names = {name for stage in experiment.pending("evaluate", EvaluateConfig).values() for name in stage.names}
    names |= {name for stage in experiment.pending("benchmarks", BenchmarksConfig).values() for name in stage.names}
    suite = {key: fit(PublishedData, one, f"benchmark.{key}") for key, one in experiment.config.benchmark.items()}
    return {key: one for key, one in suite.items() if one.name in names}
