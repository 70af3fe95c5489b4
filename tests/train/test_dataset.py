"""Rows from JSON to a mapped Arrow file: the same rows, counted, whatever wrote them."""

import json
import multiprocessing
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.tiny_models import PINPOINTS, SPECIAL, tokenizer, world

from mmevol_core.errors import UserError
from mmevol_train import dataset
from mmevol_train.conversation import BadRow, chat_template
from mmevol_train.dataset import Conversations, corpus_digest, expand, read_corpus
from mmevol_train.rows import Maker, Reading


@pytest.fixture
def reading():
    return Reading(
        tokenizer=tokenizer("qwen2"), template="qwen2", jinja=chat_template("qwen2", ""), system="", stage="finetune",
        mode="answer", special_text="refuse", max_length=500, pinpoints=PINPOINTS, tile=64, patch=16,
    )  # fmt: skip


def same(one, other):
    assert len(one.rows) == len(other.rows)
    for left, right in zip(one.rows, other.rows, strict=True):
        assert (left.number, left.pictures, left.length) == (right.number, right.pictures, right.length)
        assert np.array_equal(left.ids, right.ids) and np.array_equal(left.supervised, right.supervised)
    assert one.accounting() == other.accounting()
    assert one.numbers == other.numbers


@pytest.fixture
def mixed(tmp_path):
    """24 rows with pictures, 3 of text, 2 that cannot be trained on."""
    data, images = world(tmp_path, rows=24, text_rows=3)
    rows = json.loads(data.read_text())
    rows[5]["image"] = "absent.png"
    rows[20] = {"id": "nothing"}
    data.write_text(json.dumps(rows))
    return data, images


def test_a_mapped_file_holds_the_same_rows_as_memory_in_batches_of_any_size(mixed, tmp_path, reading, monkeypatch):
    plain = read_corpus(*mixed, reading, 0.5)
    assert plain.accounting()["in"] == 27
    assert plain.accounting()["kept"] == 25
    assert plain.numbers == {"image not found": [5], "needs a non-empty list `conversations`": [20]}
    for size in (1, 4, 27, 1000):
        monkeypatch.setattr(dataset, "BATCH_ROWS", size)
        same(read_corpus(*mixed, reading, 0.5, tmp_path / str(size)), plain)
        same(read_corpus(*mixed, reading, 0.5, tmp_path / str(size)), plain)  # mapped this time


@pytest.mark.slow
def test_several_processes_write_the_same_file(mixed, tmp_path, reading, monkeypatch):
    monkeypatch.setattr(dataset, "BATCH_ROWS", 5)
    read_corpus(*mixed, reading, 0.5, tmp_path / "one")
    read_corpus(*mixed, reading, 0.5, tmp_path / "two", workers=2)
    files = [next((tmp_path / name).glob("*.arrow")) for name in ("one", "two")]
    assert files[0].name == files[1].name
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_file_is_named_by_everything_the_rows_depend_on(mixed, reading):
    data, images = mixed
    names = {corpus_digest(data, images, reading)}
    for change in ({"max_length": 400}, {"mode": "mmevol"}, {"patch": 8}, {"tokenizer": tokenizer("llama3")}):
        names.add(corpus_digest(data, images, Reading(**{**vars_of(reading), **change})))
    data.write_text(data.read_text() + " ")
    names.add(corpus_digest(data, images, reading))
    assert len(names) == 6


def vars_of(reading):
    return {name: getattr(reading, name) for name in reading.__dataclass_fields__}


def test_a_second_start_does_not_tokenise_again(mixed, tmp_path, reading, monkeypatch):
    first = read_corpus(*mixed, reading, 0.5, tmp_path / "rows")

    def never(*_):
        raise AssertionError("tokenised again")

    monkeypatch.setattr(dataset, "_batches", never)
    same(read_corpus(*mixed, reading, 0.5, tmp_path / "rows", begun=True), first)
    with pytest.raises(AssertionError, match="tokenised again"):  # a picture is missing, or was
        read_corpus(*mixed, reading, 0.5, tmp_path / "rows")


@pytest.mark.parametrize("content", [None, b"no picture"], ids=["absent", "unreadable"])
def test_a_picture_that_was_mended_is_seen_until_a_run_has_begun_without_it(mixed, tmp_path, reading, content):
    if content:
        (mixed[1] / "absent.png").write_bytes(content)
    with pytest.raises(UserError, match="2 of 27 rows refused"):
        read_corpus(*mixed, reading, 0.05, tmp_path / "rows")
    assert len(read_corpus(*mixed, reading, 0.5, tmp_path / "rows").rows) == 25
    (mixed[1] / "absent.png").write_bytes((mixed[1] / "0.png").read_bytes())
    assert len(read_corpus(*mixed, reading, 0.5, tmp_path / "rows", begun=True).rows) == 25  # the order is planned
    assert len(read_corpus(*mixed, reading, 0.05, tmp_path / "rows").rows) == 26


@pytest.mark.slow
def test_processes_that_write_at_once_do_not_disturb_each_other(mixed, tmp_path, reading):
    context = multiprocessing.get_context("spawn")
    arguments = (*mixed, reading, 0.5, tmp_path / "rows")
    racers = [context.Process(target=read_corpus, args=arguments) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(100)
    assert [racer.exitcode for racer in racers] == [0, 0]
    assert len(list((tmp_path / "rows").iterdir())) == 1
    same(read_corpus(*mixed, reading, 0.5, tmp_path / "rows"), read_corpus(*mixed, reading, 0.5))


def test_too_many_bad_rows_stop_also_when_the_file_is_mapped(mixed, tmp_path, reading):
    for _ in range(2):
        with pytest.raises(UserError, match=r"2 of 27 rows refused: .*image not found \(rows 5\)"):
            read_corpus(*mixed, reading, 0.01, tmp_path / "rows")


def test_rows_that_are_too_long_are_all_listed_and_none_is_cut_in_a_picture(mixed, tmp_path, reading):
    data, images = mixed
    rows = json.loads(data.read_text())
    for number in (1, 2, 7, 8, 9, 10, 11):
        rows[number]["conversations"][1]["value"] = "red " * 300
    data.write_text(json.dumps(rows))
    for _ in range(2):  # written, and mapped
        corpus = read_corpus(data, images, reading, 0.5, tmp_path / "rows")
        corpus.list_refused(tmp_path / "refused.jsonl")
        listed = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
        too_long = [row["row"] for row in listed if row["reason"] == "longer than max_length"]
        assert too_long == [1, 2, 7, 8, 9, 10, 11]
        assert len(listed) == corpus.refused.total() == 9
    slot = reading.tokenizer.token_to_id("<image>")
    for row in corpus.rows:  # every picture is there with all its tokens
        ids, _ = expand(row, slot)
        assert (ids == slot).sum() == sum(picture.tokens for picture in row.pictures)
        assert len(ids) == row.length <= reading.max_length
    with pytest.raises(UserError, match=r"7 x longer than max_length \(rows 1, 2, 7, 8, 9\)"):
        read_corpus(data, images, reading, 0.01)


def test_a_picture_that_changed_since_is_named(mixed, reading):
    data, images = mixed
    rows = Conversations(read_corpus(data, images, reading, 0.5), images, reading)
    Image.new("RGB", (9, 9)).save(images / "0.png")
    with pytest.raises(UserError, match=r"row 0 .id 0., image .*/0.png: image was 64x64 pixels when the run began"):
        rows[0]


def test_rows_can_be_asked_for_from_the_end_and_in_slices(mixed, reading):
    rows = read_corpus(*mixed, reading, 0.5).rows
    assert rows[-1].number == rows[len(rows) - 1].number == 26
    assert [row.number for row in rows[3:7]] == [3, 4, 6, 7]
    with pytest.raises(IndexError):
        rows[len(rows)]


def test_the_tokenizer_travels_to_other_processes(reading):
    assert pickle.loads(pickle.dumps(reading)).tokenizer.to_str() == reading.tokenizer.to_str()
    assert SPECIAL["qwen2"][0] in pickle.loads(pickle.dumps(reading)).tokenizer.get_vocab()


@pytest.mark.parametrize("content", ["{}", "[]"])
def test_a_file_without_rows_is_refused(tmp_path, reading, content):
    path = tmp_path / "rows.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"rows\.json .*JSON list"):
        read_corpus(path, tmp_path, reading, 0.5, tmp_path / "rows")


@pytest.mark.parametrize(
    ("turns", "why"),
    [
        ([("human", "q"), ("gpt<|im_end|>", "a")], r"literal <\|im_end\|> in text"),
        ([("user", "q"), ("assistant", "a")], "drops a first turn that is not `human`"),
        ([("gpt", "a"), ("human", "q"), ("gpt", "b")], "drops a first turn that is not `human`"),
        ([("human", "only a question")], "no answer"),
    ],
)
def test_what_the_references_rule_would_train_on_silently_is_refused_by_name(tmp_path, reading, turns, why):
    row = {"id": "a", "conversations": [{"from": role, "value": text} for role, text in turns]}
    with pytest.raises(BadRow, match=why):
        Maker(tmp_path, replace(reading, mode="mmevol")).row(0, row)


HALF = "holds half of a surrogate pair, which is no character"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"id": "\ud800"}, f"`id` {HALF}"),
        ({"id": ["a", 10**5000]}, "`id` is a number of too many digits"),
        ({"image": "b\udcff.png"}, f"`image` {HALF}"),  # as Python reads a file name that is not UTF-8
        ({"image": ["1.png", "b\udcff.png"]}, f"`image` {HALF}"),
    ],
)
def test_a_row_whose_id_or_picture_cannot_be_written_is_refused_by_name(tmp_path, reading, changes, why):
    data, images = world(tmp_path, rows=1, text_rows=0)
    (images / "b\udcff.png").write_bytes(next(images.rglob("*.png")).read_bytes())
    good = json.loads(data.read_text())[0]
    count, batch, refused = Maker(images, reading).batch(0, [good, {**good, **changes}])
    assert (count, batch.num_rows, refused.numbers) == (2, 1, {why: [1]})


def test_a_picture_cut_short_is_named_with_its_row_its_file_and_what_finds_others(tmp_path, reading):
    data, images = world(tmp_path, rows=1, text_rows=0)
    rows = json.loads(data.read_text())
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(images / "cut.jpg")
    (images / "cut.jpg").write_bytes((images / "cut.jpg").read_bytes()[:3000])
    data.write_text(json.dumps([{**rows[0], "id": "short", "image": "cut.jpg"}]))
    found = Conversations(read_corpus(data, images, reading, 0), images, reading)
    with pytest.raises(UserError, match=r"row 0 \(id short\), image .*/cut.jpg: .* \(.*truncated.*\).*data check .*"):
        found[0]
