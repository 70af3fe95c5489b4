"""What an experiment will ask of a paid endpoint: requests, tokens, money. Rough, and it says so."""

from __future__ import annotations

from mmevol_experiment.experiment import Experiment

# Measured on the prompts of recipes/mmevol.py with four items a record; an image counts as tokens of the provider.
PROMPT_TOKENS = {"rewrite": 1800, "score": 900}
COMPLETION_TOKENS = {"rewrite": 700, "score": 250}
IMAGE_TOKENS = 800


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
    calls = records * rounds * 2
    prompt = records * rounds * (sum(PROMPT_TOKENS.values()) + 2 * image)
    completion = records * rounds * sum(COMPLETION_TOKENS.values())
    usd = (prompt * _price(experiment, "prompt") + completion * _price(experiment, "completion")) / 1e6
    money = f"about {usd:,.2f} USD" if usd else "free"
    limit = config.teacher.get("max_usd")
    stop = f", stops at {limit} USD (teacher.max_usd)" if usd and limit is not None else ""
    return [
        f"evolve: at most {calls:,} requests, about {prompt / 1e6:,.1f} M tokens in "
        f"and {completion / 1e6:,.1f} M out, {money}{stop}"
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
