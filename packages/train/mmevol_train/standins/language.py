"""A tiny Qwen2 or LLaMA3 language model, pretrained on the text of `text.py` with its real chat template."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from mmevol_core.files import write_json
from mmevol_train.standins import scene, text

Family = Literal["qwen2", "llama3"]
VOCABULARY = 1600
CORPUS = 20_000  # conversations the tokenizer is trained on
WORD, REST = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
SPLIT = {  # how each family cuts text into words before merging; digits one by one, or up to three together
    "qwen2": rf"{WORD}|\p{{N}}|{REST}",
    "llama3": rf"{WORD}|\p{{N}}{{1,3}}|{REST}",
}
SPECIAL = {
    "qwen2": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    "llama3": (
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
        "<|finetune_right_pad_id|>",
    ),
}  # fmt: skip
END = {"qwen2": "<|im_end|>", "llama3": "<|eot_id|>"}
PAD = {"qwen2": "<|endoftext|>", "llama3": "<|finetune_right_pad_id|>"}
SYSTEM = "You are a helpful assistant."
IGNORED = -100
PROBE_EVERY = 0.04  # share of the steps between two probes


@dataclass(frozen=True)
class Recipe:
    """How a stand-in language model is trained; stored beside its weights."""

    family: Family
    steps: int  # the learning rate and the mix of tasks are planned over so many
    stop: int | None = None  # stop after so many of them
    start: str | None = None  # the model it starts from instead of random weights
    mix: tuple[str, str] = ("all", "all")  # weights of the tasks at the start and from half time on: text.MIXES
    seed: int = 0
    hidden: int = 96
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    intermediate: int = 288
    initializer_range: float = 0.06
    learning_rate: float = 1e-3
    batch: int = 16
    warmup: int = 100
    noise: float = 0.3  # on mixed slots, in standard deviations of the embeddings: pictures never give a clean word
    threads: int = 1  # one, so that the same steps give the same weights


def tokenizer(family: Family, seed: int, extra: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Byte-level BPE of `VOCABULARY` entries with the family's word pattern and special tokens, plus `<image>`."""
    bpe = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT[family]), behavior="isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    special = [*SPECIAL[family], "<image>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([*text.corpus(seed, CORPUS), *extra], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END[family],
        pad_token=PAD[family],
        bos_token="<|begin_of_text|>" if family == "llama3" else None,
        extra_special_tokens={"image_token": "<image>"},
    )


def render(family: Family, system: bool, first: str, turns: Sequence[text.Turn]) -> list[tuple[str, bool]]:
    """Chat turns as (text, supervised) pieces; `first` is put before the first question."""
    pieces: list[tuple[str, bool]] = []
    if family == "qwen2":
        pieces += [(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n", False)] if system else []
        opened, middle = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
        closed, after = "<|im_end|>", "\n"
    else:
        head = "<|start_header_id|>{}<|end_header_id|>\n\n"
        pieces.append(("<|begin_of_text|>", False))
        pieces += [(head.format("system") + SYSTEM + "<|eot_id|>", False)] if system else []
        opened, middle = head.format("user"), "<|eot_id|>" + head.format("assistant")
        closed, after = "<|eot_id|>", ""
    for number, (question, answer) in enumerate(turns):
        start = first if number == 0 else ""
        pieces += [(opened + start, False), (question + middle, False), (answer + closed, True), (after, False)]
    return [piece for piece in pieces if piece[0]]


@dataclass(frozen=True)
class Batch:
    """Token ids, a second id for every scene slot (its embedding is mixed in), and labels; all (B, T)."""

    ids: Tensor
    mixed: Tensor
    labels: Tensor


class Writer:
    """Turns conversations into batches; a whole piece of text is tokenised once and remembered."""

    def __init__(self, tokens: PreTrainedTokenizerFast, family: Family) -> None:
        self._tokens, self._family = tokens, family
        self._known: dict[str, list[int]] = {}

    def _ids(self, piece: str) -> list[int]:
        found = self._known.get(piece)
        if found is None:
            found = self._tokens(piece, add_special_tokens=False)["input_ids"]
            if len(self._known) < 200_000:
                self._known[piece] = found
        return found

    def row(self, words: Sequence[str], turns: Sequence[text.Turn], rng: random.Random) -> tuple[list[int], ...]:
        """Ids, mixed ids and labels of one conversation whose scene is `words`."""
        ids: list[int] = []
        mixed: list[int] = []
        labels: list[int] = []
        soft = rng.random() < 0.5
        mark = "\x00"
        for piece, supervised in render(self._family, rng.random() < 0.5, mark, turns):
            head, scene_here, _ = piece.partition(mark)
            found = self._ids(head)
            ids += found
            mixed += found
            labels += found if supervised else [IGNORED] * len(found)
            if scene_here:
                slot_ids = [token for word in words for token in self._ids(f" {word}")]
                other = rng.sample(slot_ids, len(slot_ids)) if soft else slot_ids
                newline = self._ids("\n")
                ids += slot_ids + newline
                mixed += other + newline
                labels += [IGNORED] * (len(slot_ids) + len(newline))
        return ids, mixed, labels

    def batch(self, rows: Sequence[tuple[list[int], ...]]) -> Batch:
        """Right-padded tensors; attention is causal, so padding on the right needs no mask."""
        width = max(len(row[0]) for row in rows)
        pad = self._tokens.pad_token_id
        fills = (pad, pad, IGNORED)
        padded = [[row[k] + [fill] * (width - len(row[k])) for row in rows] for k, fill in enumerate(fills)]
        return Batch(*(torch.tensor(part) for part in padded))


def build(recipe: Recipe, tokens: PreTrainedTokenizerFast) -> Qwen2ForCausalLM | LlamaForCausalLM:
    """The untrained model."""
    torch.manual_seed(recipe.seed)
    sizes: dict[str, Any] = {
        "vocab_size": len(tokens), "hidden_size": recipe.hidden, "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.heads, "num_key_value_heads": recipe.key_value_heads,
        "intermediate_size": recipe.intermediate, "initializer_range": recipe.initializer_range,
        "max_position_embeddings": 4096, "tie_word_embeddings": True, "pad_token_id": tokens.pad_token_id,
        "eos_token_id": tokens.eos_token_id, "bos_token_id": tokens.bos_token_id,
    }  # fmt: skip
    if recipe.family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**sizes))
    return LlamaForCausalLM(LlamaConfig(**sizes))


def embedded(model: Any, batch: Batch, noise: float = 0.0) -> Tensor:
    """Input embeddings (B, T, hidden): the mean of a slot's two words, with `noise` where they differ."""
    table = model.model.embed_tokens
    embeds: Tensor = (table(batch.ids) + table(batch.mixed)) / 2
    if noise:
        soft = (batch.ids != batch.mixed).unsqueeze(-1)
        embeds = embeds + soft * torch.randn_like(embeds) * (noise * table.weight.detach().std())
    return embeds


def loss_of(model: Any, batch: Batch, noise: float) -> Tensor:
    """Mean cross entropy over supervised tokens; the head runs on those positions only."""
    embeds = embedded(model, batch, noise)
    hidden = model.model(inputs_embeds=embeds, use_cache=False).last_hidden_state[:, :-1]  # (B, T-1, H)
    labels = batch.labels[:, 1:]
    wanted = labels != IGNORED
    return nn.functional.cross_entropy(model.lm_head(hidden[wanted]), labels[wanted])


def batches(recipe: Recipe, writer: Writer) -> Iterator[Batch]:
    """Training batches, sorted by length within groups of eight, whose tasks follow `recipe.mix`."""
    rng = random.Random(recipe.seed)
    for step in range(0, recipe.steps, 8):
        weights = text.mixed(*recipe.mix, min(1.0, max(0, step - 1) / recipe.steps * 2))
        rows = [writer.row(*text.conversation(rng, weights), rng) for _ in range(recipe.batch * 8)]
        rows.sort(key=lambda row: len(row[0]))
        groups = [rows[k : k + recipe.batch] for k in range(0, len(rows), recipe.batch)]
        rng.shuffle(groups)
        yield from map(writer.batch, groups)


@torch.no_grad()
def probe(model: Any, writer: Writer, count: int = 60) -> dict[str, float]:
    """Share of exactly right answers (teacher forcing, equal to greedy) per task on fresh scenes."""
    rng = random.Random("probe")
    result = {}
    for task in text.TASKS:
        rows = []
        for _ in range(count):
            described = scene.scene(rng)
            rows.append(writer.row(scene.slots(described, rng), [task(described, rng)], rng))
        batch = writer.batch(rows)
        hidden = model.model(inputs_embeds=embedded(model, batch), use_cache=False).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden)
        labels = batch.labels[:, 1:]
        right = (logits.argmax(-1) == labels) | (labels == IGNORED)
        result[task.__name__] = float(right.all(dim=1).float().mean())
    return result


def warm_start(model: Any, tokens: PreTrainedTokenizerFast, start: Path) -> int:
    """Copy what fits from another stand-in, of either family: layers by name, embeddings by token text.

    Qwen2 and LLaMA3 differ in attention biases and tokenizer only, so what one has learned is a good start for the
    other. Returns how many token embeddings were found.
    """
    other = AutoModelForCausalLM.from_pretrained(start).state_dict()
    known = PreTrainedTokenizerFast.from_pretrained(start).get_vocab()
    table = model.model.embed_tokens.weight
    name = "model.embed_tokens.weight"
    shared = [(place, known[token]) for token, place in tokens.get_vocab().items() if token in known]
    with torch.no_grad():
        table[[here for here, _ in shared]] = other[name][[there for _, there in shared]]
    layers = {key: value for key, value in other.items() if key not in (name, "lm_head.weight")}
    model.load_state_dict(layers, strict=False)
    return len(shared)


def train(recipe: Recipe, out_dir: Path, extra: Sequence[str] = (), start: Path | None = None) -> dict[str, float]:
    """Train one stand-in for `recipe.steps` and save model, tokenizer, recipe and the log of its probes.

    `start`: another stand-in to start from instead of random weights.
    """
    torch.set_num_threads(recipe.threads)
    tokens = tokenizer(recipe.family, recipe.seed, extra)
    writer, model = Writer(tokens, recipe.family), build(recipe, tokens)
    if start:
        warm_start(model, tokens, start)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    log: list[dict[str, float]] = []
    for step, batch in enumerate(itertools.islice(batches(recipe, writer), recipe.stop or recipe.steps)):
        passed = step / recipe.steps
        loss = loss_of(model, batch, recipe.noise)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1.0, (step + 1) / recipe.warmup, 0.05 + (1 - passed) * 1.6)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if passed >= len(log) * PROBE_EVERY:
            log.append({"step": step, "loss": round(float(loss.detach()), 4), **probe(model, writer)})
            write_json(out_dir / "training_log.json", log)
            save(recipe, model, tokens, out_dir)
    save(recipe, model, tokens, out_dir)
    return probe(model, writer, 400)


def save(recipe: Recipe, model: Any, tokens: PreTrainedTokenizerFast, out_dir: Path) -> None:
    """Write the model, its tokenizer and its recipe."""
    model.save_pretrained(out_dir)
    tokens.save_pretrained(out_dir)
    write_json(out_dir / "recipe.json", recipe.__dict__)
