"""Prompts by profile: the kit's, and MMEvol's own."""

from __future__ import annotations

from mmevol_eval.benchmark import Item, Message
from mmevol_eval.grading import prompts


def yes_no(item: Item, profile: str) -> Message:
    """A yes/no question."""
    return prompts.plain(item, profile)


def short(item: Item, profile: str) -> Message:
    """A question that a word answers."""
    return prompts.short(item, profile)


def choice(item: Item, profile: str) -> Message:
    """A multiple-choice question."""
    return prompts.choice(item, profile)
