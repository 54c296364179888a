"""What crosses to the endpoint and back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal, Protocol

Phase = Literal["relations", "constraints", "generation"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One chat request, before any client-specific form.

    Attributes:
        system: The system message; empty for none.
        user: The user message. What never changes within a chain comes first, so that an
            endpoint's prompt cache applies.
        phase: The step of the chain that asks.
        temperature: Sampling temperature, or None for the endpoint's default.
        max_completion_tokens: Cap on the reply's tokens, or None for the endpoint's default.
        response_schema: JSON schema, as JSON text, that the reply must follow, or None for a
            reply in free text.
    """

    system: str
    user: str
    phase: Phase
    temperature: float | None = None
    max_completion_tokens: int | None = None
    response_schema: str | None = None

    @property
    def sha256(self) -> str:
        """Return the hash of all that the endpoint is told, as 64 hexadecimal digits."""
        return hashlib.sha256(repr(self.told).encode()).hexdigest()

    @property
    def told(self) -> tuple[str | float | None, ...]:
        """Return the fields in order, without a schema that is not there.

        Prompts in free text are hashed and stored as they were before there were others, so
        that runs begun then go on.
        """
        parts = (self.system, self.user, self.phase, self.temperature, self.max_completion_tokens)
        return parts if self.response_schema is None else (*parts, self.response_schema)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call or of many, as the endpoint counted them."""

    n_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Return the sum, field by field."""
        return Usage(
            self.n_calls + other.n_calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """What an endpoint tells of its limits with a response, where it tells anything.

    Attributes:
        limit_requests: Requests allowed, by the header's name in a minute.
        limit_tokens: Tokens allowed, likewise.
        remaining_requests: Requests left at the time of the response.
        remaining_tokens: Tokens left; below zero where the server counts that way.
        reset_requests_s: Seconds until all requests are back.
        reset_tokens_s: Seconds until all tokens are back.
    """

    limit_requests: int | None = None
    limit_tokens: int | None = None
    remaining_requests: int | None = None
    remaining_tokens: int | None = None
    reset_requests_s: float | None = None
    reset_tokens_s: float | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply, whole.

    Attributes:
        text: The message's content as it came.
        model: The model's name as the endpoint reports it.
        usage: Tokens of this call.
        finish_reason: `stop`, `length` (cut off), `content_filter`, or the endpoint's word.
        latency_s: Seconds from sending to the last byte.
        rate: What the response told of the endpoint's limits, for the limiter. It is no part of
            the reply: neither compared nor recorded.
    """

    text: str
    model: str
    usage: Usage = Usage()
    finish_reason: str = "stop"
    latency_s: float = 0.0
    rate: RateHeaders | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CallId:
    """Which call of a run this is; two calls of a run never share one.

    Attributes:
        dataset: Name of the table.
        chain: Name of the chain, unique within the run and table.
        round: Round of the chain, from 0.
        index: Position of the prompt within the round, from 0.
    """

    dataset: str
    chain: str
    round: int
    index: int

    def key(self, fingerprint: str) -> str:
        """Return the call's key in the journal of the run with this fingerprint."""
        parts = (fingerprint, self.dataset, self.chain, self.round, self.index)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


class Endpoint(Protocol):
    """One method at the network seam; every client, wrapper and fake has it.

    Raises:
        TransientLLMError: The call may succeed later.
        PermanentLLMError: It will not, as it is.
    """

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the reply to a prompt; `call` names it to wrappers that keep records."""
        ...

    async def aclose(self) -> None:
        """Release sockets and files; calling twice is harmless."""
        ...
