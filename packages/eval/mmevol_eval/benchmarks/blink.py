"""BLINK: fourteen tasks of perception, one to four images a question.

Data: VLMEvalKit `BLINK.tsv` (1,901 rows), options A-D, `image` a list where there are several.
Prompt: the images, then question, options, request to select one.
Unparsed: wrong (the official tool draws a random letter after three judge calls).
Formula: accuracy in percent, overall and by task. The judge is told of refusals, as in the kit.
Source: Fu et al. 2024; VLMEvalKit at e8e78f05, `mcq_vanilla_eval`, `report_acc`.
"""

from __future__ import annotations

from functools import partial

from mmevol_eval.grading.choice import benchmark, grade

BENCHMARK = benchmark("BLINK", grade=partial(grade, prompt="choice_refusal"))
