# ruff: noqa: E402, I001 - the paths come first
"""Tables of parsers on both corpora: `python tests/dataengine/parse_corpus/compare.py` (from the repository root)."""

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import json_repair
import parse_corpus_adversarial_values as adversarial
import parse_corpus_cases as corpus
from mmevol_dataengine.parse import parse_items, parse_scores


def loads(raw, kind):
    try:
        return json.loads(raw)
    except json.JSONDecodeError:
        return None


PARSERS = {
    "json.loads": loads,
    "json-repair": lambda raw, kind: json_repair.loads(raw) or None,
    "ours": lambda raw, kind: {"qas": parse_items, "score": parse_scores}[kind](raw),
}


def table(name, cases):
    known = sum(case.expected is not None for case in cases)
    print(f"\n{name}: {len(cases)} replies\n")
    print(f"| parser | recovered of {known} | wrong or falsely accepted | missed |\n|---|---:|---:|---:|")
    for parser, parse in PARSERS.items():
        found = [(parse(case.raw, case.kind), case.expected) for case in cases]
        right = sum(value == expected and value is not None for value, expected in found)
        wrong = sum(value is not None and value != expected for value, expected in found)
        print(f"| {parser} | {right} | {wrong} | {sum(value is None and want is not None for value, want in found)} |")


def main():
    table("first corpus, written with the parser", corpus.cases())
    table("second corpus, written without looking at it", adversarial.cases())


if __name__ == "__main__":
    main()
