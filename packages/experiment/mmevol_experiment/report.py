"""Stage `report`: what the evolved data was worth, as numbers (`report.json`) and as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from mmevol_core.config import Config
from mmevol_core.files import digest, read_json, replacing, write_json
from mmevol_core.stage import Stage, StageResult
from mmevol_eval.results_page import benchmark_files, own_paths, write_page
from mmevol_eval.statistics import MEASURES, compare, leave_one_out, read_items
from mmevol_experiment.findings import AVERAGE, EXCHANGED, SEES, findings, labels
from mmevol_experiment.page import page

Items = dict[str, list[dict[str, Any]]]  # benchmark -> rows of items.jsonl

COMPARED = (("evolved", "seed_matched"), ("evolved", "seed"), ("seed_matched", "seed"))  # shown first
BENCHMARK_KEYS = ("score", "ci95", "n", "unparsed", "protocol", "protocol_hash")  # always; more when known


class ReportConfig(Config):
    """What the page is called and how much it shows."""

    name: str
    arms: tuple[str, ...]
    title: str | None = None
    lineages: int = Field(default=12, ge=0)


def run(config: ReportConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """Gather the numbers of all arms and write them as JSON and as HTML; one page of results for each arm."""
    out_dir.mkdir(parents=True, exist_ok=True)
    numbers = gather(config, inputs)
    write_json(out_dir / "report.json", numbers)
    with replacing(out_dir / "report.html") as file:
        file.write(page(numbers, inputs, config.title or config.name, config.lineages).encode())
    files = {"report.html": out_dir / "report.html", "report.json": out_dir / "report.json"}
    for arm in config.arms:
        files[f"results.{arm}"] = out_dir / f"results.{arm}.html"
        manifest = inputs[f"manifest.evaluate.{arm}"]
        folder, own = benchmark_files(manifest), own_paths(manifest)
        title = f"{config.title or config.name}: {arm}"
        write_page(inputs[f"scores.{arm}"], inputs[f"items.{arm}"], files[f"results.{arm}"], folder, title, own=own)
    return StageResult(files, {"headline": numbers["headline"], "sees": numbers["gates_passed"]})


def gather(config: ReportConfig, inputs: Mapping[str, Path]) -> dict[str, Any]:
    """`report.json`: every number of the page."""
    manifests = {
        role.partition(".")[2]: read_json(path) for role, path in inputs.items() if role.startswith("manifest.")
    }
    scores = {arm: read_json(inputs[f"scores.{arm}"]) for arm in config.arms}
    arms = {arm: _arm(scores[arm], manifests[f"finetune.{arm}"]["metrics"]) for arm in config.arms}
    items = {arm: read_items(inputs[f"items.{arm}"]) for arm in config.arms}
    differences, without = _differences(config.arms, items)
    readable = _readable(arms, items)
    seen = _sees(scores)
    found = findings(arms, differences, without, readable, seen)
    versions: dict[str, str] = next(iter(manifests.values()))["versions"] if manifests else {}
    return {
        "name": config.name,
        "headline": " ".join(found),
        "findings": found,
        "labels": labels(manifests),
        "arms": arms,
        "measures": dict(MEASURES),
        "differences": differences,
        "leave_one_out": without,
        "readable": readable,
        "gates": {arm: scores[arm]["gates"] for arm in config.arms},
        "gates_passed": seen,
        "ledger": read_json(inputs["ledger"]) if "ledger" in inputs else {},
        **({"curation": read_json(inputs["curation"])} if "curation" in inputs else {}),
        "cost": _cost(manifests),
        "versions": versions,
        "provenance": {
            key: {
                **{part: receipt[part] for part in ("fingerprint", "version", "seconds", "finished")},
                "other_versions": dict(receipt["versions"].items() - versions.items()),
            }
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
    measured = ("blind", "real_minus_blind", "real_minus_blind_ci95", "yes_share", "mde", "clean")
    counted = ("failed", "empty", "truncated", "without_answer")
    return [name for name in ("unit", "percent", "maximum", *measured, *counted) if name in entry]


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


def _differences(arms: Sequence[str], items: Mapping[str, Items]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Paired differences of every two arms, the question of the experiment first, and their averages without each."""
    pairs = [pair for pair in COMPARED if set(pair) <= set(arms)]
    pairs += [
        (later, earlier)
        for number, later in enumerate(arms)
        for earlier in arms[:number]
        if {later, earlier} not in [set(pair) for pair in pairs]
    ]
    rows = [row.as_dict() for a, b in pairs for row in compare(items[a], items[b], names=(a, b))]
    without = [row.as_dict() for a, b in pairs for row in leave_one_out(items[a], items[b], names=(a, b))]
    return rows, without


def _readable(arms: Mapping[str, Any], items: Mapping[str, Items]) -> list[dict[str, Any]]:
    """The average over the benchmarks in which most answers of both arms can be parsed: what is not format alone."""
    rows: list[dict[str, Any]] = []
    for a, b in COMPARED:
        if not {a, b} <= items.keys():
            continue
        entries = {name: [arms[arm]["benchmarks"][name] for arm in (a, b)] for name in items[a]}
        names = [name for name, pair in entries.items() if all(2 * one["unparsed"] < one["n"] for one in pair)]
        found = compare(items[a], items[b], names, names=(a, b)) if 0 < len(names) < len(entries) else []
        rows += [{**row.as_dict(), "benchmarks": names} for row in found if row.benchmark == AVERAGE]
    return rows


def _sees(scores: Mapping[str, Any]) -> bool | None:
    """Whether the seed arm sees; None when it was not probed."""
    arm = scores.get("seed") or next(iter(scores.values()))
    probe = arm["gates"].get("seed_type")
    return None if probe is None else bool(probe[EXCHANGED] >= SEES)


def _cost(manifests: Mapping[str, Any]) -> dict[str, Any]:
    asked = [manifests[key]["metrics"].get("usage", {}) for key in ("curation", "evolve") if key in manifests]
    usage = {key: sum(one.get(key, 0) for one in asked) for key in (asked[-1] if asked else ())}
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
    version="8",  # 8: intervals of averages with few, lone or uniform clusters
    accepts=("evolved", "ledger", "images", "losses", "curation", "distribution"),
)
