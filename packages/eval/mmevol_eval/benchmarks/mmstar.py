"""MMStar: multiple choice that cannot be answered without the image.

Data: VLMEvalKit `MMStar.tsv` (1,500 rows), options A-D, category = six core capabilities.
Prompt: question, options, request to select one.
Unparsed: wrong (the official tool draws a random letter after three judge calls).
Formula: accuracy in percent, overall and by category.
Source: Chen et al. 2024; VLMEvalKit at e8e78f05, `mcq_vanilla_eval`, `report_acc`.
"""

from __future__ import annotations

from mmevol_eval.grading.choice import benchmark

BENCHMARK = benchmark("MMStar")
