"""RealWorldQA: photographs, many from vehicles, two to four options.

Data: VLMEvalKit `RealWorldQA.tsv` (765 rows).
Prompt: question, options, request to select one.
Unparsed: wrong (the official tool draws a random letter after three judge calls).
Formula: accuracy in percent.
Source: xAI 2024; VLMEvalKit at e8e78f05, `mcq_vanilla_eval`, `report_acc`.
"""

from __future__ import annotations

from mmevol_eval.grading.choice import benchmark

BENCHMARK = benchmark("RealWorldQA", aliases=("RWQA",))
