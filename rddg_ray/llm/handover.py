"""Replies handed over one by one, so that work on one holds up no other chain's call."""

from __future__ import annotations

import asyncio

from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt

# Passes of the event loop from a reply to the moment the chain's next call is handed to the
# journal, with some to spare. A pass without work costs microseconds.
_PASSES = 10


class HandoverEndpoint:
    """Lets a chain work on its reply and ask again before the next chain gets its own.

    Chains that were answered at the same moment, as a group commit lets them be, would otherwise
    all do their work before the first of them asks again: in each round every chain would wait
    for the work of all, and go on doing so, since they then ask at the same moment too.

    Args:
        inner: Where the calls go.
    """

    def __init__(self, inner: Endpoint) -> None:
        self._inner = inner
        self._turn = asyncio.Lock()

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the inner endpoint's reply once those before it had time to ask again."""
        completion = await self._inner.complete(prompt, call)
        async with self._turn:
            for _ in range(_PASSES):
                await asyncio.sleep(0)
        return completion

    async def aclose(self) -> None:
        """Close the inner endpoint."""
        await self._inner.aclose()
