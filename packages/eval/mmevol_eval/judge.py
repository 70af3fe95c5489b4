"""Judges: none, a file of stored answers, the tiny world's program, or an endpoint."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mmevol_core.chat import ChatFailure, Endpoint, connect, system, user
from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_core.files import file_digest, read_jsonl
from mmevol_core.images import ImagePolicy, prepare
from mmevol_core.journal import Journal
from mmevol_core.secrets import secret
from mmevol_eval.benchmark import Judge, Question
from mmevol_eval.grading.judging import PROMPT_VERSION

MOST_THREADS = 512  # questions that wait for a judge at once; each has a thread
GREETING = "Reply with the single word ready."


class ReplayJudge:
    """Answers from lines `{"index", "outputs": [...]}`; the n-th call for an item gets output min(n, last)."""

    concurrency = 1

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outputs: dict[str, list[str]] = {}
        for number, row in enumerate(read_jsonl(path), start=1):
            outputs = row.get("outputs") if isinstance(row, dict) else None
            if not isinstance(outputs, list) or not outputs or "index" not in row:
                raise UserError(f'{path} record {number}: expected {{"index": ..., "outputs": ["...", ...]}}')
            self._outputs[str(row["index"])] = [str(output) for output in outputs]
        self.name = f"replay:{file_digest(path)}"

    def ask(self, question: Question) -> str:
        """The stored answer; UserError when the file has none for this item."""
        outputs = self._outputs.get(question.index)
        if outputs is None:
            raise UserError(f"{self._path} has no judge outputs for item {question.index!r}, and its reply needs one")
        return outputs[min(question.call, len(outputs) - 1)]


Value = TypeVar("Value")


class ChatJudge:
    """A judge behind an OpenAI-compatible endpoint; what it said once is kept in a journal and never asked again.

    The key of a verdict is the whole request: model, prompt (its version, the item and the reply are in it) and
    images, and the number of the call, which also moves the seed. The endpoint's temperature holds for the first
    call; later ones are new draws.
    """

    def __init__(self, endpoint: Endpoint, journal: Path) -> None:
        self.name = f"{endpoint.model}/prompts-{PROMPT_VERSION}"
        key = secret(endpoint.api_key_name, f"the judge {endpoint.model}") if endpoint.api_key_name else None
        self._where = f"{endpoint.base_url} ({endpoint.model})"
        self._by_batch = endpoint.batch is not None
        self._journal = Journal(journal)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="judge", daemon=True)
        self._thread.start()
        self._asker = connect(endpoint, self._journal, key)
        self._wait(self._asker.__aenter__())
        self.concurrency = min(self._asker.rows_in_flight, MOST_THREADS)

    def ask(self, question: Question) -> str:
        """The judge's reply; UserError when it cannot be reached or refuses."""
        pictures = [prepare(_bytes(image), ImagePolicy(), question.index) for image in question.images]
        turns = [system(question.system)] if question.system else []
        try:
            asked = self._asker.ask([*turns, user(question.prompt, *pictures)], salt=question.call)
            return self._wait(asked).text
        except ChatFailure as failure:
            raise UserError(
                f"the judge at {self._where} gave no verdict on item {question.index}: {failure}"
            ) from failure

    def check(self) -> None:
        """Say something to the judge, so that one that is not there stops the run before anything else is paid for.

        A judge asked by batches is not: its answer may take a day.
        """
        if self._by_batch:
            return
        try:
            self._wait(self._asker.ask([user(GREETING)]))
        except ChatFailure as failure:
            raise UserError(f"the judge at {self._where} does not answer: {failure}") from failure

    def close(self) -> None:
        """Commit what the judge said and let go of the endpoint."""
        self._wait(self._asker.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._journal.close()

    def _wait(self, work: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _bytes(image: bytes | Path) -> bytes:
    return image if isinstance(image, bytes) else image.read_bytes()


def judge_from(text: str, journal: Path = Path("judge.sqlite")) -> Judge | None:
    """The judge that a text names: `none`, `scripted`, `replay:FILE.jsonl`, or the YAML file of an endpoint.

    `journal` is where an endpoint's verdicts are kept; it is to be closed.

    Raises:
        UserError: no such file, its keys are not those of an endpoint, or nobody answers there.
    """
    if text == "none":
        return None
    if text == "scripted":
        from mmevol_eval.twins.mia import ScriptedJudge

        return ScriptedJudge()
    if text.startswith("replay:"):
        return ReplayJudge(Path(text.removeprefix("replay:")))
    path = Path(text)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"no judge {text!r}; valid: none, scripted, replay:FILE.jsonl, or the path of a judge's YAML"
        ) from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no keys of an endpoint (base_url, model, ...)")
    judge = ChatJudge(fit(Endpoint, values, f"judge ({path.name})"), journal)
    try:
        judge.check()
    except UserError:
        judge.close()
        raise
    return judge
