"""Trying again, in one layer only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import numpy as np

from rddg_ray.errors import TransientLLMError
from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt

if TYPE_CHECKING:
    from tenacity import RetryCallState

Sleep = Callable[[float], Awaitable[None]]


class RetryingEndpoint:
    """Repeats calls that failed for a passing reason.

    Before attempt k + 1 it waits a time drawn evenly from 0 to `initial_delay_s * 2**(k - 1)`
    seconds, at most `max_delay_s` (full jitter). Where the server said how long to wait, it
    waits that long, at most `max_retry_after_s`, and up to a tenth longer so that not all
    callers come back at once. A permanent error is raised at once.

    Args:
        inner: Where the calls go.
        max_attempts: Attempts a call may take in all, at least 1.
        initial_delay_s: Upper end of the first wait, in seconds.
        max_delay_s: Upper end of any wait that the server did not ask for.
        max_retry_after_s: Longest wait that a server may ask for.
        rng: Source of the jitter; one of its own by default.
        sleep: Called with seconds, awaited.

    References:
        Brooker (2015), Exponential Backoff and Jitter, AWS Architecture Blog.
    """

    def __init__(
        self,
        inner: Endpoint,
        max_attempts: int = 6,
        *,
        initial_delay_s: float = 1.0,
        max_delay_s: float = 60.0,
        max_retry_after_s: float = 300.0,
        rng: np.random.Generator | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, found {max_attempts}")
        self._inner = inner
        self._max_attempts = max_attempts
        self._initial_delay_s = initial_delay_s
        self._max_delay_s = max_delay_s
        self._max_retry_after_s = max_retry_after_s
        self._rng = np.random.default_rng() if rng is None else rng
        self._sleep = sleep

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the first reply; raise what the last attempt raised."""
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

        # One object a call: tenacity keeps a call's progress in it.
        attempts = AsyncRetrying(
            sleep=self._sleep,
            stop=stop_after_attempt(self._max_attempts),
            wait=self._wait_s,
            retry=retry_if_exception_type(TransientLLMError),
            reraise=True,
        )
        try:
            completion: Completion = await attempts(self._inner.complete, prompt, call)
        except TransientLLMError as error:
            message = f"{error} (given up after {self._max_attempts} attempts)"
            raise TransientLLMError(message, error.status, error.retry_after_s) from error
        return completion

    async def aclose(self) -> None:
        """Close the inner endpoint."""
        await self._inner.aclose()

    def _wait_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = error.retry_after_s if isinstance(error, TransientLLMError) else None
        if asked_s is not None:
            return min(asked_s, self._max_retry_after_s) * (1 + 0.1 * self._rng.random())
        doublings = min(state.attempt_number - 1, 60)  # 2.0**1024 would overflow
        ceiling_s = min(self._max_delay_s, self._initial_delay_s * 2.0**doublings)
        return float(self._rng.uniform(0.0, ceiling_s))
