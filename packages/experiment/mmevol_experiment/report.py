"""Stage `report`: what the evolved data was worth, as numbers (`report.json`) and as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from mmevol_core.config import Config
from mmevol_core.files import digest, read_json, replacing, write_json
from mmevol_core.stage import Stage, StageResult
from mmevol_experiment.page import page

AVERAGE = "average"
COMPARED = (("evolved", "seed_matched"), ("evolved", "seed"), ("seed_matched", "seed"))  # shown first
SEES = 0.15  # real minus blind on seed-type questions that the seed arm must reach before arms are compared
BENCHMARK_KEYS = ("score", "ci95", "n", "unparsed", "protocol", "protocol_hash")  # always; more when known


class ReportConfig(Config):
    """What the page is called and how much it shows."""

    name: str
    arms: tuple[str, ...]
    title: str | None = None
    lineages: int = Field(default=12, ge=0)


def run(config: ReportConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """Gather the numbers of all arms and write them as JSON and as HTML."""
    out_dir.mkdir(parents=True, exist_ok=True)
    numbers = gather(config, inputs)
    write_json(out_dir / "report.json", numbers)
    with replacing(out_dir / "report.html") as file:
        file.write(page(numbers, inputs, config.title or config.name, config.lineages).encode())
    files = {"report.html": out_dir / "report.html", "report.json": out_dir / "report.json"}
    return StageResult(files, {"headline": numbers["headline"], "sees": numbers["gates_passed"]})


def gather(config: ReportConfig, inputs: Mapping[str, Path]) -> dict[str, Any]:
    """`report.json`: every number of the page."""
    manifests = {
        role.partition(".")[2]: read_json(path) for role, path in inputs.items() if role.startswith("manifest.")
    }
    scores = {arm: read_json(inputs[f"scores.{arm}"]) for arm in config.arms}
    arms = {arm: _arm(scores[arm], manifests[f"finetune.{arm}"]["metrics"]) for arm in config.arms}
    differences = _differences(config.arms, inputs)
    seen = _sees(scores)
    return {
        "name": config.name,
        "headline": headline(differences, seen),
        "labels": labels(manifests),
        "arms": arms,
        "differences": differences,
        "gates": {arm: scores[arm]["gates"] for arm in config.arms},
        "gates_passed": seen,
        "ledger": read_json(inputs["ledger"]) if "ledger" in inputs else {},
        "cost": _cost(manifests),
        "versions": next(iter(manifests.values()))["versions"] if manifests else {},
        "provenance": {
            key: {part: receipt[part] for part in ("fingerprint", "version", "seconds", "finished")}
            for key, receipt in manifests.items()
        },
    }


def _arm(scores: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    benchmarks = {
        name: {key: entry[key] for key in (*BENCHMARK_KEYS, *_more(entry))}
        for name, entry in scores["benchmarks"].items()
    }
    return {
        "train_samples": training.get("train_samples"),
        "train_tokens": training.get("train_tokens"),
        "supervised_tokens": training.get("supervised_tokens"),
        "final_loss": training.get("final_loss"),
        "benchmarks": {**benchmarks, AVERAGE: _average(scores)},
    }


def _more(entry: Mapping[str, Any]) -> list[str]:
    names = ("unit", "percent", "maximum", "blind", "real_minus_blind", "real_minus_blind_ci95", "yes_share", "failed")
    return [name for name in names if name in entry]


def _average(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The mean over benchmarks, each in percent of its maximum, as a row like theirs."""
    entries = scores["benchmarks"]
    hashes = {name: entry["protocol_hash"] for name, entry in entries.items()}
    return {
        **scores[AVERAGE],
        "percent": scores[AVERAGE]["score"],
        "unparsed": sum(entry["unparsed"] for entry in entries.values()),
        "protocol": {"benchmark": AVERAGE, "of": hashes},
        "protocol_hash": digest(hashes),
    }


def _differences(arms: Sequence[str], inputs: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Paired differences of every two arms, the question of the experiment first."""
    from mmevol_eval.statistics import compare, read_items

    items = {arm: read_items(inputs[f"items.{arm}"]) for arm in arms}
    pairs = [pair for pair in COMPARED if set(pair) <= set(arms)]
    pairs += [
        (later, earlier)
        for number, later in enumerate(arms)
        for earlier in arms[:number]
        if {later, earlier} not in [set(pair) for pair in pairs]
    ]
    return [row.as_dict() for a, b in pairs for row in compare(items[a], items[b], names=(a, b))]


def find(
    differences: Sequence[Mapping[str, Any]], a: str, b: str, benchmark: str, measure: str
) -> Mapping[str, Any] | None:
    """One paired difference, or None when the experiment does not have it."""
    wanted = {"a": a, "b": b, "benchmark": benchmark, "measure": measure}
    return next((row for row in differences if wanted.items() <= row.items()), None)


def headline(differences: Sequence[Mapping[str, Any]], sees: bool | None) -> str:
    """The answer in words: how large, how sure, and whether it may be believed."""
    scored = find(differences, "evolved", "seed_matched", AVERAGE, "score")
    if scored is None:
        return "This experiment does not compare the evolved arm with seed data repeated to as many tokens."
    text = (
        f"The evolved arm is {_points(scored)} its control (seed data repeated to as many training tokens) on the "
        f"average of the benchmarks; {_verdict(scored)}."
    ) + _leans_on(differences)
    gain = find(differences, "evolved", "seed_matched", AVERAGE, "real_minus_blind")
    if gain is not None:
        text += f" Counting only what the image adds (real minus blind), it is {_points(gain)} it; {_verdict(gain)}."
    if sees is False:
        text += (
            f" Caution: the seed arm does not see (real minus blind below {SEES} on seed-type questions), "
            f"so these differences are not about vision."
        )
    return text


def _leans_on(differences: Sequence[Mapping[str, Any]]) -> str:
    """What remains of the average without the benchmark that moves it most: one format can carry a whole average."""
    rows = {
        row["benchmark"]: row["delta"]
        for row in differences
        if (row["a"], row["b"], row["measure"]) == ("evolved", "seed_matched", "score") and row["benchmark"] != AVERAGE
    }
    if len(rows) < 3:
        return ""
    most = max(rows, key=lambda name: abs(rows[name]))
    rest = sum(delta for name, delta in rows.items() if name != most) / (len(rows) - 1)
    return f" Without {most}, which moves it most ({rows[most]:+.1f}), it would be {rest:+.1f}."


def _points(row: Mapping[str, Any]) -> str:
    side = "above" if row["delta"] >= 0 else "below"
    low, high = row["ci95"]
    return f"{abs(row['delta']):.1f} points (95 % interval of the difference {low:+.1f} to {high:+.1f}) {side}"


def _verdict(row: Mapping[str, Any]) -> str:
    low, high = row["ci95"]
    if low > 0:
        return "the interval lies above zero"
    return "the interval lies below zero" if high < 0 else "the interval includes zero: no difference is shown"


def _sees(scores: Mapping[str, Any]) -> bool | None:
    """Whether the seed arm sees; None when it was not probed."""
    arm = scores.get("seed") or next(iter(scores.values()))
    probe = arm["gates"].get("seed_type")
    return None if probe is None else bool(probe["real_minus_blind"] >= SEES)


LABELS = {
    "teacher": "scripted teacher: a program rewrote the questions from the annotations; no language model was asked",
    "standins": "tiny stand-ins: the vision tower and the language model are small models made for this project, "
    "not CLIP and not a pretrained LLM",
    "twins": "benchmark twins: official file formats, prompts and rules over pictures of the tiny world, "
    "not the published questions",
}


def labels(manifests: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing a number."""

    def section(stage: str, key: str) -> Any:
        return manifests.get(stage, {}).get("config", {}).get(key) or {}

    backbone = section("pretrain", "backbone")
    parts = [str(backbone.get(part, "")) for part in ("vision_tower", "language_model")]
    found = {
        "teacher": (section("evolve", "teacher") or {}).get("kind") == "scripted",
        "standins": any(part.startswith("standin:") for part in parts),
        "twins": section("benchmarks", "source") == "twins",
    }
    return [LABELS[key] for key, holds in found.items() if holds]


def _cost(manifests: Mapping[str, Any]) -> dict[str, Any]:
    usage = manifests.get("evolve", {}).get("metrics", {}).get("usage", {})
    seconds = {key: receipt["seconds"] for key, receipt in manifests.items()}
    return {
        "teacher": usage,
        "usd": usage.get("usd", 0.0),
        "seconds": seconds,
        "seconds_total": round(sum(seconds.values()), 1),
    }


STAGE = Stage(
    config=ReportConfig,
    needs=("scores", "items", "manifest"),
    run=run,
    version="2",
    accepts=("evolved", "ledger", "images", "losses"),
)
