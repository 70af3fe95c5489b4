"""A server on loopback that sends exactly the bytes a test wants, however wrong they are."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence

Piece = bytes | float  # a number is a pause in seconds
Say = Callable[[str, int], Sequence[Piece]]  # the question and which time it is asked, from 1


def http(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A response; `length` lies about the body's."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def envelope(content: object = "fine", finish: str = "stop", **changes: object) -> bytes:
    """The body of an answer with 100 tokens of prompt and 10 of completion."""
    message = content if isinstance(content, dict) else {"role": "assistant", "content": content}
    body = {"choices": [{"message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10}}  # fmt: skip
    return json.dumps({**body, **changes}).encode()


FINE = http(200, envelope(), "Content-Type: application/json")


class Hostile:
    """Serves while the context lasts; `asked` counts questions, `bodies` keeps what came."""

    def __init__(self, say: Say) -> None:
        self.say, self.asked, self.bodies = say, Counter[str](), list[dict]()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()

    def __enter__(self) -> "Hostile":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *raised: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.split("content-length:")[1].split()[0])
            body = json.loads(await reader.readexactly(length))
            question = body["messages"][-1]["content"]
            self.asked[question] += 1
            self.bodies.append(body)
            for piece in self.say(question, self.asked[question]):
                if isinstance(piece, float):
                    await asyncio.sleep(piece)
                else:
                    writer.write(piece)
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
