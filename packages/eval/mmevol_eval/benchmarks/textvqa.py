"""TextVQA, validation split: questions about text in photographs, ten human answers each.

Data: VLMEvalKit `TextVQA_VAL.tsv`, answer = list of ten answers.
Prompt: the question, then a request for a single word or phrase.
Unparsed: nothing is; every reply is compared.
Formula: mean over the answers of min(1, equal others / 3), both sides always normalised (the kit's variant keeps a
period after a digit), in percent.
Source: Singh et al. 2019; VLMEvalKit at e8e78f05, `vqa_eval.py`.
"""

from __future__ import annotations

from mmevol_eval.benchmark import MMEVOL, Benchmark, Graded, Headline, Item, Judge
from mmevol_eval.grading import mmevol_prompts
from mmevol_eval.grading.tables import by_split_or_category
from mmevol_eval.grading.tsv import answers_of, read_items
from mmevol_eval.grading.vqa import accuracy, normalise


def grade(item: Item, reply: str, rules: str, judge: Judge | None) -> Graded:
    """VQA accuracy of one reply."""
    keep = rules != MMEVOL
    references = answers_of(item.answer)
    return Graded(item, accuracy(reply, references, keep), normalise(reply, keep_after_digit=keep), "rule")


BENCHMARK = Benchmark(
    name="TextVQA",
    aliases=("TextVQA_VAL",),
    version="2",  # 2: a blank split has no row
    load=read_items,
    prompt=mmevol_prompts.short,
    grade=grade,
    scores=lambda graded, rules: by_split_or_category(graded),
    headline=lambda rules: Headline("Overall"),
)
