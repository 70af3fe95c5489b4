"""What a run will take, said before the first request is sent."""

from __future__ import annotations

from dataclasses import dataclass

from mmevol_core.endpoint import Endpoint


@dataclass(frozen=True)
class Estimate:
    """Requests, tokens, US dollars and hours of a run; the hours are at most what rate limits and latency allow."""

    requests: int
    prompt_tokens: float
    completion_tokens: float
    usd: float
    hours: float

    def __str__(self) -> str:
        tokens = f"{self.prompt_tokens / 1e6:.2f} M + {self.completion_tokens / 1e6:.2f} M tokens"
        return f"{self.requests:,} requests, {tokens}, {self.usd:.2f} USD, {self.hours:.2f} h"


def estimate(
    endpoint: Endpoint, requests: int, prompt_tokens: float, completion_tokens: float, latency_s: float
) -> Estimate:
    """Estimate a run from the averages of one request.

    Args:
        endpoint: gives prices, concurrency and rate limits.
        requests: how many will be sent, asked-again ones included.
        prompt_tokens: per request, on average.
        completion_tokens: per request, on average.
        latency_s: of one answer; a few requests of a preview tell it.
    """
    seconds = [requests * latency_s / endpoint.concurrency]
    if endpoint.rpm:
        seconds.append(60 * requests / endpoint.rpm)
    if endpoint.tpm:
        seconds.append(60 * requests * (prompt_tokens + completion_tokens) / endpoint.tpm)
    prompt, completion = requests * prompt_tokens, requests * completion_tokens
    price = endpoint.batch.price if endpoint.batch else 1.0
    hours = 24.0 if endpoint.batch else max(seconds) / 3600  # a batch promises a day and no more
    return Estimate(requests, prompt, completion, price * endpoint.usd(prompt, completion), hours)
