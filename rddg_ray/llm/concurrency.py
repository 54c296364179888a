"""How many calls may be in flight at once."""

from __future__ import annotations

import asyncio

from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt


class ConcurrencyLimitedEndpoint:
    """Lets at most `max_concurrency` calls through at once; the others wait their turn.

    Args:
        inner: Where the calls go.
        max_concurrency: Calls in flight at most, at least 1.
    """

    def __init__(self, inner: Endpoint, max_concurrency: int) -> None:
        if max_concurrency < 1:
            raise ValueError(f"max_concurrency must be at least 1, found {max_concurrency}")
        self._inner = inner
        self._slots = asyncio.Semaphore(max_concurrency)

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the inner endpoint's reply once a slot is free."""
        async with self._slots:
            return await self._inner.complete(prompt, call)

    async def aclose(self) -> None:
        """Close the inner endpoint."""
        await self._inner.aclose()
