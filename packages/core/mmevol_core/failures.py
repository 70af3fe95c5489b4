"""What a server's error means, the same for single requests and for batches."""

from __future__ import annotations

from mmevol_core.endpoint import Endpoint
from mmevol_core.errors import UserError

REDIRECTS = {301, 302, 303, 307, 308}


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
    if status in {401, 403}:
        return UserError(f"{where}: access denied to {endpoint.model!r}; check {key}")
    if status == 404:
        return UserError(f"{where}: no such address or no model {endpoint.model!r}; check base_url and model")
    if status in REDIRECTS:
        return UserError(f"{where}, a redirection to {location!r}; write the address that answers into base_url")
    if status == 402 or (status == 429 and b"insufficient_quota" in raw):
        return UserError(f"{where}: the account has no credit left; top it up and run the same command again")
    return None
