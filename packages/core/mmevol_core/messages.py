"""Messages to a chat model, the key that identifies a request, and the answer that comes back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mmevol_core.endpoint import Endpoint
from mmevol_core.images import Picture

CHARACTERS_PER_TOKEN = 4  # rule of thumb for English
MOST_TOKENS = 10**9  # of one answer; a larger count is a server's mistake


class ChatFailure(Exception):  # noqa: N818 - a row's failure, not a defect
    """One row has no answer; `reason` is what a ledger counts.

    Reasons: refused (400, or the model declined), too_long (for the model's context or the account's limit),
    no_structure (the server takes no schema), timeout, connection, cut_body, not_json, http_<status>, not_unicode.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}{': ' if detail else ''}{detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Message:
    """A turn of the conversation: texts and pictures in the order the model reads them."""

    role: str
    parts: tuple[str | Picture, ...]


def user(*parts: str | Picture) -> Message:
    """A turn of the user."""
    return Message("user", parts)


def system(text: str) -> Message:
    """Standing instructions."""
    return Message("system", (text,))


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said. `finish_reason` is the server's (stop, length, ...); `cached`: it came from the journal."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    latency_s: float
    cached: bool


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `key` (16 bytes) is its content address; what is sent is built when it is sent."""

    key: bytes
    messages: Sequence[Message]
    fields: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """JSON of the request."""
        return orjson.dumps({"messages": [_turn(message) for message in self.messages], **self.fields})

    def prompt_tokens(self, each_image: int) -> int:
        """An estimate, for rate limits and budget."""
        parts = [part for message in self.messages for part in message.parts]
        characters = sum(len(part) for part in parts if isinstance(part, str))
        pictures = sum(not isinstance(part, str) for part in parts)
        return characters // CHARACTERS_PER_TOKEN + each_image * pictures


def parameters(endpoint: Endpoint, schema: Mapping[str, Any] | None, salt: int) -> dict[str, Any]:
    """Everything in the body beside the messages; a salt moves the seed, so that a new attempt is a new draw."""
    fields: dict[str, Any] = {"model": endpoint.model, endpoint.max_tokens_key: endpoint.max_tokens}
    if endpoint.temperature is not None:
        fields["temperature"] = endpoint.temperature
    if endpoint.seed is not None:
        fields["seed"] = endpoint.seed + salt
    if schema is not None and endpoint.structured:
        named = {"name": "answer", "strict": True, "schema": schema}
        fields["response_format"] = {"type": "json_schema", "json_schema": named}
    return {**fields, **endpoint.extra}


def request_key(messages: Sequence[Message], fields: Mapping[str, Any], salt: int) -> bytes:
    """Digest of (messages with the digests of pictures, parameters, salt); model and schema are parameters."""
    said = [[m.role, [p if isinstance(p, str) else {"image": p.digest} for p in m.parts]] for m in messages]
    canonical = orjson.dumps([said, fields, salt], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(canonical, digest_size=16).digest()


def build(messages: Sequence[Message], endpoint: Endpoint, schema: Mapping[str, Any] | None, salt: int) -> Request:
    """The request for these messages.

    Raises:
        ChatFailure: not_unicode, when a text holds half of a surrogate pair.
    """
    fields = parameters(endpoint, schema, salt)
    try:
        return Request(request_key(messages, fields, salt), messages, fields)
    except orjson.JSONEncodeError as error:
        raise ChatFailure("not_unicode", str(error)) from error


def _turn(message: Message) -> dict[str, Any]:
    if len(message.parts) == 1 and isinstance(message.parts[0], str):
        return {"role": message.role, "content": message.parts[0]}
    return {"role": message.role, "content": [_part(part) for part in message.parts]}


def _part(part: str | Picture) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": part.url}}


@dataclass(frozen=True, slots=True)
class Completion:
    """The parts of a response body that matter. `text` is None when the model declined."""

    text: str | None
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str

    @property
    def counted(self) -> bool:
        """Whether the server said how many tokens it took."""
        return self.prompt_tokens + self.completion_tokens > 0

    def reply(self, latency_s: float, cached: bool) -> Reply:
        """The answer.

        Raises:
            ChatFailure: refused.
        """
        if self.text is None:
            raise ChatFailure("refused", f"no content, finish_reason {self.finish_reason!r}")
        return Reply(self.text, self.prompt_tokens, self.completion_tokens, self.finish_reason, latency_s, cached)


def read_completion(raw: bytes) -> Completion | None:
    """Read a response body in OpenAI's format; None when it is anything else (a proxy's page, a cut body)."""
    try:
        body = _loads(raw)
        choice = body["choices"][0]
        message, reason = choice["message"], str(choice.get("finish_reason") or "")
        content, refusal = message.get("content"), message.get("refusal")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    if isinstance(content, list):  # some servers return parts
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    declined = reason == "content_filter" or (not content and bool(refusal))
    if reason == "error" or not (isinstance(content, str) or content is None or declined):
        return None  # OpenRouter's reason for an answer that broke off
    return Completion(None if declined else content or "", *_usage(body.get("usage")), reason)


def status_within(raw: bytes) -> int | None:
    """The status of an error that a router has sent with status 200: `{"error": {"code": 429, ...}}`."""
    try:
        code = _loads(raw)["error"]["code"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _loads(raw: bytes) -> Any:
    """Parse JSON; half of a surrogate pair, which a cut answer may end with, becomes a replacement character."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        if b"\\ud" not in raw.lower():
            raise
        text = json.dumps(json.loads(raw), ensure_ascii=False)
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _usage(usage: Any) -> tuple[int, int]:
    """Tokens of prompt and completion; zeros where the server says nothing that can be believed."""
    counts = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (int(n) if isinstance(n, int | float) and 0 <= n <= MOST_TOKENS else 0 for n in counts)
    return prompt, completion
