"""Judges: none, a file of stored answers, the tiny world's program, or an endpoint."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from mmevol_core.chat import ChatFailure, Endpoint, connect, system, user
from mmevol_core.errors import UserError
from mmevol_core.files import digest, file_digest, read_jsonl
from mmevol_core.images import ImageFailure, ImagePolicy, prepare
from mmevol_core.journal import Journal
from mmevol_core.messages import Message, build
from mmevol_core.secrets import secret
from mmevol_eval.benchmark import Judge, Question, image_bytes
from mmevol_eval.endpoints import endpoint_from
from mmevol_eval.grading.judging import PROMPT_VERSION
from mmevol_eval.verdicts import Verdicts

MOST_THREADS = 512  # questions that wait for a judge at once; each has a thread
GREETING = "Reply with the single word ready."
FORMS = "none, scripted, replay:FILE.jsonl, or the path of a judge's YAML"


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
            if str(row["index"]) in self._outputs:
                raise UserError(f"{path} record {number}: index {row['index']!r} occurs twice; keep one line of it")
            strange = [
                output for output in outputs if isinstance(output, bool) or not isinstance(output, str | int | float)
            ]
            if strange:
                raise UserError(f"{path} record {number}: outputs are texts (or numbers), not {strange[0]!r}")
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
    """A judge behind an OpenAI-compatible endpoint, which is asked nothing twice.

    What this run pays for is kept in its journal. `verdicts`, where there is such a file, holds what any run was told:
    it is looked at first, and every verdict goes there. A later call about the same item is another request, with
    another seed where the endpoint has one; temperature and longest answer are the endpoint's.

    Raises:
        UserError: no key, or the journal or the verdicts cannot be opened.
    """

    def __init__(self, endpoint: Endpoint, journal: Path, verdicts: Path | None = None) -> None:
        self.name = f"{endpoint.model}/prompts-{PROMPT_VERSION}/sampling-{digest(_sampling(endpoint), 8)}"
        key = secret(endpoint.api_key_name, f"the judge {endpoint.model}") if endpoint.api_key_name else None
        self._endpoint = endpoint
        self._where = f"{endpoint.base_url} ({endpoint.model})"
        self._verdicts = Verdicts(verdicts, endpoint.model, PROMPT_VERSION) if verdicts else None
        self._journal = Journal(journal)
        self._shared: set[bytes] = set()  # requests that other runs have paid for
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="judge", daemon=True)
        self._thread.start()
        self._asker = connect(endpoint, self._journal, key)
        self._wait(self._asker.__aenter__())
        self.concurrency = min(self._asker.rows_in_flight, MOST_THREADS)

    def ask(self, question: Question) -> str:
        """The judge's reply; UserError when it cannot be reached or refuses."""
        try:
            pictures = [prepare(image_bytes(image), ImagePolicy(), question.index) for image in question.images]
        except (OSError, ImageFailure) as error:
            raise UserError(f"the judge is to see the picture of item {question.index}: {error}") from error
        turns = [system(question.system)] if question.system else []
        try:
            return self._wait(self._verdict([*turns, user(question.prompt, *pictures)], question))
        except ChatFailure as failure:
            raise UserError(
                f"the judge at {self._where} gave no verdict on item {question.index}: {failure}"
            ) from failure

    async def _verdict(self, turns: list[Message], question: Question) -> str:
        """What any run was told before, or what the judge says now. Runs in the loop's thread."""
        if self._verdicts is None:
            return (await self._asker.ask(turns, salt=question.call)).text
        request = build(turns, self._endpoint, None, question.call).key
        known = self._verdicts.get(request)
        if known is None:
            told = (await self._asker.ask(turns, salt=question.call)).text
            if not told:  # a server's hiccup may be one, and others need not live with it
                return told
            return self._verdicts.put(request, question.index, question.reply, told)
        if self._journal.get(request) is None:
            self._shared.add(request)
        return known

    @property
    def usage(self) -> dict[str, float]:
        """What this run has paid for over its whole life, greeting included, and `shared`: verdicts others paid for."""
        paid = self._journal.counts
        tokens = {"prompt_tokens": paid.prompt_tokens, "completion_tokens": paid.completion_tokens}
        return {"asked": paid.answers, **tokens, "usd": paid.usd, "shared": len(self._shared)}

    def check(self) -> None:
        """Say something to the judge, so that one that is not there stops the run before anything else is paid for.

        A judge asked by batches is not: its answer may take a day.
        """
        if self._endpoint.batch is not None:
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
        if self._verdicts:
            self._verdicts.close()

    def _wait(self, work: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _sampling(endpoint: Endpoint) -> dict[str, Any]:
    """What decides a judge's words beside its model and our prompts: verdicts that differ in it are not comparable."""
    return endpoint.model_dump(mode="json", include={"temperature", "max_tokens", "seed", "extra"})


def check_scripted(benchmark: str, judge: str) -> None:
    """Refuse the program of the tiny world where it would be asked about anything but its own benchmark.

    Raises:
        UserError: naming what to give instead.
    """
    if judge == "scripted" and benchmark != "MIA-Bench":
        raise UserError(
            f"the scripted judge grades the MIA-Bench twin alone and knows nothing of {benchmark}: give "
            "replay:FILE.jsonl or a judge's YAML, or none where rules are enough"
        )


def judge_from(text: str, journal: Path = Path("judge.sqlite"), verdicts: Path | None = None) -> Judge | None:
    """The judge that a text names: `none`, `scripted`, `replay:FILE.jsonl`, or the YAML file of an endpoint.

    Args:
        text: see above.
        journal: where what is paid to an endpoint is kept; it is to be closed.
        verdicts: where every run finds what any was told; None: this one shares nothing.

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
    endpoint = endpoint_from(Path(text), Endpoint, "judge", FORMS)
    if endpoint.structured:
        raise UserError(f"judge ({Path(text).name}): structured is not used, a judge answers in words; leave it out")
    judge = ChatJudge(endpoint, journal, verdicts)
    try:
        judge.check()
    except UserError:
        judge.close()
        raise
    return judge
