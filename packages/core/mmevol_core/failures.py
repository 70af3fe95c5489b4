"""What a server's error means, the same for single requests and for batches."""

from __future__ import annotations

import re

from mmevol_core.endpoint import Endpoint
from mmevol_core.errors import UserError

NO_STRUCTURE = "no_structure"  # the reason when a server does not take `response_format`
_RETRYABLE = {"timeout", "connection", "cut_body", "not_json", "batch_expired", "batch_cancelled", "batch_missing"}
_RETRYABLE |= {"http_408", "http_409", "http_425", "http_429"}  # and all from 500
REDIRECTS = {301, 302, 303, 307, 308}
# the words of OpenAI, vLLM, SGLang, llama.cpp and Gemini; a question may speak of schemas, too, and be refused for more
_STRUCTURE = re.compile(
    rb"response_?(format|schema)|json[ _-]?schema|guided[ _](json|decoding|grammar)|structured[ _-]outputs?",
    re.IGNORECASE,
)
# OpenAI's code and vLLM's, SGLang's and llama.cpp's words; "Request too large" comes with 429, and for ever
_TOO_LONG = re.compile(
    rb"context_length_exceeded|context length|context window|context size|request too large|prompt is too long",
    re.IGNORECASE,
)
# OpenRouter's words and Azure's for a question that a filter does not let through; a key that is denied has others
_ACCOUNT = re.compile(rb"account|api[ _-]?key|deactivat|permission", re.IGNORECASE)
_FILTERED = re.compile(rb"moderation|flagged|content[ _-]?(policy|filter|management)|safety|harmful", re.IGNORECASE)
OF_ONE_ROW = {403, 404}  # may also be said of one question, where others are answered


def classify(status: int, raw: bytes, *, structured: bool) -> str:
    """The reason (see `ChatFailure`) of a response that is no answer.

    Args:
        status: HTTP's.
        raw: the body.
        structured: whether a schema may have been sent.
    """
    if status in {400, 413, 422, 429, 500} and _TOO_LONG.search(raw):
        return "too_long"
    if structured and status in {400, 422, 501} and _STRUCTURE.search(raw):
        return NO_STRUCTURE
    if status < 300:
        return "not_json"
    return "refused" if status == 400 or filtered(status, raw) else f"http_{status}"


def filtered(status: int, raw: bytes) -> bool:
    """Whether it is the question that was not let through, not the account: moderation, as OpenRouter calls it."""
    return status == 403 and _FILTERED.search(raw) is not None and _ACCOUNT.search(raw) is None


def retryable(reason: str) -> bool:
    """Whether the same request may have an answer later."""
    status = reason.removeprefix("http_")
    return reason in _RETRYABLE or (status.isdigit() and int(status) >= 500)


def fatal(endpoint: Endpoint, url: str, status: int, raw: bytes, location: str = "") -> UserError | None:
    """Why no other request can succeed either, told without the key; None where another may.

    Args:
        endpoint: whose model and key are named.
        url: what was asked.
        status: HTTP's.
        raw: the body.
        location: where a redirection leads.
    """
    where = f"{url} answered {status}"
    key = (
        f"the environment variable {endpoint.api_key_name}"
        if endpoint.api_key_name
        else "api_key_name (no key was sent)"
    )
    if status in {401, 403} and not filtered(status, raw):
        return UserError(f"{where}: access denied to {endpoint.model!r}; check {key}")
    if status == 404:
        return UserError(f"{where}: no such address or no model {endpoint.model!r}; check base_url and model")
    if status in REDIRECTS:
        return UserError(f"{where}, a redirection to {location!r}; write the address that answers into base_url")
    if status == 402 or (status == 429 and b"insufficient_quota" in raw):
        return UserError(f"{where}: the account has no credit left; top it up and run the same command again")
    return None
