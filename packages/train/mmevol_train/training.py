"""What pretraining and fine-tuning share, from files to checkpoint, top to bottom."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from mmevol_core.config import every_key
from mmevol_core.errors import UserError, unknown
from mmevol_core.progress import Progress
from mmevol_core.stage import StageResult
from mmevol_core.tracking import FILE_NAME, Tracker, read_metrics
from mmevol_train import checkpoint
from mmevol_train.collate import Collator
from mmevol_train.config import TrainConfig, rows_a_step
from mmevol_train.corpus import Corpus
from mmevol_train.dataset import Conversations, blank_row, read_corpus
from mmevol_train.engine import arguments, prepare_process, private, rank, wait, world_size
from mmevol_train.finish import choose, finish
from mmevol_train.groups import freeze
from mmevol_train.held_out import held_out, split
from mmevol_train.images import Normalizer
from mmevol_train.launch import STOPPED
from mmevol_train.monitor import Meter
from mmevol_train.packing import PackedCollator, use_packing
from mmevol_train.rows import Reading
from mmevol_train.sampler import Plan, plan
from mmevol_train.sharded import layer_classes
from mmevol_train.trainer import PartsTrainer
from mmevol_train.watch import Watch, stops_politely

log = logging.getLogger(__name__)


def train(
    config: TrainConfig, stage: str, model: Any, processor: Any, data: Path, images: Path, out_dir: Path,
    match: Path | None = None, base: Path | None = None,
) -> StageResult:  # fmt: skip
    """Train `model` on LLaVA JSON and leave `checkpoint/` and `metrics.jsonl` under `out_dir`.

    What a resumed run needs stays in `training/` until `launch.spread` has the result on disk.

    Killed at any step and called again, it goes on from the last whole checkpoint with the same losses and ends with
    the same weights. `match` is another arm's conversations: own rows are repeated to as many training tokens.
    `base` is the folder that `model` came from; adapters are merged into its weights.
    """
    started = time.monotonic()
    prepare_process(config)
    reading = reading_of(config, stage, processor)
    corpus = _corpus(data, images, reading, config, out_dir, out_dir / "refused.jsonl")
    order = make_plan(config, corpus, _tokens(match, images, reading, config, out_dir))
    model = adapted(prepared(model, config), config)
    groups = freeze(model, config)
    learns = [group.row() for group in groups]  # counted before an engine cuts them into shards
    rows_each = _rows_a_step(stage, config, order)
    _announce(learns, config, rows_each)
    order, steps, planned = _until(order, config)
    work = out_dir / "training"
    previous = checkpoint.latest(work, clean=rank() == 0, ranks=world_size())
    wait()
    rows = Conversations(corpus, images, reading, config.image_cache_mb)
    blank = blank_row(int(processor.image_token_id), reading)
    padded = Collator(processor.tokenizer.pad_token_id, blank)
    packs = config.batching == "packed"
    aside = held_out(corpus.lengths, config)
    with (
        Progress(private(out_dir), stage, steps, "steps") as progress,
        _tracker(config, stage, out_dir, previous) as tracker,
    ):
        watch, meter = Watch(config, progress, aside), Meter(config, model.config, corpus)
        if previous:
            wait()  # the first process has dropped the lines of steps that come again
            meter.remember(read_metrics(out_dir / FILE_NAME))
        trainer = PartsTrainer(
            config=config, groups=groups, plan=order, normalizer=_normalizer(processor), tracker=tracker,
            meter=meter, held_out=aside, schedule_steps=planned, model=model,
            args=arguments(config, work, steps, layer_classes(model), planned), train_dataset=rows,
            data_collator=PackedCollator(blank) if packs else padded, padded=padded if packs else None,
            callbacks=[watch],
        )  # fmt: skip
        with stops_politely(watch):
            trainer.train(resume_from_checkpoint=str(previous) if previous else None)
        if watch.stop_asked and trainer.state.global_step < steps:
            raise UserError(f"stopped at step {trainer.state.global_step}; the same command continues", status=STOPPED)
    result = {**choose(config, trainer, work), **finish(config, trainer, processor, out_dir, base)}
    wait()
    metrics = {**_learned(order, steps, corpus, config, out_dir), "rows_a_step": rows_each, "trainable": learns}
    metrics |= {"seconds": time.monotonic() - started, **result}
    return StageResult({"checkpoint": out_dir / "checkpoint", "losses": out_dir / FILE_NAME}, metrics)


def _learned(order: Plan, steps: int, corpus: Corpus, config: TrainConfig, out_dir: Path) -> dict[str, Any]:
    """What the run learned from, counted, and its last loss."""
    losses = read_metrics(out_dir / FILE_NAME)
    return {
        "train_samples": sum(map(len, order.batches)), "train_tokens": order.total(corpus.lengths),
        "supervised_tokens": order.total(corpus.supervised), "steps": steps,
        "final_loss": losses[-1]["loss"] if losses else None,
        "rows": accounting(corpus, config), "rows_dropped_at_end": order.dropped, "rows_not_reached": order.unreached,
    }  # fmt: skip


def _multiple(config: TrainConfig) -> int:
    """Micro-batches of a step, over all processes."""
    return config.accumulate * world_size()


def _rows_a_step(stage: str, config: TrainConfig, order: Plan) -> float:
    """Rows of a step, as asserted; of packed rows, which hold what fits, the mean over the plan.

    Arms of one experiment share `accumulate` and fill packed rows differently, so a mean that is not `global_batch`
    is said and recorded, not refused.
    """
    if config.batching == "padded":
        return rows_a_step(stage, config, world_size())
    rows, wanted = order.rows_a_step(_multiple(config)), config.global_batch
    each = rows / config.accumulate
    if wanted is not None and abs(rows - wanted) > 0.6 * each and rank() == 0:  # whole numbers come within a half
        way = f"accumulate={round(wanted / each)}" if wanted > each / 2 else "a smaller pack_length"
        said = "%s: packed rows make %.1f rows a step on average, not global_batch=%d; %s would come nearest"
        log.warning(said, stage, rows, wanted, way)
    return round(rows, 1)


def _announce(learns: list[dict[str, Any]], config: TrainConfig, rows: float) -> None:
    """What learns, and from how many rows a step."""
    if rank() != 0:
        return
    for row in learns:
        log.info("%(part)s: %(parameters)d parameters learn at %(lr).3g", row)
    ways = config.accumulate, world_size()
    if config.batching == "packed":
        log.info("%.1f rows a step on average: a packed row x %d accumulated x %d processes", rows, *ways)
        return
    log.info("%d rows a step: %d in a micro-batch x %d accumulated x %d processes", rows, config.batch_size, *ways)


def _until(order: Plan, config: TrainConfig) -> tuple[Plan, int, int]:
    """(plan, its steps, steps of the whole plan): cut where the configuration says that the run stops."""
    multiple = _multiple(config)
    planned = len(order.batches) // multiple
    steps = min(planned, config.stop_at_step or planned)
    return order.first(steps * multiple), steps, planned


@contextmanager
def _tracker(config: TrainConfig, stage: str, out_dir: Path, previous: Path | None) -> Iterator[Tracker | None]:
    """The run's numbers, written by the first process; lines of steps that will be done again are dropped."""
    if rank() != 0:
        yield None
        return
    name = f"{stage}-{config.backbone.name}"
    tracker = Tracker(config.tracking, out_dir, name, every_key(config), _step(previous) + 1)
    try:
        yield tracker
    finally:
        tracker.finish()


def prepared(model: Any, config: TrainConfig) -> Any:
    """The model with the attention and the kernels that the configuration asks for; a checkpoint does not say them."""
    model.model.language_model.set_attn_implementation(config.backbone.attention)
    if config.batching == "packed":
        use_packing(model)
    if config.liger:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance as fuse

        # the loss is this project's own, on supervised places only
        fuse(model=model.model.language_model, cross_entropy=False, fused_linear_cross_entropy=False)
    return model


def adapted(model: Any, config: TrainConfig) -> Any:
    """The model with low-rank adapters on its language model when the configuration asks for them.

    Raises:
        UserError: when the language model has no linear layer of a name.
    """
    if config.lora is None:
        return model
    import peft

    layers = model.model.language_model.named_modules()
    linear = {name.rpartition(".")[2] for name, layer in layers if isinstance(layer, nn.Linear)}
    for name in config.lora.targets:
        if name not in linear:
            raise unknown("linear layer", name, linear, where="lora.targets")
    names = "|".join(config.lora.targets)
    shape = peft.LoraConfig(
        r=config.lora.rank, lora_alpha=config.lora.alpha, lora_dropout=config.lora.dropout,
        target_modules=rf".*language_model\..*\.({names})",
    )  # fmt: skip
    return peft.get_peft_model(model, shape)


def reading_of(config: TrainConfig, stage: str, processor: Any) -> Reading:
    """How rows become tokens under this configuration."""
    tile, patch = processor.image_processor.crop_size["height"], processor.patch_size
    return Reading(
        tokenizer=processor.tokenizer.backend_tokenizer, template=config.backbone.chat_template,
        jinja=processor.chat_template,
        system=config.backbone.system, stage=stage, mode=config.label_mode, special_text=config.special_text,
        max_length=config.max_length, tile=tile, patch=patch,
        pinpoints=tuple((high, wide) for high, wide in processor.image_processor.image_grid_pinpoints),
    )  # fmt: skip


def make_plan(config: TrainConfig, corpus: Corpus, tokens: int | None) -> Plan:
    """The order of the whole run, over the rows that are not held out."""
    multiple = _multiple(config)
    limit = config.max_steps * multiple if config.max_steps else None
    learned, _ = split(len(corpus.rows), config)
    order = plan(
        corpus.lengths[learned], config.batch_size, epochs=config.epochs, seed=config.seed, multiple=multiple,
        max_batches=limit, tokens=tokens, pack_length=config.pack_length if config.batching == "packed" else None,
    )  # fmt: skip
    return replace(order, batches=[learned[batch].tolist() for batch in order.batches])


def accounting(corpus: Corpus, config: TrainConfig) -> dict[str, Any]:
    """Rows in = kept + eliminated by reason; rows held out are not kept, for nothing is learned from them."""
    found = corpus.accounting()
    learned, aside = split(len(corpus.rows), config)
    found["kept"] = len(learned)
    if len(aside):
        found["eliminated"]["held out for validation"] = len(aside)
    assert found["in"] == found["kept"] + sum(found["eliminated"].values()) + sum(found["failed"].values())
    return found


def _corpus(
    data: Path, images: Path, reading: Reading, config: TrainConfig, out_dir: Path, refused: Path | None = None
) -> Corpus:
    """The rows of a file: the first process writes them and those `refused`, the others map what it wrote."""
    if rank():
        wait()
    writers = config.workers * world_size()  # the others wait for the first, so their share of the machine is free
    work = out_dir / "training"
    begun = bool(rank() or checkpoint.kept(work))
    mine = None if rank() else refused
    share = config.max_bad_share
    corpus = read_corpus(data, images, reading, share, work / "rows", writers, begun=begun, refused=mine)
    if not rank():
        wait()
    return corpus


def _tokens(match: Path | None, images: Path, reading: Reading, config: TrainConfig, out_dir: Path) -> int | None:
    """Training tokens of the arm to match, without the rows that its own training refuses or holds out."""
    if match is None:
        return None
    other = _corpus(match, images, reading, config, out_dir)
    learned, _ = split(len(other.rows), config)
    return int(other.lengths[learned].sum()) * config.epochs


def _normalizer(processor: Any) -> Normalizer:
    images = processor.image_processor
    return Normalizer(list(images.image_mean), list(images.image_std), images.rescale_factor)


def _step(previous: Path | None) -> int:
    return checkpoint.step_of(previous) if previous else 0
