"""Multi-modal Self-Instruct: charts, tables, dashboards, flowcharts, relation graphs, floor plans, puzzles, mazes.

Data: a folder with the official questions (`*questions*.json` or `.jsonl`: question_id, image, text, answer, type,
source, markers of mazes) and images in `images/`.
Prompt: the question, then (no space) a request to end in `The answer is <answer>.`
Unparsed: nothing is; every reply is compared. A maze reply without a marker scores 0.
Formula: share of right answers per source, `SUMMARY` questions left out (their ROUGE-L, as the package `rouge` has it,
is reported over all and by source); mazes: mean share of the route's markers that the reply names. Headline: plain mean
over the sources.
`official` drops units by the parts of speech of spaCy's small English model and accepts WordNet synonyms; it is the
default where both are installed. `without_nlp`, the default elsewhere, drops the one word after a lone number and knows
no synonyms. The protocol beside a score says which it was.
Source: Zhang et al. 2024, zwq2018/Multi-modal-Self-instruct, `scripts/eval_vqa.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmevol_core.files import read_json, read_jsonl
from mmevol_eval.benchmark import MMEVOL, OFFICIAL, VLMEVALKIT, Benchmark, Graded, Headline, Item, Judge, Message
from mmevol_eval.grading import loose, mmevol_prompts
from mmevol_eval.grading.folder import Pictures, one_file, records, unique

WITHOUT_NLP = "without_nlp"
MAZE = "maze"
SUMMARY = "SUMMARY"
MMEVOL_REQUEST = "The answer format (do not generate any other content): The answer is <answer>."  # its script's
REQUEST = "Please answer the question and end with the sentence: The answer is <answer>."


def load(path: Path) -> Iterator[Item]:
    """Items of the official folder; questions about one image are a cluster."""
    file = one_file(path, "*questions*.json*")
    yield from unique(_items(path, file), file)


def _items(path: Path, file: Path) -> Iterator[Item]:
    rows: Any = read_jsonl(file) if file.suffix == ".jsonl" else read_json(file)
    pictures = Pictures(path)
    for row in records(file, rows, "question_id", "image", "text", "answer", "source"):
        yield Item(
            index=str(row["question_id"]),
            question=row["text"],
            answer=str(row["answer"]),
            images=pictures.of(row["image"]),
            category=row["source"],
            l2_category=row.get("type", ""),
            cluster=str(row["image"]),
            extra={"markers": row.get("markers", [])},
        )


def prompt(item: Item, profile: str) -> Message:
    """The question with its request for a final sentence."""
    return mmevol_prompts.scripted(item, profile, REQUEST if profile == VLMEVALKIT else MMEVOL_REQUEST)


def grade(item: Item, reply: str, rules: str, judge: Judge | None) -> Graded:
    """Compare a reply with the answer, a summary with its reference, or a route with its markers."""
    if item.category == MAZE:
        named = loose.markers(reply)
        route = item.extra["markers"]
        share = sum(marker in route for marker in named) / len(route) if route else 0.0
        return Graded(item, share, " ".join(named), "rule")
    nlp = rules != WITHOUT_NLP
    said, gold = loose.prepared(reply, 2, nlp), loose.prepared(item.answer, 1, nlp)
    if item.l2_category == SUMMARY:
        return Graded(item, None, said, "rule", {"rouge_l": loose.rouge_l(said, gold)})
    return Graded(item, float(loose.right(said, gold, nlp)), said, "rule")


def scores(graded: Sequence[Graded], rules: str) -> dict[str, float]:
    """`mean` over sources and the accuracy of each, in percent; `summary_rouge_l` (0..1), and `SOURCE|...` of each."""
    groups: dict[str, list[Graded]] = defaultdict(list)
    for row in graded:
        groups[row.item.category].append(row)
    table = {name: _accuracy(rows) for name, rows in sorted(groups.items())}
    result = {"mean": sum(table.values()) / len(table)} | table
    result |= _rouge("summary_rouge_l", graded)
    for name, rows in sorted(groups.items()):
        result |= _rouge(f"{name}|summary_rouge_l", rows)
    return result


def _rouge(name: str, rows: Sequence[Graded]) -> dict[str, float]:
    """The mean over summaries under that name, nothing where there are none."""
    found = [row.detail["rouge_l"] for row in rows if row.score is None]
    return {name: sum(found) / len(found)} if found else {}


def _accuracy(rows: Sequence[Graded]) -> float:
    counted = [row.score for row in rows if row.score is not None]
    return 100 * sum(counted) / len(counted) if counted else 0.0


BENCHMARK = Benchmark(
    name="MMSInst",
    aliases=("Multi-modal-Self-instruct", "MMSI"),
    version="3",  # 2: `without_nlp` drops the word after a lone number; 3: ROUGE-L by sentences, as officially
    official_here=loose.nlp_here,
    notes="without_nlp: no parts of speech, no synonyms; official needs spaCy's en_core_web_sm and nltk's WordNet",
    rules=(WITHOUT_NLP, OFFICIAL, VLMEVALKIT, MMEVOL),
    load=load,
    prompt=prompt,
    grade=grade,
    has_answer=lambda item: bool(item.extra["markers"] if item.category == MAZE else item.answer.strip()),
    scores=scores,
    headline=lambda rules: Headline("mean"),
)
