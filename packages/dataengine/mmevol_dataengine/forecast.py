"""What evolving and curating will take, from the prompts that will be sent, before the first of them is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from mmevol_core.errors import UserError
from mmevol_core.estimate import Estimate, estimate
from mmevol_core.sample import Sample, from_dict
from mmevol_dataengine.curation import CurationConfig
from mmevol_dataengine.curator import load
from mmevol_dataengine.evolve import EvolveConfig
from mmevol_dataengine.recipes import find
from mmevol_dataengine.recipes.recipe import Load
from mmevol_dataengine.seed import SeedConfig, seed_rows
from mmevol_dataengine.teacher import TeacherConfig

LOOKED_AT = 200  # records whose prompts are built
LATENCY_S = 5.0  # of one answer; a guess that matters only where no rate limit is set


@dataclass(frozen=True)
class Forecast:
    """Estimates for the teacher and, when it is another model, the judge; an upper bound but for repeated requests."""

    stage: str
    records: int
    teacher: Estimate
    judge: Estimate | None
    stops: tuple[str, ...]  # what stops the spending: of the teacher and, when there is one, of the judge

    @property
    def usd(self) -> float:
        """Money of both models."""
        return self.teacher.usd + (self.judge.usd if self.judge else 0.0)

    def lines(self) -> list[str]:
        """The records and the money, then a line a model with what stops its spending: each has a limit of its own."""
        found = [
            f"{self.stage}: {self.records:,} records, at most {self.usd:,.2f} USD when no answer has to be asked for"
            " twice",
            f"{self.stage}: the teacher at most {self.teacher}; {self.stops[0]}",
        ]
        if self.judge:
            found.append(f"{self.stage}: the judge at most {self.judge}; {self.stops[1]}")
        return found


def _stop(endpoint: TeacherConfig, key: str, said: Estimate) -> str:
    """What stops the spending on one model; `key` is its section of the configuration."""
    if endpoint.kind == "scripted":
        return "free"
    if not (endpoint.usd_per_m_prompt or endpoint.usd_per_m_completion):
        return f"no price is set ({key}.usd_per_m_prompt), so no money is counted"
    if endpoint.max_usd is None:
        return f"nothing stops it (set {key}.max_usd)"
    enough = "" if said.usd <= endpoint.max_usd else f", after about {endpoint.max_usd / said.usd:.0%} of the records"
    return f"{key}.max_usd stops it at {endpoint.max_usd:g} USD{enough}"


def forecast(config: EvolveConfig, samples: Iterable[Sample], records: int) -> Forecast:
    """Estimate evolving `records` records that are like `samples`."""
    recipe = find(config.recipe.name)
    loads = (recipe.load(config.recipe, sample, config.teacher.sees_image) for sample in samples)
    return _forecast("evolve", config.teacher, config.judge, loads, records)


def curation_forecast(config: CurationConfig, samples: Iterable[Sample], records: int) -> Forecast | None:
    """Estimate curating `records` records that are like `samples`, none of them joined; None when nobody is asked."""
    if config.teacher is None:
        return None
    sees = config.teacher.sees_image
    loads = (load(config.curator, sample, sees) for sample in samples)
    return _forecast("curation", config.teacher, config.judge, loads, records)


def _forecast(
    stage: str, teacher: TeacherConfig, judge: TeacherConfig | None, loads: Iterable[tuple[Load, Load]], records: int
) -> Forecast:
    """From what each of some records asks of teacher and judge."""
    writing, judging, seen = Load(), Load(), 0
    for mine, theirs in loads:
        writing, judging, seen = writing + mine, judging + theirs, seen + 1
    scale = records / seen if seen else 0.0
    if judge is None:
        both = _said(teacher, writing + judging, scale)
        return Forecast(stage, records, both, None, (_stop(teacher, "teacher", both),))
    written, judged = _said(teacher, writing, scale), _said(judge, judging, scale)
    stops = _stop(teacher, "teacher", written), _stop(judge, f"{stage}.judge", judged)
    return Forecast(stage, records, written, judged, stops)


def forecast_file(config: EvolveConfig | CurationConfig, path: Path) -> Forecast | None:
    """Estimate a run over a file of records, from at most `LOOKED_AT` of them, evenly spread.

    Raises:
        UserError: the file is absent or broken.
    """
    records = sum(1 for _ in islice(_lines(path), config.limit))
    every = max(1, -(-records // LOOKED_AT))
    spread = islice(islice(_lines(path), config.limit), 0, None, every)
    rows = (from_dict(orjson.loads(line), f"{path} record {place * every + 1}") for place, line in enumerate(spread))
    if isinstance(config, CurationConfig):
        return curation_forecast(config, rows, records)
    return forecast(config, rows, records)


def forecast_seeds(config: EvolveConfig | CurationConfig, seed: SeedConfig) -> Forecast | None:
    """Estimate a run over the records that a seed file will give, in one pass over it; pictures are not looked at.

    Raises:
        UserError: the file is absent or broken.
    """
    rows = islice(seed_rows(seed, None, {}), seed.limit)
    records, some = _spread(islice((row for row in rows if isinstance(row, Sample)), config.limit))
    if isinstance(config, CurationConfig):
        return curation_forecast(config, some, records)
    return forecast(config, some, records)


def _spread(samples: Iterable[Sample]) -> tuple[int, list[Sample]]:
    """How many there are, and at most `LOOKED_AT` of them, evenly spread over a length that nobody knows before."""
    count, every, some = 0, 1, list[Sample]()
    for sample in samples:
        if count % every == 0:
            some.append(sample)
        if len(some) > LOOKED_AT:
            some, every = some[::2], every * 2
        count += 1
    return count, some


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from (line for line in file if line.strip())
    except FileNotFoundError as error:
        raise UserError(f"file not found: {path}; run the stage seed first") from error


def _said(endpoint: TeacherConfig, load: Load, scale: float) -> Estimate:
    requests = load.requests * scale
    if not requests:
        return estimate(endpoint, 0, 0.0, 0.0, LATENCY_S)
    pictures = load.pictures * endpoint.tokens_per_image * endpoint.sees_image
    each = (load.prompt_tokens + pictures) / load.requests, load.completion_tokens / load.requests
    return estimate(endpoint, round(requests), *each, LATENCY_S)
