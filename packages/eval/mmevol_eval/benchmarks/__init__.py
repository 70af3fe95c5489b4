"""The table of benchmarks: name -> module. To add one, see docs/add_a_benchmark.md."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from mmevol_core.errors import unknown
from mmevol_eval.benchmark import Benchmark

MODULES = {
    "MME": "mme",
    "MMStar": "mmstar",
    "HallusionBench": "hallusionbench",
    "MathVista_MINI": "mathvista_mini",
    "MMMU_DEV_VAL": "mmmu_dev_val",
    "AI2D_TEST": "ai2d_test",
    "POPE": "pope",
    "BLINK": "blink",
    "RealWorldQA": "realworldqa",
    "VQAv2": "vqav2",
    "GQA": "gqa",
    "MIA-Bench": "mia_bench",
    "MMSInst": "mmsinst",
    "MMVet": "mmvet",
    "LLaVABench": "llavabench",
    "OCRBench": "ocrbench",
    "MMBench": "mmbench",
    "ScienceQA": "scienceqa",
    "TextVQA": "textvqa",
    "SEEDBench_IMG": "seedbench_img",
}


@cache
def _named(name: str) -> Benchmark:
    benchmark = import_module(f"{__name__}.{MODULES[name]}").BENCHMARK
    if not isinstance(benchmark, Benchmark):
        raise TypeError(f"benchmarks/{MODULES[name]}.py: BENCHMARK is not a Benchmark")
    return benchmark


def names() -> tuple[str, ...]:
    """Names of all benchmarks, in the order of the paper's table."""
    return tuple(MODULES)


def find(name: str) -> Benchmark:
    """The benchmark of that name or alias (VLMEvalKit's names are aliases; case does not matter).

    Raises:
        UserError: no benchmark has it.
    """
    known = {}
    for own in MODULES:
        for alias in (own, *_named(own).aliases):
            known[alias.lower()] = own
    if name.lower() not in known:
        raise unknown("benchmark", name, names())
    return _named(known[name.lower()])
