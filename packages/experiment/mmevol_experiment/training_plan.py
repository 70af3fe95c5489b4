"""What the training stages of an experiment will ask of every GPU, from shapes alone: no weights, no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_experiment.experiment import Experiment
from mmevol_experiment.preflight import gpu_count

GIB = 2**30
PAPER_ROWS = {"pretrain": 256, "finetune": 128}  # a step, over all GPUs: MMEvol's README; its scripts make 512


def training_lines(experiment: Experiment) -> list[str]:
    """Lines about each training stage that has still to run and needs GPUs.

    Raises:
        UserError: when shapes do not fit each other, or a whole picture does not fit into a row.
    """
    if not experiment.config.requires.gpus:
        return []
    pending = {job.node.stage: job for job in experiment.jobs.values() if job.done is None}
    found = []
    for stage in ("pretrain", "finetune"):
        if stage in pending:
            found += list(stage_lines(stage, pending[stage].node.config, experiment.config.requires.gpus))
    return found


def stage_lines(stage: str, values: Any, gpus: int) -> Iterator[str]:
    """Lines about one stage, whose configuration are `values`, on so many GPUs."""
    from mmevol_train.config import FinetuneConfig, PretrainConfig
    from mmevol_train.memory import largest_picture, need
    from mmevol_train.shapes import projector, shapes

    config = fit(PretrainConfig if stage == "pretrain" else FinetuneConfig, values, stage)
    language, tower = shapes(config.backbone)
    ranks = (gpus if config.engine.processes is None else config.engine.processes) * config.engine.nodes
    ranks = 1 if config.engine.name == "single" else ranks
    most, views = largest_picture(config.backbone)
    packed = config.batching == "packed"
    if packed and config.max_length > config.pack_length:
        raise UserError(
            f"{stage}: max_length={config.max_length} takes rows that do not fit into pack_length={config.pack_length}"
            f"; set {stage}.pack_length={config.max_length}, or {stage}.max_length={config.pack_length}"
        )
    room = min(config.max_length, config.pack_length) if packed else config.max_length
    if most >= room:
        ways = "max_length and pack_length" if packed else "max_length"
        raise UserError(f"{stage}: a picture takes up to {most} tokens, more than the {room} of a row; raise {ways}")
    parts = (language.parameters, tower.parameters, projector(language, tower))
    yield (
        f"{stage}: {sum(parts):,} parameters ({parts[0]:,} language model, {parts[1]:,} tower, {parts[2]:,} projector)"
        f"; a picture takes up to {most:,} of {room:,} tokens ({views} views)"
    )
    yield f"{stage}: {rows_a_step(stage, config, ranks)}"
    wanted = need(config, language, tower, ranks)
    shares = ", ".join(
        f"{name} {getattr(wanted, name) / GIB:.1f}" for name in ("weights", "gradients", "optimizer", "activations")
    )
    host = f", and {wanted.host / GIB:.0f} GiB of host memory for each" if wanted.host else ""
    yield (
        f"{stage}: about {wanted.total / GIB:.0f} GiB a GPU with {config.engine.name} on {ranks} ({shares}){host}; "
        f"formulas in mmevol_train/memory.py{_verdict(wanted)}"
    )


def rows_a_step(stage: str, config: Any, ranks: int) -> str:
    """The global batch as the product it is, beside the paper's."""
    if config.batching == "packed":
        tokens = config.pack_length * config.accumulate * ranks
        wanted = f"; a warning where their mean is not near {config.global_batch}" if config.global_batch else ""
        return (
            f"{ranks} GPUs x {config.accumulate} packed rows of {config.pack_length:,} = {tokens:,} tokens a step; "
            f"as many rows as fit, counted when they are read{wanted}"
        )
    rows = global_batch(config, ranks)
    paper = PAPER_ROWS[stage]
    same = "as the paper" if rows == paper else f"the paper: {paper}"
    return f"{ranks} GPUs x {config.batch_size} x {config.accumulate} = {rows} rows a step ({same})"


def global_batch(config: Any, ranks: int) -> int:
    """Rows of an optimizer step: per device x accumulation x ranks."""
    return int(config.batch_size * config.accumulate * ranks)


def _verdict(wanted: Any) -> str:
    if not gpu_count():
        return ""
    import torch

    capacity = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
    if not capacity:
        return ""
    fits = "fits" if wanted.fits(capacity) else "does not fit"
    return f"; {fits} the {capacity / GIB:.0f} GiB here"
