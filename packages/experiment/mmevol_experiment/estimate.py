"""What an experiment will ask of a paid endpoint: requests, tokens, money. Rough, and it says so."""

from __future__ import annotations

from mmevol_experiment.experiment import Experiment

# Averages of one call in the quickstart (tiny world, about four items a record, scripted teacher, no images):
# 15,092,665 prompt and 4,592,462 completion tokens in 17,867 calls, rewriting and scoring together. The scripted
# teacher counts four characters as a token. Longer captions, and models that explain more, take more than this.
PROMPT_TOKENS = 845
COMPLETION_TOKENS = 257
IMAGE_TOKENS = 765  # not measured: what OpenAI counts for 1,024 x 1,024 pixels in high detail (85 + 4 tiles of 170)
CALLS_A_ROUND = 2  # one rewrites the questions of a record, one scores what became of them


def lines(experiment: Experiment) -> list[str]:
    """One line about the data engine's calls when it has still to run, none otherwise."""
    job = experiment.jobs.get("evolve")
    if job is None or job.done is not None:
        return []
    records = _records(experiment)
    if records is None:
        return ["evolve: the number of records is known once stage seed has run"]
    config = experiment.config
    rounds = int(config.recipe.get("rounds", 0))
    image = IMAGE_TOKENS if config.teacher.get("sees_image") else 0
    calls = records * rounds * CALLS_A_ROUND
    prompt, completion = calls * (PROMPT_TOKENS + image), calls * COMPLETION_TOKENS
    usd = (prompt * _price(experiment, "prompt") + completion * _price(experiment, "completion")) / 1e6
    money = f"about {usd:,.2f} USD" if usd else "free"
    limit = config.teacher.get("max_usd")
    stop = f", stops at {limit} USD (teacher.max_usd)" if usd and limit is not None else ""
    return [
        f"evolve: {calls:,} requests when none is repeated, roughly {prompt / 1e6:,.1f} M tokens in "
        f"and {completion / 1e6:,.1f} M out at the tiny world's averages, {money}{stop}"
    ]


def _price(experiment: Experiment, kind: str) -> float:
    return float(experiment.config.teacher.get(f"usd_per_m_{kind}") or 0.0)


def _records(experiment: Experiment) -> int | None:
    config = experiment.config
    limit = config.evolve.get("limit")
    seed = experiment.jobs["seed"].done
    known = seed.metrics.get("records") if seed else None
    if known is None and config.data.get("source") == "tiny_world":
        known = int(config.data.get("shapes", 0)) + int(config.data.get("digits", 0))
    if known is None:
        return int(limit) if limit else None
    return min(int(known), int(limit)) if limit else int(known)
