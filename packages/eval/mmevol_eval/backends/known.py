"""What the official package is asked to do, and which of it it can: checked before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmevol_core.config import Config
from mmevol_core.errors import UserError, unknown
from mmevol_eval.benchmark import VLMEVALKIT, VLMEVALKIT_02RC1, Benchmark, BenchmarkSettings
from mmevol_eval.benchmarks import find

RULES = f"{VLMEVALKIT_02RC1} (official package)"
NOT_OURS = "the official package"  # begins every refusal
OFFICIAL = {  # our name -> the package's; those with several of the kind go by the name of the file
    "MME": "MME",
    "MMStar": "MMStar",
    "HallusionBench": "HallusionBench",
    "MathVista_MINI": "MathVista_MINI",
    "MMMU_DEV_VAL": "MMMU_DEV_VAL",
    "AI2D_TEST": "AI2D_TEST",
    "POPE": "POPE",
    "BLINK": "BLINK",
    "RealWorldQA": "RealWorldQA",
    "GQA": "GQA_TestDev_Balanced",
    "MIA-Bench": "MIA-Bench",
    "MMVet": "MMVet",
    "LLaVABench": "LLaVABench",
    "OCRBench": "OCRBench",
    "MMBench": "MMBench_DEV_EN",
    "ScienceQA": "ScienceQA_TEST",
    "TextVQA": "TextVQA_VAL",
}


class OfficialConfig(Config):
    """The official package in place of our own loop and rules: `backend=vlmeval`, `backend=vlmeval_scores`."""

    environment: Path = Path(".venv-vlmeval")
    asks: bool = True  # its own loop asks the checkpoint; false: ours asks, and the package scores what was said

    @property
    def python(self) -> Path:
        """The interpreter of the package's environment.

        Raises:
            UserError: there is none.
        """
        python = self.environment / "bin" / "python"
        if not python.is_file():
            raise UserError(f"{NOT_OURS} is not installed: {python} does not exist; run `make vlmeval-env`")
        return python.absolute()


def official(benchmark: str) -> tuple[Benchmark, str]:
    """The benchmark and the package's name of it.

    Raises:
        UserError: an unknown benchmark, or one that the package does not have.
    """
    rules = find(benchmark)
    if rules.name not in OFFICIAL:
        raise unknown("benchmark of the official package", benchmark, OFFICIAL)
    exact = next((alias for alias in rules.aliases if alias.lower() == benchmark.lower()), "")
    several = rules.name in ("MMBench", "ScienceQA")
    return rules, exact if several and exact else OFFICIAL[rules.name]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an evaluation would have the package do: `benchmarks` with all their settings, and what holds for all."""

    benchmarks: Mapping[str, BenchmarkSettings]
    served: bool  # the model is behind an endpoint
    blind: bool
    probes: bool
    processes: int
    max_new_tokens: int


def check(backend: OfficialConfig, wanted: Wanted) -> None:
    """Refuse what the package lacks, and what it would ignore.

    Raises:
        UserError: naming the first such thing and what to set instead.
    """
    names = wanted.benchmarks
    lacking = [name for name in names if find(name).name not in OFFICIAL]
    if lacking:
        rest = ",".join(name for name in names if name not in lacking and not find(name).needs_judge)
        instead = f"choose suite=opencompass9, or evaluate.names=[{rest}]" if rest else "choose suite=opencompass9"
        raise UserError(f"{NOT_OURS} does not have {', '.join(lacking)}; {instead}")
    clash = next(_clashes(backend, wanted), None)
    if clash:
        raise UserError(f"{NOT_OURS} {clash}")


def _clashes(backend: OfficialConfig, wanted: Wanted) -> Iterator[str]:
    """What cannot be had together with the package, as the rest of a sentence about it."""
    if backend.asks and wanted.served:
        yield "asks checkpoints; for an endpoint choose backend=vlmeval_scores"
    for name, settings in wanted.benchmarks.items():
        yield from _judge_clashes(name, settings.judge or "none", backend)
        yield from _settings_clashes(name, settings, backend, wanted.max_new_tokens)
    if not backend.asks:
        return
    if wanted.blind or wanted.probes:
        key = "blind" if wanted.blind else "probes"
        yield f"asks the benchmarks as they are; set evaluate.{key}=false, or choose backend=vlmeval_scores"
    if wanted.processes != 1:
        yield f"asks in one process; set evaluate.processes=1 (it is {wanted.processes})"


def _judge_clashes(name: str, judge: str, backend: OfficialConfig) -> Iterator[str]:
    replayed = judge.startswith("replay:")
    if find(name).needs_judge and not replayed:
        yield f"scores {name} by a replayed judge alone; leave it out of evaluate.names, or set its judge to one"
    if replayed and backend.asks:
        yield f"has no judge for answers that it gets itself; leave out that of {name}, or backend=vlmeval_scores"
    if judge not in ("none", "scripted") and not replayed:
        yield f"takes a judge that is none or replay:FILE.jsonl, got {judge!r} for {name}"


def _settings_clashes(name: str, settings: BenchmarkSettings, backend: OfficialConfig, longest: int) -> Iterator[str]:
    if settings.limit is not None:
        yield f"reads whole files; leave out the limit of {name}"
    if settings.rules not in (None, VLMEVALKIT_02RC1):
        yield f"has rules of its own, {VLMEVALKIT_02RC1}; leave out the rules {settings.rules!r} of {name}"
    if backend.asks and settings.prompts != VLMEVALKIT:
        yield f"has prompts of its own; leave out the prompts {settings.prompts!r} of {name}"
    if backend.asks and settings.max_new_tokens != longest:
        yield f"asks all with one max_new_tokens; leave out that of {name}"
