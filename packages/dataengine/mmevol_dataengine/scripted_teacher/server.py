"""The teacher behind an OpenAI-compatible HTTP server on the loopback interface."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson
from aiohttp import web

from mmevol_dataengine.scripted_teacher.answer import Reply, reply_to
from mmevol_dataengine.scripted_teacher.prompt import last_user_text

MODEL = "scripted-teacher"
HOST = "127.0.0.1"
MAX_BODY = 64 << 20  # bytes; a prompt carries images as base64


@dataclass
class Teacher:
    """State of one running server: options, the log, and what was answered so far."""

    seed: int = 0
    error_rate: float = 0.0
    latency_s: float = 0.0
    log: IO[bytes] | None = None
    answered: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    def application(self) -> web.Application:
        """The routes of the server."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/stats", self.stats)
        return app

    async def chat(self, request: web.Request) -> web.Response:
        """One chat completion; 400 for a body that is none."""
        body = _body(await request.read())
        if body is None:
            self.counts["requests"] += 1
            self._write({"status": 400, "task": "", "direction": "", "prompt": ""})
            return _json(
                {"error": {"message": "the body needs a list `messages` of objects", "type": "invalid_request_error"}},
                400,
            )
        reply = reply_to(last_user_text(body["messages"]), seed=self.seed, error_rate=self.error_rate)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        self._count(reply)
        return _json(_completion(reply, body))

    async def models(self, request: web.Request) -> web.Response:
        """The one model there is."""
        return _json({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "mmevol"}]})

    async def stats(self, request: web.Request) -> web.Response:
        """Requests so far, and how many of them asked an answered prompt again."""
        counted = {name: self.counts[name] for name in ("requests", "duplicates", "items", "mistakes")}
        return _json(counted | {"model": MODEL, "unique_prompts": len(self.answered)})

    def _count(self, reply: Reply) -> None:
        duplicate = reply.prompt in self.answered
        self.answered.add(reply.prompt)
        self.counts.update(requests=1, duplicates=int(duplicate), items=reply.items, mistakes=len(reply.mistakes))
        row = {"status": 200, "task": reply.task, "direction": reply.direction, "prompt": reply.prompt}
        mistakes = [{"parent": parent, "kind": kind} for parent, kind in reply.mistakes]
        self._write({**row, "duplicate": duplicate, "items": reply.items, "mistakes": mistakes})

    def _write(self, row: Mapping[str, Any]) -> None:
        """One line a request, on disk before the answer leaves, so that a killed run can be audited."""
        if self.log:
            self.log.write(orjson.dumps({"time": time.time(), **row}, option=orjson.OPT_APPEND_NEWLINE))
            self.log.flush()


def _body(raw: bytes) -> dict[str, Any] | None:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    messages = body.get("messages") if isinstance(body, dict) else None
    fits = isinstance(messages, list) and all(isinstance(message, dict) for message in messages)
    return body if fits else None


def _completion(reply: Reply, body: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's chat completion object; tokens are estimated as four characters each."""
    asked = sum(len(last_user_text([message])) for message in body["messages"]) // 4
    given = len(reply.content) // 4
    message = {"role": "assistant", "content": reply.content}
    return {
        "id": f"chatcmpl-{reply.prompt}", "object": "chat.completion", "created": int(time.time()), "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": asked, "completion_tokens": given, "total_tokens": asked + given},
    }  # fmt: skip


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


async def serve(teacher: Teacher, port: int, ready: asyncio.Future[int], stop: asyncio.Event) -> None:
    """Serve on the loopback interface until `stop` is set; `ready` gets the port.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(teacher.application(), access_log=None, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port, shutdown_timeout=1.0)
        await site.start()
        ready.set_result(runner.addresses[0][1])
        await stop.wait()
    finally:
        await runner.cleanup()


def open_log(path: Path) -> IO[bytes]:
    """The request log, continued where an earlier run left off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")
