"""What evolution changed, in numbers: skills, steps, scores, wording and objects, round by round.

The measures of the paper's section 3.3 (figures 8-10). Root verbs there come from a neural parser; here the root is the
first known verb of a question and its object the first content word after it, which needs no model and is stated so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmevol_core.sample import QA, Sample
from mmevol_dataengine.vocabulary import words

HEAD = 200  # objects that count as the head of the distribution; the paper plots the 200 most frequent
TOP = 40  # verb-noun pairs and objects that are listed

_VERB_LIST = """
add affect analyze answer appear ask assess belong calculate carry change choose classify combine compare complete
consider contain contribute convey count cover create decide define depict describe determine differ discuss do draw
eat enhance estimate evaluate examine explain face fill find fit give happen have hold identify imagine indicate
infer influence judge justify know lie list locate look make match mean measure mention move name need observe
occupy offer place play point predict provide put read rank reason reflect relate remain represent reveal rewrite
ride say see select serve show sit sort stand start state suggest summarize support take talk tell think touch
translate try understand use wear work write
"""
_EMPTY_LIST = """
a an the this that these those of in on at to for from with by and or is are was be being been it its their his her
your you we i one there all each every any some no not step what which who how
"""
_VERBS, _EMPTY = frozenset(_VERB_LIST.split()), frozenset(_EMPTY_LIST.split())


@dataclass
class Figures:
    """Sums over the items of one round; lists of counts are histograms by value."""

    items: int = 0
    skills: Counter[str] = field(default_factory=Counter)
    skills_per_item: Counter[int] = field(default_factory=Counter)
    steps_per_item: Counter[int] = field(default_factory=Counter)
    objects_per_item: Counter[int] = field(default_factory=Counter)
    scores: Counter[int] = field(default_factory=Counter)  # floor of the score
    score_sum: float = 0.0
    formats: Counter[str] = field(default_factory=Counter)
    directions: Counter[str] = field(default_factory=Counter)
    objects: Counter[str] = field(default_factory=Counter)
    roots: Counter[str] = field(default_factory=Counter)  # "verb noun"
    question_words: int = 0
    answer_words: int = 0

    def add(self, item: QA) -> None:
        """Count one item."""
        self.items += 1
        self.skills.update(item.skills)
        self.skills_per_item[len(item.skills)] += 1
        self.steps_per_item[len(item.steps)] += 1
        self.objects_per_item[len(item.objects)] += 1
        if item.score is not None:
            self.scores[int(item.score)] += 1
            self.score_sum += item.score
        self.formats[item.format or "none"] += 1
        self.directions[item.direction or "seed"] += 1
        self.objects.update(name.lower() for name in item.objects)
        self.roots[" ".join(root(item.question))] += 1
        self.question_words += len(item.question.split())
        self.answer_words += len(item.answer.split())

    def as_dict(self) -> dict[str, Any]:
        """JSON form with means per item; `roots` and `objects` list the most frequent only."""
        scored = self.scores.total()
        verbs = Counter[str]()
        for pair, count in self.roots.items():
            verbs[pair.split(" ")[0]] += count
        return {
            "items": self.items,
            "skills_per_item": _mean(self.skills_per_item),
            "steps_per_item": _mean(self.steps_per_item),
            "objects_per_item": _mean(self.objects_per_item),
            "question_words": self.question_words / self.items if self.items else 0.0,
            "answer_words": self.answer_words / self.items if self.items else 0.0,
            "score": self.score_sum / scored if scored else None,
            "histograms": {
                "skills_per_item": _by_value(self.skills_per_item),
                "steps_per_item": _by_value(self.steps_per_item),
                "scores": _by_value(self.scores),
            },
            "skills": dict(self.skills.most_common()),
            "formats": dict(self.formats.most_common()),
            "directions": dict(self.directions.most_common()),
            "verbs": dict(verbs.most_common(TOP)),
            "roots": dict(self.roots.most_common(TOP)),
            "distinct_roots": len(self.roots),
            "objects": dict(self.objects.most_common(TOP)),
            "distinct_objects": len(self.objects),
            "tail_share": _tail(self.objects),
        }


class Analysis:
    """Collects figures of every round, one sample at a time."""

    def __init__(self) -> None:
        self._rounds: dict[int, Figures] = {}

    def add(self, sample: Sample) -> None:
        """Count all rounds of a sample."""
        for number, generation in enumerate(sample.rounds):
            figures = self._rounds.setdefault(number, Figures())
            for item in generation:
                figures.add(item)

    def as_dict(self) -> dict[str, Any]:
        """`rounds`: figures per round; `before` (the seed), `after` (all later rounds), and what is new there.

        `long_tail` has the most frequent objects after evolution: [name, mentions before, mentions after].
        """
        before, after = self._rounds.get(0, Figures()), Figures()
        for number, figures in self._rounds.items():
            if number:
                after = _merged(after, figures)
        new = after.objects.keys() - before.objects.keys()
        return {
            "rounds": {str(number): figures.as_dict() for number, figures in sorted(self._rounds.items())},
            "before": before.as_dict(),
            "after": after.as_dict(),
            "long_tail": [[name, before.objects[name], count] for name, count in after.objects.most_common(HEAD)],
            "new_objects": len(new),
            "new_objects_share": sum(after.objects[name] for name in new) / max(1, after.objects.total()),
            "root_rule": "first known verb of the question, first content word after it",
        }


def analyse(samples: Iterable[Sample]) -> dict[str, Any]:
    """Figures of a whole data set; memory does not grow with it, except by its vocabulary."""
    analysis = Analysis()
    for sample in samples:
        analysis.add(sample)
    return analysis.as_dict()


def root(question: str) -> tuple[str, str]:
    """First known verb of a question and the first content word after it; "be" stands for a question without one."""
    first_line = re.split(r"\n", question, maxsplit=1)[0]
    tokens = words(first_line)
    for place, token in enumerate(tokens):
        if token in _VERBS and not (token == "do" and place < len(tokens) - 1 and _has_verb(tokens[place + 1 :])):
            return token, _content(tokens[place + 1 :])
    return "be", _content(tokens)


def _has_verb(tokens: Sequence[str]) -> bool:
    return any(token in _VERBS for token in tokens)


def _content(tokens: Sequence[str]) -> str:
    return next((token for token in tokens if token not in _EMPTY and token not in _VERBS), "-")


def _merged(one: Figures, other: Figures) -> Figures:
    return Figures(**{name: getattr(one, name) + getattr(other, name) for name in vars(one)})


def _mean(histogram: Counter[int]) -> float:
    total = histogram.total()
    return sum(value * count for value, count in histogram.items()) / total if total else 0.0


def _by_value(histogram: Counter[int]) -> dict[str, int]:
    return {str(value): histogram[value] for value in sorted(histogram)}


def _tail(counts: Counter[str]) -> float:
    """Share of mentions that fall outside the most frequent objects."""
    total = counts.total()
    return 1 - sum(count for _, count in counts.most_common(HEAD)) / total if total else 0.0
