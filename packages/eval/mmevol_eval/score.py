"""Scores as a pure function of a benchmark's data and stored predictions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl, write_json
from mmevol_eval.accounting import account
from mmevol_eval.benchmark import Benchmark, Graded, Headline, Item, Judge, without_fallback
from mmevol_eval.benchmarks import find
from mmevol_eval.fetch import missing
from mmevol_eval.grading.tsv import plain_number
from mmevol_eval.judge import ChatJudge, check_scripted, judge_from
from mmevol_eval.predictions import Answer, without_reply
from mmevol_eval.protocol import Protocol, data_hash, default_rules, told
from mmevol_eval.rows import check_scored, error_bars, graded_row

DRAWN = "an unreadable reply counts as the letter that MMEvol's copy draws (seed 2680, one worker), right or wrong"


def score_file(
    benchmark: str,
    data: Path,
    predictions: Path,
    out: Path,
    protocol: str | None = None,
    judge: str = "none",
    cache: Path | None = None,
) -> dict[str, Any]:
    """Score stored predictions and write the result as JSON; return it.

    Args:
        benchmark: its name or an alias.
        data: official TSV or folder.
        predictions: lines `{"index", "prediction"}`; `mmevol predict` leaves beside them how they were asked for.
        out: file to write.
        protocol: rules; None: the benchmark's default.
        judge: `none`, `replay:FILE.jsonl` or the path of a judge's YAML; what is paid to it is kept beside `out`.
        cache: SQLite file of verdicts that several runs share; None: what is beside `out` alone.

    Raises:
        UserError: unknown benchmark or protocol, unreadable data, predictions that do not match the items, or a
            `cache` for a judge that is no endpoint.
    """
    rules_of = find(benchmark)
    if not data.exists():
        raise UserError(missing(rules_of.name, data))
    rules = rules_of.check_rules(protocol) if protocol else default_rules(rules_of, data)
    if rules_of.needs_judge and judge == "none":
        raise UserError(f"{rules_of.name} is scored by a judge: give --judge replay:FILE.jsonl or a judge's YAML")
    check_scripted(rules_of.name, judge)
    items = list(rules_of.load(data))
    if not items:
        raise UserError(f"{data} holds no items of {rules_of.name}")
    answers = match_answers(items, read_answers(predictions), predictions)
    replies = {index: answer.text for index, answer in answers.items()}  # GQA reads those of unscored questions, too
    with _referee(judge, out, cache) as referee:
        graded = rules_of.grade_all(items, replies, rules, referee, without_reply(answers))
        usage = {"judge_usage": referee.usage} if isinstance(referee, ChatJudge) else {}
    made_by = Protocol(
        benchmark=rules_of.name,
        version=rules_of.version,
        rules=rules,
        data=data_hash(data),
        judge=referee.name if referee else "none",
        **told(predictions),
    )
    value = result(rules_of, graded, made_by) | account(rules_of, items, answers) | usage
    write_json(out, value)
    return value


@contextmanager
def _referee(judge: str, out: Path, cache: Path | None) -> Iterator[Judge | None]:
    """The judge, closed in the end."""
    referee = judge_from(judge, out.with_suffix(".judge.sqlite"), cache)
    if cache and not isinstance(referee, ChatJudge):
        raise UserError(f"--cache keeps what a judge behind an endpoint says, and --judge is {judge}: leave it out")
    try:
        yield referee
    finally:
        if isinstance(referee, ChatJudge):
            referee.close()


def result(benchmark: Benchmark, graded: Sequence[Graded], protocol: Protocol) -> dict[str, Any]:
    """What `mmevol score` writes, from graded items."""
    check_scored(benchmark.name, graded)
    rules = without_fallback(protocol.rules)
    note = DRAWN if rules != protocol.rules else benchmark.notes
    headline, scores, items = benchmark.headline(rules), benchmark.scores(graded, rules), list(map(graded_row, graded))
    found = layout(benchmark, headline, scores, items, protocol)
    found |= error_bars(benchmark.name, headline, scores, items)
    return found | ({"protocol": found["protocol"] | {"note": note}} if note else {})


def layout(
    benchmark: Benchmark,
    headline: Headline,
    scores: Mapping[str, float],
    items: Sequence[Mapping[str, Any]],
    protocol: Protocol,
) -> dict[str, Any]:
    """The keys of a result, whoever graded the items ({"index", "score", "parsed", "method"})."""
    headline = headline.within(scores)
    return {
        "benchmark": benchmark.name,
        "headline": {
            "name": headline.name,
            "value": scores[headline.name],
            "unit": headline.unit,
            "maximum": headline.maximum,
        },
        "scores": scores,
        "n": len(items),
        "unparsed": sum(item["method"] == "none" for item in items),
        "judged": sum(item["method"] == "judge" for item in items),
        "protocol": protocol.describe(),
        "protocol_hash": protocol.hash,
        "ci95": None,
        "mde": None,
        "items": items,
    }


def read_predictions(path: Path) -> dict[str, str]:
    """Replies by index, raw; raises as `read_answers`."""
    return {index: answer.text for index, answer in read_answers(path).items()}


def read_answers(path: Path) -> dict[str, Answer]:
    """Replies by index, raw, with what `mmevol predict` says of them: `failure` and `truncated`.

    Raises:
        UserError: a line is not `{"index", "prediction"}` with a text prediction, or an index occurs twice.
    """
    answers: dict[str, Answer] = {}
    for number, row in enumerate(read_jsonl(path), start=1):
        if not isinstance(row, dict) or not {"index", "prediction"} <= row.keys():
            raise UserError(f'{path} record {number}: expected {{"index": ..., "prediction": "..."}}')
        if not isinstance(row["prediction"], str):
            raise UserError(f"{path} record {number}: prediction must be text, got {row['prediction']!r}")
        index = str(row["index"])
        if index in answers:
            raise UserError(f"{path} record {number}: index {index!r} occurs twice")
        cut, failure = row.get("truncated"), row.get("failure")  # of other tools they may be anything
        failure = failure if isinstance(failure, str) and failure and not row["prediction"] else None
        answers[index] = Answer(row["prediction"], failure, cut if isinstance(cut, bool) else None)
    return answers


def match_answers(items: Sequence[Item], answers: Mapping[str, Answer], where: Path) -> Mapping[str, Answer]:
    """The answers under the items' own indices, and those of no item under their own.

    An index that no item has counts as the number that it is: `007` answers item 7, as in a TSV of numbered rows, and 7
    an item 007, as when a table took its zeros away.

    Raises:
        UserError: naming how many are missing, and the first; or an index that occurs twice, as `7` and as `07`.
    """
    own = {item.index for item in items}
    numbers = Counter(plain_number(index) for index in own)
    by_number: dict[str, list[str]] = defaultdict(list)
    for index in answers:
        by_number[plain_number(index)].append(index)
    found = dict(answers)
    for index in own:
        said = by_number[plain_number(index)]
        if numbers[plain_number(index)] > 1:  # the data tell 7 from 07
            continue
        if len(said) > 1:
            raise UserError(f"{where}: index {plain_number(index)!r} occurs twice, once with leading zeros")
        if said:
            found[index] = found.pop(said[0])
    lacking = [item.index for item in items if item.index not in found]
    if lacking:
        raise UserError(
            f"{where} lacks {len(lacking)} of {len(items)} predictions (first: index {lacking[0]!r}); "
            "every item of the benchmark needs one line"
        )
    return found
