"""Figures before and after evolution, checked by hand."""

import pytest

from mmevol_core.sample import QA, Sample, Step
from mmevol_dataengine.analysis import analyse, root

STEP = Step(manipulation="grounding_1(cat)->bbx_1", description="")
SAMPLES = [
    Sample(
        id="a",
        images=("a.png",),
        rounds=(
            (QA(id="1", question="Describe the cat.", answer="It is red", objects=("cat",), skills=("ocr",)),),
            (
                QA(
                    id="2",
                    question="Compare the cat with the sofa.",
                    answer="Larger",
                    objects=("Cat", "sofa"),
                    skills=("grounding", "ocr"),
                    steps=(STEP, STEP, STEP),
                    score=6.5,
                    direction="cognitive_reasoning",
                ),
            ),
        ),
    ),
    Sample(id="b", images=("b.png",), rounds=((QA(id="3", question="What is it?", answer="A dog"),), ())),
]


def test_means_histograms_and_new_objects():
    figures = analyse(SAMPLES)
    before, after = figures["before"], figures["after"]
    assert before["items"] == 2
    assert before["skills_per_item"] == pytest.approx(0.5)  # (1 + 0) / 2
    assert before["histograms"]["skills_per_item"] == {"0": 1, "1": 1}
    assert after["steps_per_item"] == 3.0
    assert after["score"] == 6.5
    assert after["histograms"]["scores"] == {"6": 1}
    assert after["directions"] == {"cognitive_reasoning": 1}
    assert figures["new_objects"] == 1  # sofa; Cat and cat are one
    assert figures["new_objects_share"] == pytest.approx(0.5)
    assert set(figures["rounds"]) == {"0", "1"}


def test_an_empty_data_set_has_figures_too():
    assert analyse([])["after"]["items"] == 0


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Describe the red cat in detail.", ("describe", "red")),
        ("What does the man hold?", ("hold", "-")),
        ("What do they do?", ("do", "-")),
        ("What colour is the bus?\nA. red\nB. green", ("be", "colour")),
        ("Can you identify the objects?", ("identify", "object")),
    ],
)
def test_root_verb_and_noun(question, expected):
    assert root(question)[0] == expected[0]
    if expected[1] != "-":
        assert root(question)[1] == expected[1]


def test_the_long_tail_sets_the_most_frequent_objects_beside_their_mentions_before():
    def item(*objects):
        return QA(id="q", question="What?", answer="That", objects=objects)

    sample = Sample(id="s", images=("a.png",), rounds=((item("Cup"),), (item("cup", "spoon"),), (item("spoon"),)))
    assert analyse([sample])["long_tail"] == [["spoon", 0, 2], ["cup", 1, 1]]
