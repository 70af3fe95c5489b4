"""The official package's verdict on every row, read from the files that it leaves beside the predictions.

Runs inside the package's environment, as part of `driver.py`. Each reader takes (data set, prediction file,
name of the judge in file names, judge) and returns `{"index", "score", "parsed", "method"}` of every row that the
package scored; `method` is `rule`, `judge`, `none`, or `random` where the package drew the answer.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _beside(file: Path, suffix: str, format_: str | None = None) -> Any:
    smp = importlib.import_module("vlmeval.smp")
    return smp.load(smp.get_intermediate_file_path(str(file), suffix, format_))


def _verdict(index: Any, score: float | None, parsed: Any, method: str) -> dict[str, Any]:
    return {"index": str(index), "score": score, "parsed": str(parsed), "method": method}


def _choices(dataset: Any, file: Path, model: str, judge: Any) -> list[dict[str, Any]]:
    group = _groups(dataset)
    drawn = {group(index) for index, made in judge.found.items() if "thus randomly generate one" in made.get("log", "")}
    judged = {group(index) for index in judge.calls}
    verdicts = []
    for row in _beside(file, f"_{model}_result").to_dict("records"):
        index, log = str(row["index"]), str(row["log"])
        letter = judge.found.get(index, {}).get("opt", "")
        if index in drawn:
            verdicts.append(_verdict(index, row["hit"], letter, "random"))
        elif "no GPT-based answer matching" in log:
            verdicts.append(_verdict(index, row["hit"], "", "none"))
        else:
            verdicts.append(_verdict(index, row["hit"], letter, "judge" if index in judged else "rule"))
    return verdicts


def _groups(dataset: Any) -> Callable[[str], str]:
    """From a row to the row that its verdict stands on: itself, or of a circular set the unrotated one."""
    if "mmbench" not in dataset.dataset_name.lower():
        return lambda index: index
    data = dataset.data
    named = dict(zip(data["index"], data["g_index"], strict=True)) if "g_index" in data else {}
    return lambda index: str(named.get(int(index), int(index) % 1_000_000))


def _yes_no(dataset: Any, file: Path, model: str, judge: Any) -> list[dict[str, Any]]:
    verdicts = []
    for row in _beside(file, "_auxmatch").to_dict("records"):
        found = row["extracted"] if row["extracted"] != "Unknown" else ""
        method = "none" if not found else "judge" if judge.calls[str(row["index"])] else "rule"
        verdicts.append(_verdict(row["index"], float(row["score"]), found, method))
    return verdicts


def _mathvista(dataset: Any, file: Path, model: str, judge: Any) -> list[dict[str, Any]]:
    check = importlib.import_module("vlmeval.dataset.utils.mathvista").post_check
    verdicts = []
    for row in _beside(file, f"_{model}").to_dict("records"):
        method = "rule" if row["log"] == "Prefetch succeed" else "none" if "retries failed" in row["log"] else "judge"
        verdicts.append(_verdict(row["index"], float(bool(check(row))), row["res"], method))
    return verdicts


def _compared(dataset: Any, file: Path, model: str, judge: Any) -> list[dict[str, Any]]:
    rows = _beside(file, "_results").to_dict("records")
    return [_verdict(row["index"], row["eval_score"], row["eval_pred"], "rule") for row in rows]


def _contained(dataset: Any, file: Path, model: str, judge: Any) -> list[dict[str, Any]]:
    """OCRBench keeps no verdicts: its own evaluation of one row after the other gives them."""
    smp = importlib.import_module("vlmeval.smp")
    rows, one, verdicts = smp.load(str(file)), file.with_name("one_row.tsv"), []
    for place in range(len(rows)):
        smp.dump(rows.iloc[place : place + 1], str(one))
        hit = dataset.evaluate(str(one))["Final Score"]
        verdicts.append(_verdict(rows.iloc[place]["index"], float(hit), rows.iloc[place]["prediction"], "rule"))
    return verdicts


def _rated(dataset: Any, file: Path, model: str, judge: Any) -> list[dict[str, Any]]:
    rows = _beside(file, f"_{model}").to_dict("records")
    return [
        _verdict(row["index"], row["score"], row["score"], "none" if "retries failed" in row["log"] else "judge")
        for row in rows
    ]


def _compared_ratings(dataset: Any, file: Path, model: str, judge: Any) -> list[dict[str, Any]]:
    verdicts = []
    for row in _beside(file, "_openai_result").to_dict("records"):
        missed = row["score"] == -1 and row["gpt4_score"] == -1
        value = min(1.0, max(0.0, row["score"] / 10))
        parsed = "" if missed else f"{row['gpt4_score']:g} {row['score']:g}"
        verdicts.append(_verdict(row["index"], value, parsed, "none" if missed else "judge"))
    return verdicts


def _components(dataset: Any, file: Path, model: str, judge: Any) -> list[dict[str, Any]]:
    means = importlib.import_module("vlmeval.dataset.miabench").get_score_dict
    verdicts = []
    for _, row in _beside(file, f"_{model}").iterrows():
        one = row.to_frame().T.reset_index(drop=True)
        total = means(one, one["score_raw"]).get("total_score")
        parsed = "" if total is None else f"{total:g}"
        verdicts.append(_verdict(row["index"], total, parsed, "none" if total is None else "judge"))
    return verdicts


READERS: dict[str, Callable[[Any, Path, str, Any], list[dict[str, Any]]]] = {
    "ImageMCQDataset": _choices,
    "MMMUDataset": _choices,
    "ImageYORNDataset": _yes_no,
    "MathVista": _mathvista,
    "ImageVQADataset": _compared,
    "OCRBench": _contained,
    "MMVet": _rated,
    "LLaVABench": _compared_ratings,
    "MIABench": _components,
}
