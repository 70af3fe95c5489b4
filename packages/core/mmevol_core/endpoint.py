"""Where a chat model lives and what it may cost."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mmevol_core.config import Config


class BatchSettings(Config):
    """Use of the server's Batch API instead of single requests; limits are OpenAI's published ones or lower."""

    max_requests: int = Field(default=10_000, ge=1, le=50_000)  # in one batch; also the rows in flight
    max_mb: int = Field(default=100, ge=1, le=200)  # of one input file
    gather_s: float = Field(default=5.0, gt=0)  # submit when nothing was added for so long
    poll_s: float = Field(default=30.0, gt=0)  # between two looks at a batch
    price: float = Field(default=0.5, gt=0, le=1)  # share of the normal price


class Endpoint(Config):
    """An OpenAI-compatible server and one model on it; the keys of `conf/teacher/*.yaml` and `conf/judge/*.yaml`."""

    model: str = Field(min_length=1)
    temperature: float | None = Field(default=None, ge=0, le=2)  # None: the server's default
    max_tokens: int = Field(default=2048, gt=0)
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # the latter for OpenAI's reasoners
    seed: int | None = None
    extra: dict[str, Any] = Field(default_factory=dict)  # further fields of the request, for example {top_p: 0.9}
    structured: bool = False  # the server honours response_format json_schema

    # What follows changes no answer. It is excluded from fingerprints, so that a run with a raised budget, another port
    # or another pace goes on where it stopped.
    base_url: str = Field(pattern=r"^https?://[^\s/]+", exclude=True)  # up to and with /v1
    api_key_name: str | None = Field(default=None, exclude=True)  # NAME of the key's variable; None: no key is sent
    concurrency: int = Field(default=64, ge=1, exclude=True)  # most requests in flight
    rpm: float | None = Field(default=None, gt=0, exclude=True)  # requests a minute
    tpm: float | None = Field(default=None, gt=0, exclude=True)  # tokens a minute, prompt and completion
    deadline_s: float = Field(default=120.0, gt=0, exclude=True)  # of one attempt
    max_attempts: int = Field(default=8, ge=1, exclude=True)  # of one request; rate limiting (429) does not count
    patience_s: float = Field(default=30.0, gt=0, exclude=True)  # stop when nothing at all was answered for so long
    batch: BatchSettings | None = Field(default=None, exclude=True)  # None: single requests
    max_usd: float | None = Field(default=None, ge=0, exclude=True)
    usd_per_m_prompt: float = Field(default=0.0, ge=0, exclude=True)  # price of a million tokens
    usd_per_m_completion: float = Field(default=0.0, ge=0, exclude=True)
    # What the server bills for a picture, for estimate and budget until its own counts are seen. 765 is gpt-4o's for a
    # 1024x1024 picture in four tiles (OpenAI's published pricing).
    tokens_per_image: int = Field(default=765, ge=0, exclude=True)

    @model_validator(mode="after")
    def _budget_needs_prices(self) -> Endpoint:
        if self.max_usd is not None and not (self.usd_per_m_prompt or self.usd_per_m_completion):
            raise ValueError("max_usd needs usd_per_m_prompt and usd_per_m_completion, else nothing can be counted")
        return self

    def usd(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Price in US dollars."""
        return (prompt_tokens * self.usd_per_m_prompt + completion_tokens * self.usd_per_m_completion) / 1e6
