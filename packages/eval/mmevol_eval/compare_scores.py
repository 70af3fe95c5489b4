"""Two results of `mmevol score` against each other: a paired difference, where both were scored alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmevol_core.errors import UserError
from mmevol_core.files import read_json
from mmevol_eval.benchmark import Headline
from mmevol_eval.bootstrap import headline_of
from mmevol_eval.headlines import Row
from mmevol_eval.protocol import STORED
from mmevol_eval.rows import affordable, agrees, of_headline
from mmevol_eval.statistics import compare

RESULT = {"benchmark", "headline", "protocol", "items"}
ITEM = {"index", "cluster", "category", "split", "group", "answer", "method", "score"}
REPLAY = "replay"  # a judge's stored outputs are of the replies that it read, so their files differ


def compare_scores(a: Path, b: Path) -> dict[str, Any]:
    """`a` minus `b` on the same items, percent of the headline's maximum.

    Returns:
        What `statistics.Difference` holds, and `headline` (its name) with `score_a` and `score_b` in its own `unit`;
        `note` where nobody says how a file's predictions were asked for.

    Raises:
        UserError: a file is no result of our own rules, or the two differ in benchmark, headline, data, rules,
            prompts, decoding, judge or items.
    """
    first, second = _read(a), _read(b)
    own, other = _alike(first), _alike(second)
    unknown = [str(path) for path, found in ((a, own), (b, other)) if found["prompts"] == STORED]
    if len(unknown) == 1:  # predictions from elsewhere against those of mmevol predict
        own, other = ({**found, "prompts": STORED, "decoding": {}} for found in (own, other))
    differing = sorted(key for key in own.keys() | other.keys() if own.get(key) != other.get(key))
    if differing:
        key = differing[0]
        more = f"; {', '.join(differing[1:])} differ, too" if differing[1:] else ""
        raise UserError(
            f"{a} and {b} were not scored alike: {key} is {own.get(key)!r} in one and {other.get(key)!r} in the "
            f"other{more}"
        )
    name = first["benchmark"]
    rows_a, rows_b = _rows(first, a), _rows(second, b)
    resamples = affordable(rows_a)
    found = compare({name: rows_a}, {name: rows_b}, names=(str(a), str(b)), resamples=resamples)[0].as_dict()
    del found["measure"]
    headline = first["headline"]
    values = {"score_a": headline["value"], "score_b": second["headline"]["value"], "unit": headline["unit"]}
    note = {"note": f"how the predictions of {' and '.join(unknown)} were asked for is not known"} if unknown else {}
    return {**found, "headline": headline["name"], **values, "protocol": own} | note


def _read(path: Path) -> dict[str, Any]:
    """A result whose items say enough to compare them."""
    result = read_json(path)
    items = result.get("items") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not result.keys() >= RESULT or not isinstance(items, list) or not items:
        raise UserError(f"{path} is no result of mmevol score with items; score the predictions first")
    if not all(isinstance(item, dict) and item.keys() >= ITEM for item in items):
        raise UserError(
            f"{path}: its items do not say which picture they are about (an older version, or --backend vlmeval); "
            "score the predictions again with --backend own"
        )
    return result


def _alike(result: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal for a difference to be one of models."""
    protocol = dict(result["protocol"])
    if str(protocol.get("judge", "")).startswith(f"{REPLAY}:"):
        protocol["judge"] = REPLAY
    told = dict(protocol.get("decoding") or {})
    told.pop("endpoint", None)  # the name of a served model: it is the models that are compared
    protocol["decoding"] = told
    return {**protocol, "headline": result["headline"]["name"], "maximum": result["headline"]["maximum"]}


def _rows(result: Mapping[str, Any], path: Path) -> list[Row]:
    """The items as statistics read them; their sums must give the headline."""
    name, value = result["headline"]["name"], result["headline"]["value"]
    rows = of_headline(result["items"], result["benchmark"], name)
    headline = Headline(name, result["headline"]["unit"], result["headline"]["maximum"])
    if not agrees(headline, {name: value}, rows, headline_of(rows)):
        raise UserError(f"{path}: the items' scores do not add up to {name} {value}, so no difference can be tested")
    return rows
