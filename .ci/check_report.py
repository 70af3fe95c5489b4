"""Check that a report.json holds what it promises: `python .ci/check_report.py REPORT.json`."""

import json
import sys
from pathlib import Path
from typing import Any

ARMS = {"seed", "seed_matched", "evolved"}
PARTS = {
    "name",
    "headline",
    "findings",
    "arms",
    "measures",
    "differences",
    "leave_one_out",
    "ledger",
    "cost",
    "versions",
}


def check_arms(arms: dict[str, Any]) -> None:
    """Every arm says what it was trained on, and every score how it was made and how sure it is."""
    assert arms.keys() >= ARMS, sorted(arms)
    for name, arm in arms.items():
        assert arm["train_samples"] > 0, name
        assert arm["train_tokens"] > arm["supervised_tokens"] > 0, name
        for benchmark, entry in arm["benchmarks"].items():
            low, high = entry["ci95"]
            assert low <= high and entry["n"] > 0 and 0 <= entry["unparsed"] <= entry["n"], (name, benchmark, entry)
            assert entry["protocol_hash"], (name, benchmark)
    names = {tuple(arm["benchmarks"]) for arm in arms.values()}
    assert len(names) == 1, names


def check_differences(report: dict[str, Any]) -> None:
    """The average is among the differences, and every benchmark is once left out of it, for every measure."""
    rows, without = report["differences"], report["leave_one_out"]
    assert {row["measure"] for row in rows} <= report["measures"].keys(), report["measures"]
    benchmarks = set(report["arms"]["evolved"]["benchmarks"])
    for a, b, measure in {(row["a"], row["b"], row["measure"]) for row in rows}:
        pair = {"a": a, "b": b, "measure": measure}
        assert {row["benchmark"] for row in rows if pair.items() <= row.items()} == benchmarks, pair
        left_out = {row["benchmark"] for row in without if pair.items() <= row.items()}
        assert left_out == benchmarks - {"average"}, (pair, left_out)


def check_ledger(ledger: dict[str, Any]) -> None:
    """Records and items close in every round and direction and in total, and the rows add up to the total."""
    rows, total = ledger["rounds"], ledger["total"]
    assert rows, "no rounds"
    for row in (*rows, total):
        where = (row.get("round", "total"), row.get("direction"))
        failed_records = sum(row["failed_records"].values())
        eliminated, failed, surplus = (sum(row[kind].values()) for kind in ("eliminated", "failed", "surplus"))
        assert row["records"] == row["answered"] + failed_records, (where, row)
        assert row["given"] == row["kept"] + eliminated + failed, (where, row)
        assert row["generated"] == row["given"] - row["unwritten"] + surplus, (where, row)
    for key in ("records", "answered", "given", "kept", "generated", "unwritten"):
        assert total[key] == sum(row[key] for row in rows), (key, total[key])


def check_wording(folder: Path) -> None:
    """No question of a benchmark stands in the evolved data alone: the teacher does not teach to the test."""
    evolved, seed = (asked(folder / f"mixture.{arm}" / "conversations.json") for arm in ("evolved", "seed"))
    for line in (folder / "evaluate.evolved" / "items.jsonl").read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        assert words(item["question"]) not in evolved - seed, (item["benchmark"], item["question"])


def asked(conversations: Path) -> set[str]:
    """The first lines of all questions."""
    rows = json.loads(conversations.read_text(encoding="utf-8"))
    return {words(turn["value"]) for row in rows for turn in row["conversations"] if turn["from"] == "human"}


def words(question: str) -> str:
    """The first line without image slots, case and marks."""
    first = question.replace("<image>", "").strip().partition("\n")[0]
    return "".join(letter for letter in first.lower() if letter.isalnum() or letter == " ").strip()


def main(path: Path) -> None:
    """Check the JSON and that its page is there."""
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report.keys() >= PARTS, sorted(PARTS - report.keys())
    check_arms(report["arms"])
    check_differences(report)
    check_ledger(report["ledger"])
    check_wording(path.parent)
    assert (path.parent / "report.html").stat().st_size > 10_000
    sys.stdout.write(f"{report['name']}: report holds together\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
