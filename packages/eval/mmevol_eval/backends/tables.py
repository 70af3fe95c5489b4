"""The official package's tables under the names and units of `Benchmark.scores`: percent, `ROW|COLUMN`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]
Table = Mapping[str, Any]  # one data set's part of the driver's answer


def scores(answer: Table) -> dict[str, float]:
    """Every number of the official tables, as `Benchmark.scores` names it; cells without a value are left out."""
    found = _READERS[answer["kind"]](answer)
    return {name: float(value) for name, value in found.items() if value is not None}


def _choices(answer: Table) -> dict[str, Any]:
    """Shares of one by split and ability; `Overall` over all rows is the mean of the verdicts."""
    hits = [row["score"] for row in answer["items"]]
    result: dict[str, Any] = {"Overall": 100 * sum(hits) / len(hits)}
    for row in answer["table"]:
        prefix = "" if row["split"] in (None, "none") else f"{row['split']}|"
        cells = {name: value for name, value in row.items() if name != "split" and value is not None}
        result |= {f"{prefix}{name}": 100 * value for name, value in cells.items()}
    return result


def _yes_no(answer: Table) -> dict[str, Any]:
    rows: Rows = answer["table"]
    if "perception" in rows[0]:
        points = dict(rows[0])
        totals = {"total": points["perception"] + points["reasoning"], "cognition_percent": points["reasoning"] / 8}
        return totals | points
    result: dict[str, Any] = {}
    for row in rows:
        prefix = "" if row["split"] == "Overall" else f"{row['split']}|"
        cells = {name: value for name, value in row.items() if name != "split"}
        if "aAcc" in cells:
            cells["Avg"] = sum(cells.values()) / len(cells)  # of the OpenCompass table; the package leaves it out
        result |= {f"{prefix}{name}": value for name, value in cells.items()}
    return result


def _mathvista(answer: Table) -> dict[str, Any]:
    result: dict[str, Any] = {row["Task&Skill"]: row["acc"] for row in answer["table"]}
    for row in answer["table"]:
        columns = ("tot", "hit", "prefetch", "prefetch_rate")
        result |= {f"{row['Task&Skill']}|{column}": row[column] for column in columns}
    return result


def _mmvet(answer: Table) -> dict[str, Any]:
    """Both tables; a combination of one capability bears that capability's name and is left out, as it is in both."""
    result = {row["Category"]: row["acc"] for row in answer["fine"]}
    return result | {row["Category"]: row["acc"] for row in answer["table"] if row["tot"]}


def _llavabench(answer: Table) -> dict[str, Any]:
    return {
        f"{prefix}{name}": value
        for row in answer["table"]
        for prefix in ["" if row["split"] == "overall" else f"{row['split']}|"]
        for name, value in row.items()
        if name != "split"
    }


def _mia(answer: Table) -> dict[str, Any]:
    parsed = sum(row["score"] is not None for row in answer["items"])
    total = answer["table"].get("total_score", 0.0)
    return {"total_percent": 100 * total, "total_judged": total, "parsed": parsed, **answer["table"]}


_READERS: dict[str, Callable[[Table], dict[str, Any]]] = {
    "ImageMCQDataset": _choices,
    "MMMUDataset": _choices,
    "ImageYORNDataset": _yes_no,
    "MathVista": _mathvista,
    "ImageVQADataset": lambda answer: dict(answer["table"][0]),
    "OCRBench": lambda answer: dict(answer["table"]),
    "MMVet": _mmvet,
    "LLaVABench": _llavabench,
    "MIABench": _mia,
}
