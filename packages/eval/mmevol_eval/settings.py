"""What a person can set about an evaluation: conf/evaluate, and conf/benchmark for single benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, model_validator

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_eval.backends import known
from mmevol_eval.benchmark import VLMEVALKIT_02RC1, BenchmarkSettings
from mmevol_eval.models.endpoint import ModelEndpoint

OF_CHECKPOINTS = ("beams", "batch_size", "device", "threads", "processes")  # an endpoint would ignore them


class ModelConfig(Config):
    """A model that is not a checkpoint of the experiment."""

    endpoint: ModelEndpoint


class EvaluateConfig(Config):
    """Settings of stage `evaluate`; what changes no answer is no part of its fingerprint (`exclude`)."""

    names: tuple[str, ...]  # benchmarks, in the order of the report
    versions: Mapping[str, str] = Field(default_factory=dict)  # of their code, by the experiment: others are run anew
    model: ModelConfig | None = None  # None: the checkpoint that the stage is given
    settings: Mapping[str, BenchmarkSettings] = Field(default_factory=dict)  # by name of the benchmark
    prompts: str = "vlmevalkit"  # profile of prompts: vlmevalkit, mmevol, mmevol_compat
    rules: str | None = None  # profile of rules; None: each benchmark's default
    batch_size: int = Field(default=64, ge=1, exclude=True)  # halved when memory runs out
    max_new_tokens: int = Field(default=20, ge=1)
    beams: int = Field(default=1, ge=1)
    blind: bool = True  # ask again with the pictures exchanged
    threads: int = Field(default=1, ge=1, exclude=True)
    device: str = "cpu"  # cpu, cuda, cuda:N; auto: cuda where there is one
    processes: int = Field(default=1, ge=1, exclude=True)  # by torchrun, one GPU each; endpoints have concurrency
    judge: str = "none"  # none, scripted (tiny MIA-Bench only), replay:FILE.jsonl or a judge's YAML
    max_failed: float = Field(default=0.0, ge=0, le=1)  # share of items that may stay without an answer, and are wrong
    contaminated: Path | None = None  # JSONL {"benchmark", "index"}: items that training data met; scored without too
    seed: int = 0
    probes: bool = True  # gates of the tiny world, from the held-out pictures
    probe_items: int = 300
    resamples: int = 2000
    backend: known.OfficialConfig | None = Field(default=None, exclude_if=lambda value: value is None)
    verdicts: Path | None = Field(default=None, exclude=True)  # SQLite file of what judges said, shared by all runs

    @model_validator(mode="after")
    def _the_official_package_can_do_it(self) -> EvaluateConfig:
        if self.backend is not None:
            wanted = known.Wanted(
                benchmarks={name: self._filled(name) for name in self.names},
                served=self.model is not None,
                **{key: getattr(self, key) for key in ("blind", "probes", "processes", "max_new_tokens")},
            )
            known.check(self.backend, wanted)
        return self

    @model_validator(mode="after")
    def _an_endpoint_decodes_by_itself(self) -> EvaluateConfig:
        if self.model is not None and "max_tokens" in self.model.endpoint.model_fields_set:
            raise UserError(
                "the model's endpoint sets max_tokens; how long an answer may be is evaluate.max_new_tokens (predict: "
                "--max-new-tokens): set that and leave max_tokens out"
            )
        given = [key for key in OF_CHECKPOINTS if key in self.model_fields_set] if self.model is not None else []
        if given:
            raise UserError(
                f"evaluate.{given[0]} is for checkpoints; an endpoint decodes by itself and has "
                f"evaluate.model.endpoint.concurrency: leave evaluate.{given[0]} out"
            )
        return self

    def of(self, name: str) -> BenchmarkSettings:
        """The settings of one benchmark, each filled from those for all; the official package has rules of its own."""
        filled = self._filled(name)
        return filled if self.backend is None else filled.model_copy(update={"rules": VLMEVALKIT_02RC1})

    def _filled(self, name: str) -> BenchmarkSettings:
        own = self.settings.get(name, BenchmarkSettings())
        common = ("prompts", "rules", "judge", "max_new_tokens")
        filled = {key: getattr(self, key) for key in common if getattr(own, key) is None}
        return own.model_copy(update=filled)
