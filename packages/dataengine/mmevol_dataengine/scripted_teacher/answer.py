"""From a prompt to a reply: a function of (seed, prompt text) alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import orjson

from mmevol_core.files import digest
from mmevol_dataengine.scripted_teacher.curating import curate
from mmevol_dataengine.scripted_teacher.mistakes import malform, shares, spoil
from mmevol_dataengine.scripted_teacher.prompt import Request, read_request
from mmevol_dataengine.scripted_teacher.rewrite import MAKERS, as_item, rewrite
from mmevol_dataengine.scripted_teacher.scene import scene_of
from mmevol_dataengine.scripted_teacher.scoring import score

PLAIN = "This is a scripted teacher that rewrites and scores questions from annotations."


@dataclass(frozen=True, slots=True)
class Reply:
    """What the teacher says, and for its log: the prompt's digest and the mistakes made, (parent id, kind) each."""

    content: str
    prompt: str
    task: str
    direction: str
    items: int = 0
    mistakes: list[tuple[str, str]] = field(default_factory=list)


def reply_to(text: str, *, seed: int = 0, error_rate: float = 0.0) -> Reply:
    """Answer the text of a user message; `error_rate` is the share of rewritten items to spoil, 0..1."""
    request = read_request(text)
    prompt = digest(text)
    if request.task == "evolve" and request.direction in MAKERS:
        return _evolve(request, prompt, f"{seed}:{prompt}", error_rate)
    if request.task == "score":
        verdicts = score(request.data)
        return Reply(orjson.dumps(verdicts, option=orjson.OPT_INDENT_2).decode(), prompt, "score", "", len(verdicts))
    curated = curate(request.task, request.data, f"{seed}:{prompt}")
    if curated is not None:
        return Reply(curated, prompt, request.task, "", 1)
    return Reply(PLAIN, prompt, request.task or "plain", request.direction)


def _evolve(request: Request, prompt: str, dice: str, error_rate: float) -> Reply:
    scene, rng = scene_of(request.data), random.Random(f"{dice}:mistakes")
    reply_rate, item_rate = shares(error_rate)
    spoil_reply = rng.random() < reply_rate
    items, mistakes = [], []
    for draft, parent in rewrite(request.data, request.direction, dice):
        if not spoil_reply and rng.random() < item_rate:
            draft, kind = spoil(draft, scene, parent, rng)
            mistakes.append((str(parent.get("id")), kind))
        items.append(as_item(draft, parent))
    content = orjson.dumps(items, option=orjson.OPT_INDENT_2).decode()
    if spoil_reply:
        content, kind = malform(content, rng)
        mistakes = [(str(item["parent"]), kind) for item in items]
    return Reply(content, prompt, "evolve", request.direction, len(items), mistakes)
