"""Topics: what belongs together gets one name, always the same, by words or by a text model."""

import pytest

from mmevol_core.errors import UserError
from mmevol_core.sample import QA, Sample
from mmevol_dataengine.distribution import distribution, source_of
from mmevol_dataengine.topics import TopicsConfig, text_of, topics_of

THEMES = {
    "sea": ["sailing boat on the ocean", "ocean waves and a boat", "harbour with sailing boat", "waves of the ocean"],
    "kitchen": ["pizza in the oven", "kitchen with an oven", "baking pizza in a kitchen", "kitchen oven and pizza"],
    "street": ["traffic lights on the street", "street with a bus", "bus in heavy traffic", "bus street traffic"],
}


def test_texts_of_one_theme_share_a_topic_that_their_words_name():
    texts = [text for theme in THEMES.values() for text in theme]
    topics = topics_of(texts, TopicsConfig(count=3))
    groups = [set(topics.labels[start : start + 4]) for start in (0, 4, 8)]
    assert all(len(group) == 1 for group in groups)
    sea, kitchen, street = (group.pop() for group in groups)
    assert "ocean" in sea or "boat" in sea
    assert "oven" in kitchen or "pizza" in kitchen
    assert "street" in street or "traffic" in street
    assert topics.as_dict()["largest_share"] == pytest.approx(4 / 12)
    assert topics_of(texts, TopicsConfig(count=3)) == topics


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        ([], 0),
        (["one text alone"], 1),
        (["", "the a of", "12 3"], 1),  # nothing to go by
        (["same words here"] * 4, 1),  # fewer kinds of text than topics
    ],
)
def test_too_little_text_gives_fewer_topics(texts, labels):
    topics = topics_of(texts, TopicsConfig(count=3))
    assert (len(topics.labels), len(set(topics.labels))) == (len(texts), labels)


def test_a_record_is_about_its_caption_or_else_its_questions():
    item = QA(id="q", question="Which animal?", answer="A cat")
    assert text_of(Sample(id="s", images=(), rounds=((item,),))) == "Which animal? A cat"
    assert text_of(Sample(id="s", images=(), caption="A cat.", rounds=((item,),))) == "A cat."


def test_an_embedder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"topics\.embedder .*absent"):
        topics_of(["some words", "other words"], TopicsConfig(embedder=str(tmp_path / "absent")))


@pytest.mark.slow
def test_a_text_model_groups_by_its_states(tmp_path):
    from transformers import BertConfig, BertModel, BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "boat", "pizza"]
    BertTokenizer(vocab={word: n for n, word in enumerate(words)}, model_max_length=32).save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(tmp_path)
    texts = ["boat boat boat", "boat boat boat boat", "pizza pizza pizza", "pizza pizza"]
    first, second, third, fourth = topics_of(texts, TopicsConfig(embedder=str(tmp_path), count=2)).labels
    assert first == second != third == fourth


def test_the_source_is_the_files_own_word_or_the_first_folder():
    assert source_of(Sample(id="s", images=("coco/train2017/1.jpg",), source="mmevol_seed")) == "coco"
    assert source_of(Sample(id="s", images=("coco/1.jpg",), source="ShareGPT4V")) == "ShareGPT4V"
    assert source_of(Sample(id="s", images=(), source="llava")) == "text only"


def test_sources_are_counted_under_their_domains():
    samples = [Sample(id=str(n), images=(name,)) for n, name in enumerate(("coco/1.jpg", "coco/2.jpg", "DVQA/3.png"))]
    found = distribution(samples, {"Photos": ["COCO"], "Charts": ["dvqa"]})
    assert found == {
        "records": 3,
        "domains": {"Photos": {"coco": 2}, "Charts": {"DVQA": 1}},
        "items": {"coco": 0, "DVQA": 0},
    }
