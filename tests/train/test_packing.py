"""Packing: nothing leaks, nothing changes, nothing is lost."""

import inspect
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_models import backbone, world
from transformers import AttentionInterface, MistralConfig, MistralForCausalLM

from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_experiment.compose import compose
from mmevol_train.anyres import grid
from mmevol_train.backbone import build
from mmevol_train.collate import Collator
from mmevol_train.config import FinetuneConfig
from mmevol_train.dataset import Conversations, read_corpus
from mmevol_train.images import Normalizer
from mmevol_train.packing import (
    AGREE_EXACT,
    AGREE_ROUNDED,
    APART,
    SEGMENT_SDPA,
    PackedCollator,
    check_apart,
    check_packing,
    pack,
    reworded,
    segment_sdpa,
    sharing,
    use_packing,
)
from mmevol_train.parts import BackboneConfig
from mmevol_train.sampler import packed_epoch
from mmevol_train.training import reading_of


@given(st.lists(st.integers(1, 100), max_size=300), st.integers(100, 400))
def test_every_row_is_packed_once_and_no_bin_overflows(values, capacity):
    lengths = np.array(values, np.int64)
    bins = pack(lengths, capacity)
    assert sorted(row for one in bins for row in one) == list(range(len(values)))
    assert all(lengths[one].sum() <= capacity for one in bins)


def test_a_row_that_is_too_long_is_refused():
    with pytest.raises(UserError, match="does not fit pack_length=10"):
        pack(np.array([3, 11]), 10)


def test_packing_fills_97_percent_and_plans_a_million_rows_in_seconds():
    lengths = np.clip(np.random.default_rng(0).lognormal(6.5, 0.8, 200_000), 20, 4096).astype(np.int64)
    start = time.process_time()
    bins = packed_epoch(lengths, 4096, (0, 0))
    assert time.process_time() - start < 2.0  # a fifth of a million
    assert lengths.sum() / (len(bins) * 4096) >= 0.97


def test_pictures_of_a_papers_size_fill_8192_tokens_and_at_4096_no_packing_could_do_better():
    """Most photographs take 2,144 to 2,352 tokens: two of them share no row of 4,096, so each needs one of its own."""
    draw = np.random.default_rng(0)
    grids = ((672, 336), (336, 672), (672, 672), (336, 1008), (1008, 336))
    sizes = [(640, 480), (640, 427), (480, 640), (1024, 768), (336, 336), (500, 375), (427, 640), (800, 600)]
    tokens = np.array([grid(*size, grids, 336, 14).tokens for size in sizes])
    pictures = np.where(np.arange(50_000) % 8 > 0, tokens[draw.integers(0, len(sizes), 50_000)], 0)
    lengths = np.minimum(np.clip(draw.lognormal(np.log(300), 0.9, 50_000), 20, 4096).astype(np.int64) + pictures, 4096)
    alone = int((lengths > 2048).sum())
    assert len(pack(lengths, 4096)) <= 1.002 * alone
    assert lengths.sum() / (len(pack(lengths, 8192)) * 8192) >= 0.97


@pytest.fixture(scope="module", params=["qwen2", "llama3"])
def rows(request, tmp_path_factory):
    """(model, rows with and without pictures, normalizer, pad) of one family."""
    root = tmp_path_factory.mktemp(request.param)
    parts = backbone(root, request.param)
    data, images = world(root, rows=5, text_rows=2)
    model, processor = build(parts)
    reading = reading_of(FinetuneConfig(backbone=parts, batch_size=1), "finetune", processor)
    dataset = Conversations(read_corpus(data, images, reading, 0), images, reading)
    pixels = Normalizer(processor.image_processor.image_mean, processor.image_processor.image_std)
    use_packing(model)
    return model.eval(), [dataset[place] for place in (5, 0, 3, 6, 1)], pixels, 0


def ready(batch, pixels):
    return {**batch, "pixel_values": pixels(batch["pixel_values"])}


def mean_loss(model):
    """Mean loss of a batch, by the whole head."""

    def of(batch):
        inputs = {key: value for key, value in batch.items() if key not in ("tokens", "rows", "positions", "targets")}
        with torch.no_grad():
            logits = model(**inputs, use_cache=False).logits.flatten(0, 1)[batch["positions"]]
        return float(torch.nn.functional.cross_entropy(logits, batch["targets"]))

    return of


def test_packed_loss_equals_padded_loss(rows):
    model, chosen, pixels, pad = rows
    packed, padded = ready(PackedCollator()(chosen), pixels), ready(Collator(pad)(chosen), pixels)
    assert len(packed["targets"]) == len(padded["targets"])
    assert check_packing(mean_loss(model), packed, padded, 1e-5) <= 1e-5


def test_what_changes_in_one_conversation_is_not_seen_by_the_next(rows):
    model, chosen, pixels, _ = rows
    batch = ready(PackedCollator()(chosen), pixels)
    inputs = {key: value for key, value in batch.items() if key not in ("tokens", "rows", "positions", "targets")}
    edges = batch["cu_seq_lens_q"].tolist()
    with torch.no_grad():
        before = model(**inputs, use_cache=False).logits[0]
        inputs["input_ids"] = inputs["input_ids"].clone()
        inputs["input_ids"][0, edges[3] : edges[4]] = 5  # the fourth conversation has no picture
        after = model(**inputs, use_cache=False).logits[0]
    inside = slice(edges[3], edges[4])
    assert not torch.equal(before[inside], after[inside])
    assert torch.equal(before[: edges[3]], after[: edges[3]])
    assert torch.equal(before[edges[4] :], after[edges[4] :])


def test_a_blank_picture_joins_text_only_batches_and_changes_no_loss(rows):
    model, chosen, pixels, pad = rows
    text = [row for row in chosen if not row["views"]]
    blank = {**next(row for row in chosen if row["views"]), "row": -1}
    blank["labels"] = np.full_like(blank["labels"], -100)
    for collator in (Collator(pad, blank), PackedCollator(blank)):
        batch = ready(collator(text), pixels)
        assert batch["tokens"] == sum(len(row["ids"]) for row in text)
        assert check_packing(mean_loss(model), batch, Collator(pad)(text), 1e-5) <= 1e-5
        assert "pixel_values" in collator(chosen) and -1 not in collator(text)["rows"]


def test_an_attention_that_ignores_the_borders_is_found_at_start_up(rows):
    model, chosen, pixels, pad = rows
    packed, padded = ready(PackedCollator()(chosen), pixels), ready(Collator(pad)(chosen), pixels)
    model.model.language_model.set_attn_implementation("sdpa")
    try:
        broken = {**packed, "position_ids": torch.arange(packed["input_ids"].shape[1])[None]}
        with pytest.raises(UserError, match="does not keep packed conversations apart"):
            check_packing(mean_loss(model), broken, padded, 1e-5)
    finally:
        use_packing(model)


def token_losses(model, pixels, bfloat16=False):
    """Losses of a batch's learned tokens, by the whole head."""

    def of(batch):
        batch = ready(batch, pixels)
        inputs = {key: value for key, value in batch.items() if key not in ("tokens", "rows", "positions", "targets")}
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = model(**inputs, use_cache=False).logits.flatten(0, 1)[batch["positions"]]
        return torch.nn.functional.cross_entropy(logits.float(), batch["targets"], reduction="none")

    return of


def without_borders(batch):
    edges = torch.tensor([0, batch["input_ids"].shape[1]], dtype=torch.int32)
    return {**batch, "cu_seq_lens_q": edges, "cu_seq_lens_k": edges}


@pytest.fixture(scope="module", params=["qwen2_tiny", "llama3_tiny"])
def standin(request, tmp_path_factory):
    """(model of the trained parts that are shipped, rows, normalizer)."""
    parts = fit(BackboneConfig, compose([f"backbone={request.param}", "name=x"])["backbone"], "backbone")
    data, images = world(tmp_path_factory.mktemp(request.param), rows=5, text_rows=2)
    model, processor = build(parts)
    reading = reading_of(FinetuneConfig(backbone=parts, batch_size=1), "finetune", processor)
    dataset = Conversations(read_corpus(data, images, reading, 0), images, reading)
    use_packing(model)
    pixels = Normalizer(processor.image_processor.image_mean, processor.image_processor.image_std)
    return model.eval(), [dataset[place] for place in (5, 0, 3, 6, 1)], pixels


@pytest.mark.parametrize(
    ("ids", "other"),
    [([5, 9, 6, 9, 7], [7, 9, 5, 9, 6]), ([5, 9, 5], [4, 9, 4]), ([0, 9, 0], [1, 9, 1]), ([10, 9, 10], [11, 9, 11])],
)
def test_another_wording_is_another_one_also_where_all_tokens_of_the_text_are_the_same(ids, other):
    row = {"ids": np.array(ids), "labels": np.array(ids)}  # 9 is the picture's
    found = reworded(row, 9)
    assert found["ids"].tolist() == other and found["labels"].tolist() == row["ids"].tolist() == ids


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("first", [0, 1], ids=["text", "picture"])
def test_no_token_moves_with_another_conversation_and_a_leak_moves_one_a_hundred_times_the_bound(
    standin, first, bfloat16
):
    model, chosen, pixels = standin
    slot = model.config.image_token_id
    chosen = [*chosen[first:], *chosen[:first]]
    losses = token_losses(model, pixels, bfloat16)
    pair = [PackedCollator()(found) for found in (chosen, [reworded(chosen[0], slot), *chosen[1:]])]
    assert not torch.equal(pair[0]["input_ids"], pair[1]["input_ids"])
    assert check_apart(losses, *pair) == 0  # the same kernels on the same shapes
    with pytest.raises(UserError, match="does not keep packed conversations apart"):
        check_apart(lambda batch: losses(without_borders(batch)), *pair)
    behind = pair[0]["positions"] >= pair[0]["cu_seq_lens_q"][1]
    leak = [losses(without_borders(batch))[behind] for batch in pair]
    assert (leak[0] - leak[1]).abs().max() > 100 * APART


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
def test_packed_and_padded_differ_by_a_fifth_of_the_bound_and_labels_in_wrong_places_are_found(standin, bfloat16):
    model, chosen, pixels = standin
    losses, bound = token_losses(model, pixels, bfloat16), AGREE_ROUNDED if bfloat16 else AGREE_EXACT
    packed, padded = PackedCollator()(chosen), Collator(0)(chosen)

    def mean(batch):
        return float(losses(batch).double().mean())

    assert check_packing(mean, packed, padded, bound) < bound * max(1.0, mean(padded)) / 5
    with pytest.raises(UserError, match=r"packed loss .* and padded loss .* differ"):
        check_packing(mean, {**packed, "targets": packed["targets"].roll(1)}, padded, bound)


def test_packing_is_proved_where_conversations_share_a_row():
    assert sharing([[4], [2, 0], [1, 3, 5]]) == [2, 0]
    assert sharing([[4], [2], [1]]) == [4, 2]  # no row is shared: two are put together
    assert sharing([[4]]) == [4]


def test_flash_attentions_kernel_is_given_the_borders_and_gives_the_same_logits(rows, monkeypatch):
    """transformers' own path to flash-attn, up to the kernel, whose signature a slow kernel of ours has here."""
    from functools import partial

    from transformers import AttentionInterface
    from transformers import modeling_flash_attention_utils as flash
    from transformers.integrations.flash_attention import flash_attention_forward

    model, chosen, pixels, _ = rows
    batch = ready(PackedCollator()(chosen), pixels)
    inputs = {key: value for key, value in batch.items() if key not in ("tokens", "rows", "positions", "targets")}
    seen = []

    def varlen(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p, softmax_scale, causal):
        seen.append((cu_seqlens_q.tolist(), cu_seqlens_k.tolist(), max_seqlen_q, max_seqlen_k, causal, q.shape[0]))
        places = list(zip(cu_seqlens_q[:-1].tolist(), cu_seqlens_q[1:].tolist(), strict=True))
        parts = [
            torch.nn.functional.scaled_dot_product_attention(
                *(states[start:end].transpose(0, 1) for states in (q, k, v)),
                is_causal=causal, scale=softmax_scale, enable_gqa=True,
            ).transpose(0, 1)
            for start, end in places
        ]  # fmt: skip
        return torch.cat(parts)

    has = inspect.signature(varlen).parameters
    asked = ("dropout_p", "window_size", "deterministic", "softcap", "s_aux", "learnable_sink", "block_table")
    more = ("page_table", "cache_seqlens", "max_seqlen_q", "max_seqlen_k")
    supports = {name: name in has for name in (*asked, *more)}
    process = partial(flash._process_flash_attention_kwargs, supports_mapping=supports)
    monkeypatch.setattr(
        flash, "lazy_import_flash_attention", lambda *_, **__: ((None, varlen, None, None, None), (process, None))
    )
    AttentionInterface.register("varlen_on_cpu", flash_attention_forward)
    with torch.no_grad():
        expected = model(**inputs, use_cache=False).logits
        model.model.language_model.set_attn_implementation("varlen_on_cpu")
        try:
            found = model(**inputs, use_cache=False).logits
        finally:
            use_packing(model)
    edges = batch["cu_seq_lens_q"].tolist()
    longest = max(after - before for before, after in pairwise(edges))
    layers = model.config.text_config.num_hidden_layers
    assert seen == [(edges, edges, longest, longest, True, edges[-1])] * layers
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_sliding_window_reaches_as_far_in_packed_rows_as_in_padded_ones():
    """Mistral's shape with a window of 8: segments of 25 and 5 tokens, one longer than the window and one not."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = MistralConfig(
        vocab_size=384,
        **shape,
        num_key_value_heads=2,
        sliding_window=8,
        initializer_range=0.3,
        max_position_embeddings=64,
    )
    model = MistralForCausalLM(config).eval()
    ids, edges = torch.randint(0, 300, (1, 30)), torch.tensor([0, 25, 30], dtype=torch.int32)
    places = torch.cat([torch.arange(25), torch.arange(5)])[None]
    with torch.no_grad():
        alone = torch.cat([model(part, use_cache=False).logits for part in ids.split([25, 5], dim=1)], dim=1)
        AttentionInterface.register(SEGMENT_SDPA, segment_sdpa)
        model.set_attn_implementation(SEGMENT_SDPA)
        packed = model(
            ids, position_ids=places, cu_seq_lens_q=edges, cu_seq_lens_k=edges, max_length_q=25, max_length_k=25,
            use_cache=False,
        ).logits  # fmt: skip
    torch.testing.assert_close(packed, alone, rtol=1e-5, atol=1e-5)
