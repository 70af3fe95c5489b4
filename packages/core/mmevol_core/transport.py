"""One HTTP request to a chat server, and the name of whatever came of it. Nothing here retries."""

from __future__ import annotations

import email.utils
import math
import time
from dataclasses import dataclass
from datetime import UTC

import aiohttp

from mmevol_core.endpoint import Endpoint
from mmevol_core.errors import UserError
from mmevol_core.failures import classify, fatal, retryable
from mmevol_core.messages import Completion, read_completion, status_within

CONNECT_S = 15.0  # longer takes no connection that will ever be made
LARGEST = 16 << 20  # bytes of a body; an answer has some thousands
LONGEST_PAUSE_S = 600.0  # a Retry-After beyond this is not believed
KEPT_OF_FAILURE = 2048  # bytes of a failed body that go to the journal


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt. `error` is None for an answer, else a class name (see `ChatFailure`)."""

    status: int
    error: str | None
    raw: bytes
    latency_s: float
    completion: Completion | None = None
    overloaded: bool = False  # a sign to send less: 429, 5xx, timeout
    billed: bool = False  # no answer arrived although the server may have made one
    unreachable: bool = False  # no connection at all
    pause_s: float = 0.0  # Retry-After
    fatal: UserError | None = None  # no other request can succeed either

    @property
    def counts(self) -> bool:
        """Whether it counts as one of the attempts of its request: being told or made to wait does not."""
        told_to_wait = self.status == 429 or (self.status == 503 and self.pause_s > 0)
        return not (told_to_wait or self.unreachable)

    @property
    def retryable(self) -> bool:
        """Whether the same request may have an answer later."""
        return self.error is not None and retryable(self.error)

    @property
    def detail(self) -> str:
        """The beginning of what the server said, on one line."""
        return " ".join(self.raw[:200].decode("utf-8", "replace").split())


class Transport:
    """A pool of connections to one endpoint."""

    def __init__(self, endpoint: Endpoint, api_key: str | None) -> None:
        self._endpoint = endpoint
        self._url = endpoint.base_url.rstrip("/") + "/chat/completions"
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key.strip()}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0),  # the window limits
            timeout=aiohttp.ClientTimeout(total=endpoint.deadline_s, sock_connect=min(CONNECT_S, endpoint.deadline_s)),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def post(self, body: bytes) -> Outcome:
        """Send one request; every failure is an outcome, not an exception."""
        began, status = time.perf_counter(), 0
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                status = response.status
                raw = await _read(response)
                return self._read(response, raw, time.perf_counter() - began)
        except TimeoutError as error:
            unreachable = isinstance(error, aiohttp.ConnectionTimeoutError)
            return Outcome(
                status,
                "connection" if unreachable else "timeout",
                f"nothing within {time.perf_counter() - began:.3g} s".encode(),
                time.perf_counter() - began,
                overloaded=True,
                billed=not unreachable,
                unreachable=unreachable,
            )
        except (aiohttp.ClientError, ConnectionError) as error:
            unsafe = isinstance(error, aiohttp.ClientConnectorCertificateError)
            unreachable = isinstance(error, aiohttp.ClientConnectorError)
            return Outcome(
                status,
                "cut_body" if status else "connection",
                str(error).encode(),
                time.perf_counter() - began,
                billed=not unreachable,
                unreachable=unreachable,
                fatal=UserError(f"no safe connection to {self._url}: {error}") if unsafe else None,
            )

    def _read(self, response: aiohttp.ClientResponse, raw: bytes, latency: float) -> Outcome:
        status, kept = response.status, raw[:KEPT_OF_FAILURE]
        if 200 <= status < 300:
            completion = read_completion(raw)
            if completion is not None:
                return Outcome(status, None, raw, latency, completion)
            status = status_within(raw) or status
            if status < 300:
                return Outcome(status, "not_json", kept, latency, billed=True)
        stop = fatal(self._endpoint, self._url, status, raw, response.headers.get("location", ""))
        if stop is not None:
            return Outcome(status, f"http_{status}", kept, latency, fatal=stop)
        error = classify(status, raw, structured=self._endpoint.structured)
        if not retryable(error):
            return Outcome(status, error, kept, latency)
        pause_s = retry_after(response.headers.get("retry-after-ms"), response.headers.get("retry-after"))
        return Outcome(status, error, kept, latency, overloaded=status == 429 or status >= 500, pause_s=pause_s)


def retry_after(milliseconds: str | None, value: str | None) -> float:
    """Seconds to wait that a server asked for, between 0 and `LONGEST_PAUSE_S`; 0 when it did not ask."""
    seconds = _number(milliseconds, 1000)
    if seconds is None:
        seconds = _number(value, 1)
    if seconds is None:
        try:
            date = email.utils.parsedate_to_datetime(value or "")
        except ValueError:
            return 0.0
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
    return min(max(seconds, 0.0), LONGEST_PAUSE_S)


def _number(text: str | None, unit: float) -> float | None:
    """A header's number in `unit`s, None when it has none."""
    try:
        number = float(text or "") / unit
    except ValueError:
        return None
    return None if math.isnan(number) else number


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, if it is no longer than `LARGEST`."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise aiohttp.ClientPayloadError(f"a body of more than {LARGEST >> 20} MB")
    return b"".join(parts)
