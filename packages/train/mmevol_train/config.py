"""What a training stage can be told. Every field is a key of conf/train/*.yaml, conf/backbone or conf/engine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.tracking import TrackingConfig
from mmevol_train.conversation import LabelMode, SpecialText
from mmevol_train.parts import BackboneConfig


def _unset(value: object) -> bool:
    """Left out of the fingerprint: a run without the key is the run it was before there was such a key."""
    return value is None


def _by_token(value: object) -> bool:
    """The same for `loss_weighting`, whose default is what runs without the key did."""
    return value == "token"


CPU_PROCESSES = 2
SAVING_S = 600  # that a stage told to stop may take for its step and checkpoint; torchrun's own is 30
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")  # of Qwen2 and Llama 3
Beta = Annotated[float, Field(ge=0, lt=1)]
EngineName = Literal["single", "ddp", "deepspeed_zero2", "deepspeed_zero3", "fsdp2"]


class EngineConfig(Config):
    """How the work is spread over processes; torchrun or the deepspeed launcher starts them, see `launch.py`."""

    name: EngineName = "single"
    processes: int | None = Field(default=None, ge=1)  # of one node; None: one a GPU, two without GPUs
    nodes: int = Field(default=1, ge=1)  # more than one: torchrun asks PET_RDZV_ENDPOINT where they meet
    launcher: Literal["torchrun", "deepspeed"] = Field(default="torchrun", exclude=True)
    prefix: tuple[str, ...] = Field(
        default=(), exclude=True
    )  # what starts the launcher on every node, for example [srun, --ntasks-per-node=1]
    deepspeed: dict[str, Any] | None = None  # DeepSpeed's own JSON, "auto" values filled in by transformers
    fsdp: dict[str, Any] | None = None  # transformers' fsdp_config

    def ranks_of_a_node(self, gpus: int) -> int:
        """Training processes of one node that has so many GPUs."""
        return 1 if self.name == "single" else self.processes or gpus or CPU_PROCESSES

    @model_validator(mode="after")
    def _complete(self) -> EngineConfig:
        if self.name.startswith("deepspeed") != (self.deepspeed is not None):
            raise ValueError(f"engine {self.name} and a deepspeed section do not fit; choose another engine file")
        if self.fsdp is not None and self.name != "fsdp2":
            raise ValueError(f"engine {self.name} and an fsdp section do not fit; choose another engine file")
        stage = ((self.deepspeed or {}).get("zero_optimization") or {}).get("stage")
        if self.deepspeed is not None and stage != int(self.name[-1]):
            raise ValueError(f"engine {self.name} has zero_optimization.stage {stage}; choose another engine file")
        spread = self.prefix or self.nodes > 1 or (self.processes or 1) > 1 or self.launcher != "torchrun"
        if self.name == "single" and spread:
            raise ValueError("engine single is one process of one node; choose engine=ddp or another for more")
        return self


class LoraConfig(Config):
    """Low-rank adapters on the language model; merged into the weights when the stage ends."""

    rank: int = Field(default=64, ge=1)
    alpha: float = Field(default=16, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    four_bit: bool = False  # QLoRA: the frozen weights in NF4 (arXiv 2305.14314); GPU
    targets: tuple[str, ...] = Field(default=LINEAR, min_length=1)  # linear layers by the last part of their names


class ValidationConfig(Config):
    """Rows that are never trained on; their loss is taken every so many steps and after the last, with a checkpoint."""

    rows: int | None = Field(default=None, ge=1)
    share: float | None = Field(default=None, gt=0, lt=1)  # of all rows; either this or `rows`
    every: int = Field(ge=1)  # steps
    export: Literal["best", "last"] = "best"  # which checkpoint the stage ends with

    @model_validator(mode="after")
    def _one_size(self) -> ValidationConfig:
        if (self.rows is None) == (self.share is None):
            raise ValueError("validation takes either rows or share")
        return self


class TrainConfig(Config):
    """Shared by pretraining and fine-tuning.

    Keys that change no weight are excluded: they are no part of the fingerprint, so that a run goes on with others.
    """

    backbone: BackboneConfig
    engine: EngineConfig = EngineConfig()
    # what is learned
    train_vision: bool
    train_projector: bool = True  # projector and image_newline
    train_language_model: bool
    lr_vision: float = Field(gt=0)
    lr_projector: float = Field(gt=0)
    lr_language_model: float = Field(gt=0)
    lora: LoraConfig | None = None
    # how long and how fast
    epochs: int = Field(default=1, ge=1)
    max_steps: int | None = Field(default=None, ge=1)  # stop earlier; the schedule then spans these steps
    batch_size: int = Field(ge=1)  # rows per process and micro-batch
    accumulate: int = Field(default=1, ge=1)  # micro-batches per step
    # rows of a step over all processes, which batch_size x accumulate x processes must make (packed: a warning when
    # another accumulate comes nearer); None: whatever they make
    global_batch: int | None = Field(default=None, ge=1, exclude_if=_unset)
    stop_at_step: int | None = Field(default=None, ge=1, exclude_if=_unset)  # end there; the schedule stays the whole
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    max_grad_norm: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**32)  # what NumPy takes
    dtype: Literal["float32", "bfloat16"] = "bfloat16"  # bfloat16: compute; the optimizer keeps float32 weights
    gradient_checkpointing: bool = False
    compile: bool = False  # torch.compile; GPU
    liger: bool = False  # fused kernels of the language model (rotary, norms, MLP); GPU
    # what is read
    label_mode: LabelMode = "answer"
    special_text: SpecialText = "refuse"  # literal special tokens inside a turn
    # what weighs the same in a step's loss; sample: every conversation, by the mean of its tokens
    loss_weighting: Literal["token", "sample"] = Field(default="token", exclude_if=_by_token)
    max_length: int = Field(default=4096, ge=8)  # tokens, images expanded; longer rows are listed, never cut
    max_bad_share: float = Field(default=0.02, ge=0, le=1)  # more refused rows than this stop the stage
    image_cache_mb: int = Field(default=0, ge=0, exclude=True)  # cut pictures kept in memory as bytes
    batching: Literal["padded", "packed"] = "padded"
    pack_length: int = Field(default=4096, ge=8)  # tokens of one packed row
    workers: int = Field(default=0, ge=0, exclude=True)  # processes that read pictures
    threads: int = Field(default=1, ge=0, le=1024)  # of PyTorch per process; 0 leaves PyTorch's choice
    # what is kept and shown
    validation: ValidationConfig | None = Field(default=None, exclude_if=_unset)
    save_every_steps: int | None = Field(default=None, ge=1, exclude=True)
    save_every_s: float | None = Field(default=60.0, gt=0, exclude=True)  # by the clock of whichever rank is first
    keep_checkpoints: int = Field(default=2, ge=1, exclude=True)
    on_divergence: Literal["stop", "warn"] = "stop"  # a loss that is no number or a spike; the samples are named
    spike_factor: float | None = Field(default=4.0, gt=1)  # of the median of 64 steps, and 1 nat above; None: no spike
    verify: bool = True  # a fresh process loads the result and compares logits
    tracking: TrackingConfig = Field(default=TrackingConfig(), exclude=True)

    @model_validator(mode="after")
    def _labels_fit(self) -> TrainConfig:
        if self.label_mode == "mmevol" and self.backbone.chat_template == "tokenizer":
            raise ValueError("label_mode mmevol knows the templates qwen2 and llama3; set label_mode to answer")
        return self

    @model_validator(mode="after")
    def _adapters_fit(self) -> TrainConfig:
        if self.lora is not None and not self.train_language_model:
            raise ValueError("lora adapts the language model; set train_language_model to true, or lora to null")
        return self


class PretrainConfig(TrainConfig):
    """Captions to projector and image_newline (MMEvol section 3.1 and scripts/v1_6/train: only these are trained)."""

    train_vision: bool = False
    train_language_model: bool = False
    lora: None = None  # adapters are for fine-tuning
    lr_vision: float = Field(default=2e-6, gt=0)
    lr_projector: float = Field(default=1e-3, gt=0)
    lr_language_model: float = Field(default=2e-5, gt=0)


class FinetuneConfig(TrainConfig):
    """Conversations to all parts, each at its own rate; `backbone` names what the checkpoint was built from."""

    train_vision: bool = True
    train_language_model: bool = True
    lr_vision: float = Field(default=2e-6, gt=0)
    lr_projector: float = Field(default=2e-5, gt=0)
    lr_language_model: float = Field(default=2e-5, gt=0)


def rows_a_step(stage: str, config: TrainConfig, ranks: int) -> int:
    """Rows of an optimizer step: per device x accumulation x ranks.

    Packed rows hold what fits, so that only the plan of a run knows: their mean is recorded, and a warning if not near.

    Raises:
        UserError: when they are not `global_batch`, with the values that would make it.
    """
    rows, wanted = config.batch_size * config.accumulate * ranks, config.global_batch
    if wanted is None or rows == wanted or config.batching == "packed":
        return rows
    ways = [f"{stage}.global_batch={rows} if that is meant"]
    nodes = config.engine.nodes
    if config.engine.name != "single" and wanted % (config.batch_size * config.accumulate * nodes) == 0:
        ways.insert(0, f"engine.processes={wanted // (config.batch_size * config.accumulate * nodes)}")
    if wanted % (config.batch_size * ranks) == 0:
        ways.insert(0, f"{stage}.accumulate={wanted // (config.batch_size * ranks)}")
    raise UserError(
        f"{stage}: {ranks} processes x {config.batch_size} rows x {config.accumulate} accumulated = {rows} rows a step"
        f", not global_batch={wanted}; set {', or '.join(ways)}"
    )
