"""Trying again, in one layer only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import numpy as np

from rddg_ray.errors import TransientLLMError
from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt
from rddg_ray.llm.breaker import OutageError

if TYPE_CHECKING:
    from tenacity import RetryCallState

Sleep = Callable[[float], Awaitable[None]]


class RetryingEndpoint:
    """Repeats calls that failed for a passing reason.

    Before attempt k + 1 it waits a time drawn evenly from 0 to `initial_delay_s * 2**(k - 1)`
    seconds, at most `max_delay_s` (full jitter). Where the server said how long to wait, it
    waits that long, at most `max_retry_after_s`, and up to a tenth longer so that not all
    callers come back at once. A permanent error is raised at once, and so is the end of a circuit
    breaker's patience. An answer that nobody can
    read (status 200 with a web page, half a document, nothing) may have been paid for and
    seldom becomes better, so it has fewer attempts.

    Args:
        inner: Where the calls go; a limiter there takes its own reservation for each attempt,
            and keeps refusals for its limits (429) to itself.
        max_attempts: Attempts a call may take in all, at least 1.
        max_unreadable: Unreadable answers a call may get, at least 1.
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
        max_unreadable: int = 3,
        initial_delay_s: float = 1.0,
        max_delay_s: float = 60.0,
        max_retry_after_s: float = 300.0,
        rng: np.random.Generator | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        for name, value in (("max_attempts", max_attempts), ("max_unreadable", max_unreadable)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, found {value}")
        self._inner = inner
        self._max_attempts = max_attempts
        self._max_unreadable = max_unreadable
        self._initial_delay_s = initial_delay_s
        self._max_delay_s = max_delay_s
        self._max_retry_after_s = max_retry_after_s
        self._rng = np.random.default_rng() if rng is None else rng
        self._sleep = sleep

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the first reply; raise what the last attempt raised."""
        # Most calls pass at once, and tenacity's bookkeeping costs more than the rest of this.
        try:
            return await self._inner.complete(prompt, call)
        except TransientLLMError as error:
            if not _may_pass(error):
                raise
            first = error
        return await self._retried(prompt, call, first)

    async def aclose(self) -> None:
        """Close the inner endpoint."""
        await self._inner.aclose()

    async def _retried(
        self, prompt: Prompt, call: CallId | None, first: TransientLLMError
    ) -> Completion:
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        attempts = _Attempts(self._inner, first, self._max_unreadable)
        enough = stop_after_attempt(self._max_attempts)
        # One object a call: tenacity keeps a call's progress in it.
        retrying = AsyncRetrying(
            sleep=self._sleep,
            stop=lambda state: enough(state) or attempts.are_unreadable,
            wait=self._wait_s,
            retry=retry_if_exception(_may_pass),
            reraise=True,
        )
        try:
            completion: Completion = await retrying(attempts.next, prompt, call)
        except OutageError:
            raise
        except TransientLLMError as error:
            message = f"{error} (given up after {attempts.n} attempts)"
            raise TransientLLMError(
                message, error.status, error.retry_after_s, error.reached, error.rate_headers
            ) from error
        return completion

    def _wait_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = error.retry_after_s if isinstance(error, TransientLLMError) else None
        if asked_s is not None:
            return min(asked_s, self._max_retry_after_s) * (1 + 0.1 * self._rng.random())
        doublings = min(state.attempt_number - 1, 60)  # 2.0**1024 would overflow
        ceiling_s = min(self._max_delay_s, self._initial_delay_s * 2.0**doublings)
        return float(self._rng.uniform(0.0, ceiling_s))


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, TransientLLMError) and not isinstance(error, OutageError)


class _Attempts:
    """The attempts of one call, the first of which is made already and failed."""

    def __init__(self, inner: Endpoint, first: TransientLLMError, max_unreadable: int) -> None:
        self._inner = inner
        self._first: TransientLLMError | None = first
        self._n_unreadable = 0
        self._max_unreadable = max_unreadable
        self.n = 0

    @property
    def are_unreadable(self) -> bool:
        return self._n_unreadable >= self._max_unreadable

    async def next(self, prompt: Prompt, call: CallId | None) -> Completion:
        self.n += 1
        first, self._first = self._first, None
        try:
            if first is not None:
                raise first
            return await self._inner.complete(prompt, call)
        except TransientLLMError as error:
            self._n_unreadable += error.status == 200
            raise
