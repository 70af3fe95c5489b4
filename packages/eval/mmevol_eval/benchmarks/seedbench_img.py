"""SEED-Bench, questions about single images: nine kinds of perception and reasoning, four options.

Data: VLMEvalKit `SEEDBench_IMG.tsv`, options A-D, category = the nine evaluation dimensions.
Prompt: question, options, request to select one.
Unparsed: wrong (the official tool draws a random letter after three judge calls).
Formula: accuracy in percent, overall and by category.
Source: Li et al. 2023; VLMEvalKit at e8e78f05, `mcq_vanilla_eval`, `report_acc`.
"""

from __future__ import annotations

from mmevol_eval.grading.choice import benchmark

BENCHMARK = benchmark("SEEDBench_IMG", aliases=("SEEDBench",))
