"""Headlines computed from sums equal the benchmarks' own, whatever was answered and whichever clusters are drawn."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from support import tiny_llava

from mmevol_eval.benchmarks import find
from mmevol_eval.bootstrap import headline_of
from mmevol_eval.data import TWINS, BenchmarksConfig, locate, prepare
from mmevol_eval.evaluate import _rows
from mmevol_eval.predictions import Answer
from mmevol_eval.tasks import Task


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    world = tiny_llava.held_out(tmp_path_factory.mktemp("held_out"))
    config = BenchmarksConfig(source="twins", names=tuple(TWINS), items=84)
    return prepare(config, {"held_out": world}, tmp_path_factory.mktemp("twins")).files["benchmarks"]


def replies(items, rng):
    """Half right, the rest wrong in every way there is."""
    other = ["Yes", "No", "A", "B", "red", "yes and no", "", "7"]
    return {item.index: item.answer if rng.random() < 0.5 else rng.choice(other) for item in items}


def rows_of(name, folder, rules_name, seed):
    rules = find(name)
    items = list(rules.load(locate(folder, rules)))
    profile = "without_nlp" if name == "MMSInst" else rules_name if rules_name in rules.rules else rules.rules[0]
    given = replies(items, random.Random(seed))
    graded = rules.grade_all(items, given, profile, None)
    answers = {("real", name, index): Answer(text, None) for index, text in given.items()}
    task = Task(rules, profile, items, "")
    return rules, profile, graded, _rows(task, graded, rules.scores(graded, profile), None, answers)


@pytest.mark.parametrize("rules_name", ["vlmevalkit", "mmevol"])
@pytest.mark.parametrize("name", [name for name in TWINS if not find(name).needs_judge])
def test_the_headline_from_sums_is_the_benchmarks_own(folder, name, rules_name):
    for seed in range(3):
        rules, profile, graded, rows = rows_of(name, folder, rules_name, seed)
        headline = rules.headline(profile)
        own = 100 * rules.scores(graded, profile)[headline.name] / headline.maximum
        assert headline_of(rows) == pytest.approx(own, abs=0.006)  # VQAv2 rounds to two digits


@pytest.mark.parametrize("name", ["MME", "HallusionBench", "POPE", "MMMU_DEV_VAL"])
def test_a_subset_of_clusters_scores_as_the_benchmark_scores_it(folder, name):
    rules, profile, graded, rows = rows_of(name, folder, "vlmevalkit", 1)
    clusters = defaultdict(list)
    for place, row in enumerate(rows):
        clusters[row["cluster"]].append(place)
    rng = random.Random(0)
    chosen = sorted(rng.sample(sorted(clusters), len(clusters) * 3 // 4))
    places = [place for cluster in chosen for place in clusters[cluster]]
    headline = rules.headline(profile)
    own = 100 * rules.scores([graded[place] for place in places], profile)[headline.name] / headline.maximum
    assert headline_of([rows[place] for place in places]) == pytest.approx(own, abs=1e-6)
