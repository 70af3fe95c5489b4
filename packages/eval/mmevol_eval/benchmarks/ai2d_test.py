"""AI2D, test split with masked labels: questions about diagrams.

Data: VLMEvalKit `AI2D_TEST.tsv` (3,088 rows), options A-D. `AI2D_TEST_NO_MASK` is another set.
Prompt: question, options, request to select one.
Unparsed: wrong (the official tool draws a random letter after three judge calls).
Formula: accuracy in percent, overall and by category.
Source: Kembhavi et al. 2016; VLMEvalKit at e8e78f05, `mcq_vanilla_eval`, `report_acc`.
"""

from __future__ import annotations

from mmevol_eval.grading.choice import benchmark

BENCHMARK = benchmark("AI2D_TEST", aliases=("AI2D",))
