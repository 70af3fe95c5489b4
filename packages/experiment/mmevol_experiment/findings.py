"""The report's answer in words: how large the differences are, how sure, and what must be known to believe them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]  # of `differences` or `leave_one_out` in report.json

AVERAGE = "average"
EVOLVED, CONTROL, SEED = "evolved", "seed_matched", "seed"
SEES = 0.15  # real minus exchanged on seed-type questions that the seed arm must reach before arms are compared
EXCHANGED = "real_minus_blind"  # key of "real minus exchanged pictures" in every JSON file
MEASURE_NAMES = {"score": "score", EXCHANGED: "real minus exchanged pictures"}


def findings(
    arms: Mapping[str, Any],
    differences: Sequence[Row],
    without: Sequence[Row],
    readable: Sequence[Row],
    sees: bool | None,
) -> list[str]:
    """Sentences, the answer first; together they are the headline."""
    scored = find(differences, EVOLVED, CONTROL, AVERAGE, "score")
    if scored is None:
        return ["This experiment does not compare the evolved arm with seed data repeated to as many tokens."]
    texts = [
        f"The evolved arm is {_points(scored)} its control (seed data repeated to as many training tokens) on the "
        f"average of the {_benchmarks(differences)} benchmarks; {_verdict(scored)}."
        + _leans_on(differences, without, "score")
    ]
    texts += _format(readable, _benchmarks(differences))
    plain = find(differences, EVOLVED, SEED, AVERAGE, "score")
    if plain is not None:
        texts.append(f"It is {_points(plain)} the plain seed data; {_verdict(plain)}.")
    gain = find(differences, EVOLVED, CONTROL, AVERAGE, EXCHANGED)
    if gain is not None:
        texts.append(
            f"In real minus exchanged pictures (the score minus the score with another item's picture) it is "
            f"{_points(gain)} the control; {_verdict(gain)}." + _leans_on(differences, without, EXCHANGED)
        )
    return texts + _supervision(arms) + _caution(sees)


def find(differences: Sequence[Row], a: str, b: str, benchmark: str, measure: str) -> Row | None:
    """One paired difference, or None when the experiment does not have it."""
    wanted = {"a": a, "b": b, "benchmark": benchmark, "measure": measure}
    return next((row for row in differences if wanted.items() <= row.items()), None)


def _benchmarks(differences: Sequence[Row]) -> int:
    return len({row["benchmark"] for row in differences} - {AVERAGE})


def _leans_on(differences: Sequence[Row], without: Sequence[Row], measure: str) -> str:
    """What remains of the average without the benchmark that moves it most: one format can carry a whole average."""
    rows = [find(differences, EVOLVED, CONTROL, row["benchmark"], measure) for row in without]
    moved = {row["benchmark"]: row["delta"] for row in rows if row is not None}
    if not moved:
        return ""
    most = max(moved, key=lambda name: abs(moved[name]))
    rest = find(without, EVOLVED, CONTROL, most, measure)
    assert rest is not None, f"no average without {most}"
    return f" Without {most}, which moves it most ({moved[most]:+.1f}), it would be {interval(rest)}."


def _format(readable: Sequence[Row], benchmarks: int) -> list[str]:
    """An arm that has forgotten how to name a letter loses whole benchmarks by it, whatever it sees."""
    rest = find(readable, EVOLVED, CONTROL, AVERAGE, "score")
    if rest is None:
        return []
    left = len(rest["benchmarks"])
    return [
        f"In {benchmarks - left} of the {benchmarks} benchmarks half or more of the answers of one of the two cannot "
        f"be parsed, which is format; on the other {left} alone it would be {interval(rest)}."
    ]


def _supervision(arms: Mapping[str, Any]) -> list[str]:
    """Equal numbers of tokens are not equal numbers of tokens to learn from."""
    told = [
        f"{name} {_count(arms[name]['supervised_tokens'])} of {_count(arms[name]['train_tokens'])}"
        for name in (EVOLVED, CONTROL, SEED)
        if name in arms and arms[name].get("supervised_tokens") and arms[name].get("train_tokens")
    ]
    if not told:
        return []
    return [
        f"The control matches the evolved arm in training tokens, not in supervision; answers, which alone are "
        f"learned from, are: {', '.join(told)} tokens."
    ]


def _caution(sees: bool | None) -> list[str]:
    if sees is not False:
        return []
    return [
        f"Caution: the seed arm does not see (real minus exchanged pictures below {SEES} on seed-type questions), "
        f"so these differences are not about vision."
    ]


def _count(tokens: int) -> str:
    """`213 K`, `3.7 M`."""
    return f"{tokens / 1e6:.1f} M" if tokens >= 1e6 else f"{tokens / 1e3:.0f} K"


def interval(row: Row) -> str:
    """`+4.5 [+1.0, +8.0]`."""
    low, high = row["ci95"]
    return f"{row['delta']:+.1f} [{low:+.1f}, {high:+.1f}]"


def _points(row: Row) -> str:
    side = "above" if row["delta"] >= 0 else "below"
    low, high = row["ci95"]
    return f"{abs(row['delta']):.1f} points (95 % interval of the difference {low:+.1f} to {high:+.1f}) {side}"


def _verdict(row: Row) -> str:
    low, high = row["ci95"]
    if low > 0:
        return "the interval lies above zero"
    return "the interval lies below zero" if high < 0 else "the interval includes zero: no difference is shown"


LABELS = {
    "teacher": "scripted teacher: a program rewrote the questions from the annotations; no language model was asked",
    "curator": "scripted curation: the same program decided on relevance and completed records",
    "standins": "tiny stand-ins: the vision tower and the language model are small models made for this project, "
    "not CLIP and not a pretrained LLM",
    "twins": "benchmark twins: official file formats, prompts and rules over pictures of the tiny world, "
    "not the published questions",
    "judge": "scripted judge: MIA-Bench is graded by a program that checks each component of an instruction, "
    "not by a model that reads",
    "asks": "official package: VLMEvalKit (ms-vlmeval) asked the checkpoints in its own loop and scored by its own "
    "rules; pictures were not exchanged, and nothing was probed",
    "scores": "official package: VLMEvalKit (ms-vlmeval) scored by its own rules what our engine was told",
}


def labels(manifests: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing a number."""

    def section(stage: str, key: str) -> Any:
        return manifests.get(stage, {}).get("config", {}).get(key) or {}

    backbone = section("pretrain", "backbone")
    parts = [str(backbone.get(part, "")) for part in ("vision_tower", "language_model")]
    evaluations = [stage for stage in manifests if stage.startswith("evaluate")]
    found = {
        "teacher": (section("evolve", "teacher") or {}).get("kind") == "scripted",
        "curator": (section("curation", "teacher") or {}).get("kind") == "scripted",
        "standins": any(part.startswith("standin:") for part in parts),
        "twins": section("benchmarks", "source") == "twins",
        "judge": any(
            section(stage, "judge") == "scripted" and "MIA-Bench" in section(stage, "names") for stage in evaluations
        ),
    }
    backends = [section(stage, "backend") for stage in evaluations if section(stage, "backend")]
    asks = [one.get("asks", True) for one in backends]
    found |= {"asks": any(asks), "scores": not all(asks)}
    return [LABELS[key] for key, holds in found.items() if holds]
