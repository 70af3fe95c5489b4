"""The third corpus as one list."""

from __future__ import annotations

import third_cuts
import third_scores
import third_syntax
import third_values
import third_wrapping
from third_items import Case


def cases() -> list[Case]:
    modules = (third_wrapping, third_syntax, third_values, third_cuts, third_scores)
    return [case for module in modules for case in module.CASES]
