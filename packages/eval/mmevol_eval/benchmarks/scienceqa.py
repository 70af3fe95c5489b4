"""ScienceQA, test questions with an image: up to five options and a hint.

Data: VLMEvalKit `ScienceQA_TEST.tsv`.
Prompt: hint, question, options, request to select one.
Unparsed: wrong (the official tool draws a random letter after three judge calls).
Formula: accuracy in percent, overall and by category.
Source: Lu et al. 2022; VLMEvalKit at e8e78f05, `mcq_vanilla_eval`, `report_acc`.
"""

from __future__ import annotations

from mmevol_eval.grading.choice import benchmark

BENCHMARK = benchmark("ScienceQA", aliases=("ScienceQA_TEST", "ScienceQA_VAL"))
