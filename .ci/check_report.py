"""Check that a report.json holds what it promises: `python .ci/check_report.py REPORT.json`."""

import json
import sys
from pathlib import Path

report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
assert {"name", "arms", "differences", "ledger", "cost", "versions"} <= report.keys(), sorted(report)
assert {"seed", "seed_matched", "evolved"} <= report["arms"].keys(), sorted(report["arms"])
for name, arm in report["arms"].items():
    assert arm["train_samples"] > 0 and arm["train_tokens"] > 0, name
    for benchmark, entry in arm["benchmarks"].items():
        low, high = entry["ci95"]
        assert low <= high and entry["n"] > 0 and 0 <= entry["unparsed"] <= entry["n"], (name, benchmark, entry)
        assert entry["protocol_hash"], (name, benchmark)
assert {row["benchmark"] for row in report["differences"]} >= {"average"}, report["differences"]
total = report["ledger"]["total"]
rejected = sum(total["eliminated"].values()) + sum(total["failed"].values())
assert total["generated"] == total["kept"] + rejected, total
assert (Path(sys.argv[1]).parent / "report.html").stat().st_size > 10_000
sys.stdout.write(f"{report['name']}: report holds together\n")
