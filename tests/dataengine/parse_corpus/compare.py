# ruff: noqa: E402, I001 - the paths come first
"""Tables of parsers on the six corpora; run it from the root of the repository."""

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import fifth
import fourth
import json_repair
import parse_corpus_adversarial_values as adversarial
import parse_corpus_cases as corpus
import sixth
import third
from mmevol_dataengine.parse import parse_reply
from third_items import Case


def loads(raw, kind):
    try:
        return json.loads(raw)
    except json.JSONDecodeError:
        return None


PARSERS = {
    "json.loads": loads,
    "json-repair": lambda raw, kind: json_repair.loads(raw) or None,
    "ours": lambda raw, kind: parse_reply(kind, raw),
}


def accepted(case):
    """The values that count as right; the first two corpora have one for each reply."""
    return case.accepted if hasattr(case, "accepted") else (without_links(case.expected),)


def without_links(items):
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return items
    return [{key: value for key, value in item.items() if key not in ("id", "parent")} for item in items]


def table(name, cases):
    cases = [(case, accepted(case)) for case in cases]
    fixed = [(case, values[0]) for case, values in cases if len(values) == 1]
    known = sum(value is not None for _, value in fixed)
    print(f"\n{name}: {len(cases)} replies, {known} with one value, {len(cases) - len(fixed)} left open by the rules\n")
    print(f"| parser | recovered of {known} | wrong | accepted falsely | missed | of those left open: right, wrong |")
    print("|---|---:|---:|---:|---:|---:|")
    for parser, read in PARSERS.items():

        def parse(raw, kind, read=read):
            return without_links(read(raw, kind))

        found = [(parse(case.raw, case.kind), value) for case, value in fixed]
        right = sum(got == value and got is not None for got, value in found)
        wrong = sum(None not in (got, value) and got != value for got, value in found)
        false = sum(got is not None and value is None for got, value in found)
        left = [(parse(case.raw, case.kind), values) for case, values in cases if len(values) > 1]
        either = (
            f"{sum(got in values for got, values in left)}, {sum(got not in (None, *values) for got, values in left)}"
        )
        print(f"| {parser} | {right} | {wrong} | {false} | {known - right - wrong} | {either} |")


def main():
    table("first corpus, written with the parser", corpus.cases())
    table("second corpus, written without looking at it", adversarial.cases())
    table("third corpus, written without looking at it", third.cases())
    table("fourth corpus, spoiled at random", fourth.cases())
    table("fifth corpus, keys twice, lost brackets, remarks", fifth.cases())
    replies = [Case("", "qas", raw, (expected,)) for raw, expected in sixth.cases()]
    table("sixth corpus, backslashes and marked drafts", replies)


if __name__ == "__main__":
    main()
