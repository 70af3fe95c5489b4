"""A served model on loopback that keeps every request it was sent and answers as a function says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ModelServer:
    """`answer(body)` gives the reply, with another `finish_reason` than stop, or an HTTP status to fail with.

    Use as a context manager.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], str | tuple[str, str] | int] = lambda body: "Yes") -> None:
        self.answer, self.bodies, self._lock = answer, list[dict[str, Any]](), threading.Lock()

    def __enter__(self) -> ModelServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer._lock:
                    outer.bodies.append(body)
                    said = outer.answer(body)
                status = said if isinstance(said, int) else 200
                text, reason = said if isinstance(said, tuple) else (said, "stop")
                message = {"choices": [{"message": {"content": text}, "finish_reason": reason}]}
                data = json.dumps(message if status == 200 else {"error": {"message": "no"}}).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            request_queue_size = 512  # connections that wait; the default of 5 makes clients try again after seconds

        self._server = Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def texts(body: dict[str, Any]) -> str:
    """Everything that was said to the model in one request."""
    parts = [part for turn in body["messages"] for part in _parts(turn["content"])]
    return "\n".join(part["text"] for part in parts if part["type"] == "text")


def pictures(body: dict[str, Any]) -> list[str]:
    """Data URLs of the pictures of one request, in order."""
    parts = [part for turn in body["messages"] for part in _parts(turn["content"])]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def _parts(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
