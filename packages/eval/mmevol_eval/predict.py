"""One model on one benchmark's file, without an experiment: what `mmevol predict` does and `mmevol score` reads."""

from __future__ import annotations

from pathlib import Path

from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_core.files import read_json, write_json, write_jsonl
from mmevol_eval.answering import LOG, collect, refuse_failures
from mmevol_eval.benchmark import BenchmarkSettings
from mmevol_eval.benchmarks import find
from mmevol_eval.endpoints import endpoint_from
from mmevol_eval.fetch import missing
from mmevol_eval.models.endpoint import ModelEndpoint
from mmevol_eval.protocol import tell
from mmevol_eval.settings import EvaluateConfig, ModelConfig
from mmevol_eval.tasks import load_tasks

FORMS = "a checkpoint folder, the YAML file of an endpoint, or ADDRESS#MODEL (http://localhost:8000/v1#Qwen2-VL)"

OWN = {"names", "model", "settings", "blind", "probes"}  # what `predict` sets itself
SERVER = "server.json"  # in the kept folder: whose answers these are


def predict(benchmark: str, data: Path, model: str, out: Path, options: EvaluateConfig) -> int:
    """Answer every item of a benchmark and write lines `{"index", "prediction"}` in the file's order.

    Beside it, `out` with the suffix `.protocol.json` says how they were asked for; `mmevol score` reads it. What was
    answered before is kept in the folder `out` with the suffix `.run`, so that the same command continues.

    Args:
        benchmark: its name or an alias.
        data: official TSV or folder.
        model: see `FORMS`.
        out: file to write, once all is answered.
        options: how to ask; names, model and settings are set here, and nothing is asked twice for a blind run.

    Returns:
        Number of items without an answer (allowed by `options.max_failed`); their lines say why in `failure`.

    Raises:
        UserError: `out` keeps another server's answers; an unknown benchmark, unreadable data, an `out` that is no
            file, a model that is none, or too many items without an answer.
    """
    name = find(benchmark).name
    if not data.exists():
        raise UserError(missing(name, data))
    if out.is_dir() or out.suffix == ".run":
        raise UserError(f"--out {out} names a folder, or the one that is kept beside it; give a file such as p.jsonl")
    checkpoint, endpoint = model_of(model)
    config = EvaluateConfig(
        **{key: getattr(options, key) for key in options.model_fields_set - OWN},
        names=(name,),
        model=endpoint,
        settings={name: BenchmarkSettings(path=data)},
        blind=False,
        probes=False,
    )
    (task,) = load_tasks(config, None)
    _same_server(config, out.with_suffix(".run"))
    inputs = {"checkpoint": checkpoint} if checkpoint else {}
    collected = collect(config, [task], inputs, out.with_suffix(".run"))
    answers = collected.answers
    refuse_failures(answers, config)
    rows = []
    for item in task.items:
        answer = answers["real", name, item.index]
        row: dict[str, str | bool] = {"index": item.index, "prediction": answer.text}
        more = {"failure": answer.failure, "truncated": answer.truncated}  # each when there is something to say
        rows.append(row | {name: value for name, value in more.items() if value is not None})
    write_jsonl(out, rows)
    decoding = {**collected.decoding, "max_new_tokens": task.settings.max_new_tokens}
    tell(out, task.settings.prompts or config.prompts, decoding)
    return sum("failure" in row for row in rows)


def _same_server(config: EvaluateConfig, kept: Path) -> None:
    """Remember who answers, and refuse to pass its answers off as those of a server elsewhere."""
    if config.model is None:
        return
    address, known = config.model.endpoint.base_url, kept / SERVER
    log = kept / LOG
    answered = log.is_file() and log.stat().st_size > 0
    before = read_json(known).get("base_url", address) if answered and known.is_file() else address
    if before != address:
        raise UserError(
            f"{kept} keeps answers of {before}, not of {address}: give another --out, or, where the same model has "
            f"only moved, delete {known}"
        )
    kept.mkdir(parents=True, exist_ok=True)
    write_json(known, {"base_url": address})


def model_of(text: str) -> tuple[Path | None, ModelConfig | None]:
    """The checkpoint folder or the endpoint that a text names.

    Raises:
        UserError: it is neither, or the YAML file holds other keys than an endpoint's.
    """
    if text.startswith(("http://", "https://")):
        address, _, model = text.partition("#")
        if not model:
            raise UserError(f"which model at {address}? Write {address}#MODEL; `model` is what the server calls it")
        return None, ModelConfig(endpoint=fit(ModelEndpoint, {"base_url": address, "model": model}, "model"))
    path = Path(text)
    if path.suffix in {".yaml", ".yml"}:
        return None, ModelConfig(endpoint=endpoint_from(path, ModelEndpoint, "model", FORMS))
    if not path.is_dir():
        raise UserError(f"no model {text!r}; valid: {FORMS}")
    return path, None
