"""From questions to answers, whoever gives them: this process, several of them, or an endpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_eval import probes
from mmevol_eval.models import Model, Prompt, Reply
from mmevol_eval.models.endpoint import EndpointModel
from mmevol_eval.predictions import Answers, Ask, answer_all
from mmevol_eval.settings import EvaluateConfig
from mmevol_eval.tasks import Task, questions

LOG = "predictions.jsonl"
JOURNAL = "model.sqlite"


@dataclass(frozen=True)
class Collected:
    """Every answer, and how it was decoded."""

    answers: Answers
    decoding: Mapping[str, Any]
    log: Path
    probe: probes.Probes | None


@dataclass(frozen=True)
class Finished:
    """A model that has answered everything in other processes: enough to look its answers up in the log."""

    fingerprint: str
    decoding: Mapping[str, Any]

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Reply]:
        """Nothing is left to be asked."""
        raise AssertionError(f"{len(prompts)} questions came after the processes had finished")

    def close(self) -> None:
        """Nothing to let go of."""


def collect(config: EvaluateConfig, tasks: Sequence[Task], inputs: Mapping[str, Path], out_dir: Path) -> Collected:
    """Ask every question of the tasks, and of the probes where there are held-out pictures.

    Raises:
        UserError: no model, or one that cannot answer.
    """
    asks, probe = all_asks(config, tasks, inputs)
    log = out_dir / LOG
    if config.processes > 1:
        from mmevol_eval.parallel import answer_in_processes

        answers, decoding = answer_in_processes(config, asks, inputs, out_dir)
        return Collected(answers, decoding, log, probe)
    with closing(open_model(config, inputs, out_dir)) as model:
        return Collected(answer_all(asks, model, log, out_dir), dict(model.decoding), log, probe)


def all_asks(
    config: EvaluateConfig, tasks: Sequence[Task], inputs: Mapping[str, Path]
) -> tuple[list[Ask], probes.Probes | None]:
    """All questions, equal in every process."""
    asks = [ask for task in tasks for ask in questions(task, config)]
    if not config.probes or "held_out" not in inputs:
        return asks, None
    probe = probes.prepare(inputs["held_out"], config.probe_items, config.seed)
    return [*asks, *probe.asks], probe


def open_model(config: EvaluateConfig, inputs: Mapping[str, Path], out_dir: Path, device: str | None = None) -> Model:
    """The endpoint, or the checkpoint on `device` (None: the configured one)."""
    if config.model is not None:
        endpoint = config.model.endpoint.model_copy(update={"max_tokens": config.max_new_tokens})
        return EndpointModel(endpoint, out_dir / JOURNAL)
    if "checkpoint" not in inputs:
        raise UserError("nobody to evaluate: give the stage a checkpoint, or set evaluate.model.endpoint")
    from mmevol_eval.models.local import LocalModel  # torch, which an endpoint does not need

    return LocalModel(
        inputs["checkpoint"],
        batch_size=config.batch_size,
        max_new_tokens=config.max_new_tokens,
        beams=config.beams,
        threads=config.threads,
        device=device or config.device,
    )


def refuse_failures(answers: Answers, config: EvaluateConfig) -> None:
    """Stop when more questions have no answer than `max_failed` allows: they would be scored as wrong.

    Raises:
        UserError: naming the benchmark with the largest share of them, and their reasons.
    """
    asked: Counter[tuple[str, str]] = Counter((run, name) for run, name, _ in answers)
    failed: dict[tuple[str, str], Counter[str]] = {}
    for (run, name, _), answer in answers.items():
        if answer.failure is not None:
            failed.setdefault((run, name), Counter())[answer.failure] += 1
    if not failed:
        return
    (run, name), reasons = max(failed.items(), key=lambda pair: pair[1].total() / asked[pair[0]])
    share = reasons.total() / asked[run, name]
    if share > config.max_failed:
        why = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        raise UserError(
            f"{name} ({run}): {reasons.total()} of {asked[run, name]} questions have no answer: {why}; the same "
            f"command asks them again; evaluate.max_failed={share:.2g} would be another run, with them as wrong",
            status=3,
        )
