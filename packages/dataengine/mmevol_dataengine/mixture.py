"""Stage `mixture`: the conversations that one arm of the experiment trains on, as LLaVA JSON.

One training sample is an image with the conversation of one round, as in the 480K release (its sizes fit no other
reading, see the facts on samples in the paper's appendix B), unless `sample` says otherwise. Arms differ in nothing but
the rows; what is blended in is the same for all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import orjson

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl, replacing, write_jsonl
from mmevol_core.sample import DIRECTIONS, QA, Sample, read_samples
from mmevol_core.stage import Stage, StageResult
from mmevol_dataengine.blend import Blend, BlendConfig
from mmevol_dataengine.ledger import REJECTED
from mmevol_dataengine.readers.values import MARK

SHORT_ANSWER = "Answer the question using a single word or phrase."  # LLaVA-1.5's format sentences, table 7 there
LETTER_ANSWER = "Answer with the option's letter from the given choices directly."
Arm = Literal["seed", "evolved", "evolved_unfiltered", "fine_grained_perception", "cognitive_reasoning", "interaction"]

SampleForm = Literal["image_round", "image", "item", "latest"]  # latest: only the newest round that is not empty
Turn = tuple[int, QA]  # the round of an item, and the item


class MixtureConfig(Config):
    """Which rounds and items an arm takes, and which format sentences its turns carry."""

    arm: Arm
    short_answers: Literal["none", "first", "all"] = "first"  # turns that get SHORT_ANSWER; LLaVA-1.5: the first
    short_scope: Literal["seed", "all"] = "seed"  # rounds where turns may get it
    short_words: int = 3  # an answer of at most so many words is short
    letter_answers: bool = True  # multiple choice answered by a letter gets LETTER_ANSWER
    sample: SampleForm = "image_round"  # what one training sample is, see `_conversations`
    blend: BlendConfig | None = None  # other data beside the arm's own


def run(config: MixtureConfig, inputs: Mapping[str, Path], out_dir: Path) -> StageResult:
    """Write `conversations.json`: the arm's rows, then those of the blend; and what of the blend meets a benchmark.

    The role `contaminated`, the seeds' list of the same, is joined to that.

    Raises:
        UserError: the arm has no rows, or needs the role `eliminated` and lacks it; a file of the blend is missing.
    """
    extra = _eliminated(inputs) if config.arm == "evolved_unfiltered" else {}
    blend = Blend(config.blend) if config.blend else None
    counts: Counter[str] = Counter()
    path = out_dir / "conversations.json"
    with replacing(path) as file:
        file.write(b"[")
        for row in own_rows(config, inputs["evolved"], extra, counts):
            file.write(b",\n" if counts["rows_out"] else b"\n")
            file.write(orjson.dumps(row))
            counts["rows_out"] += 1
        if not counts["rows_out"]:
            raise UserError(f"arm {config.arm}: no rows among {counts['records_in']} records", status=3)
        for row in blend.rows() if blend else ():
            file.write(b",\n" + orjson.dumps(row))
        file.write(b"\n]\n")
    files = {"conversations": path}
    metrics: dict[str, Any] = {"arm": config.arm, **counts}
    if blend:
        listed, account = blend.write_found(out_dir)
        if listed and "contaminated" in inputs:
            rows = (*read_jsonl(inputs["contaminated"]), *read_jsonl(listed["contaminated_items"]))
            write_jsonl(listed["contaminated_items"], rows)
        files |= listed
        metrics["blend"] = {**blend.as_dict(), **account}
    return StageResult(files, metrics)


def own_rows(
    config: MixtureConfig, records: Path, extra: Mapping[str, Mapping[int, Sequence[QA]]], counts: Counter[str]
) -> Iterator[dict[str, Any]]:
    """The arm's rows; `extra` holds eliminated items by record and round, `counts` is added to."""
    for sample in read_samples(records):
        counts["records_in"] += 1
        rounds = list(_generations(sample, config.arm, extra.get(sample.id, {})))
        counts["items_in"] += sum(map(len, rounds))
        counts["empty_rounds"] += sum(not generation for generation in rounds)
        turns_before = counts["turns_out"]
        for name, turns in _conversations(config.sample, rounds):
            counts["turns_out"] += len(turns)
            counts[f"rows_round_{turns[0][0]}"] += config.sample != "image"
            yield conversation(config, sample, f"{sample.id}{name}", turns)
        counts["items_left_out"] += sum(map(len, rounds)) - (counts["turns_out"] - turns_before)
    assert counts["items_in"] == counts["turns_out"] + counts["items_left_out"], "every item is a turn, or left out"


def _conversations(form: SampleForm, rounds: Sequence[Sequence[QA]]) -> Iterator[tuple[str, list[Turn]]]:
    """What one training sample is: the end of its id, and its items with their rounds; none is empty."""
    turns = [[(number, item) for item in generation] for number, generation in enumerate(rounds)]
    full = [generation for generation in turns if generation]
    if form == "image":
        if full:
            yield "", [turn for generation in full for turn in generation]
    elif form == "item":
        for generation in full:
            yield from ((f"_r{turn[0]}_{place}", [turn]) for place, turn in enumerate(generation))
    else:
        yield from ((f"_r{generation[0][0]}", generation) for generation in (full[-1:] if form == "latest" else full))


def _generations(sample: Sample, arm: Arm, eliminated: Mapping[int, Sequence[QA]]) -> Iterator[tuple[QA, ...]]:
    """The items of each round, round 0 first, that belong to an arm."""
    seed, *later = sample.rounds or ((),)
    yield seed
    if arm == "seed":
        return
    for number, generation in enumerate(later, start=1):
        if arm in DIRECTIONS:
            yield tuple(item for item in generation if item.direction == arm)
        else:
            yield (*generation, *eliminated.get(number, ()))


def _eliminated(inputs: Mapping[str, Path]) -> dict[str, dict[int, list[QA]]]:
    """Items that were judged and refused, by sample and round.

    What could not be judged, is blank or has an image mark of its own stays out: no conversation can be made of it.
    """
    if "eliminated" not in inputs:
        raise UserError("arm evolved_unfiltered needs the role eliminated of the stage evolve")
    found: dict[str, dict[int, list[QA]]] = defaultdict(lambda: defaultdict(list))
    for row in read_jsonl(inputs["eliminated"]):
        rejected = REJECTED.validate_python({key: row[key] for key in ("item", "status", "reason")})
        item = rejected.item
        usable = item.question.strip() and item.answer.strip() and MARK not in item.question + item.answer
        if rejected.status == "eliminated" and usable:
            found[row["sample"]][row["round"]].append(item)
    return found


def conversation(config: MixtureConfig, sample: Sample, name: str, items: Sequence[Turn]) -> dict[str, Any]:
    """One LLaVA row: an `<image>` line per image on the first turn, then question and answer by turns."""
    turns = []
    for place, (number, item) in enumerate(items):
        question = _with_format(config, item, number, place)
        if place == 0:
            question = f"{MARK}\n" * len(sample.images) + question
        turns += [{"from": "human", "value": question}, {"from": "gpt", "value": item.answer}]
    row: dict[str, Any] = {"id": name}
    if sample.images:
        row["image"] = sample.images[0] if len(sample.images) == 1 else list(sample.images)
    return {**row, "conversations": turns}


def _with_format(config: MixtureConfig, item: QA, number: int, place: int) -> str:
    """The question with the format sentence that it needs and lacks."""
    question = item.question
    if item.format == "multi_choice":
        wants = config.letter_answers and len(item.answer.strip("(). ")) == 1
        return f"{question}\n{LETTER_ANSWER}" if wants and LETTER_ANSWER not in question else question
    here = config.short_answers == "all" or (config.short_answers == "first" and place == 0)
    scope = number == 0 or config.short_scope == "all"
    short = len(item.answer.split()) <= config.short_words
    if here and scope and short and SHORT_ANSWER not in question:
        return f"{question}\n{SHORT_ANSWER}"
    return question


STAGE = Stage(config=MixtureConfig, needs=("evolved",), run=run, version="3", accepts=("eliminated", "contaminated"))
