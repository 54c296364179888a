"""Which calls are in flight, so that nobody leaves before they have landed."""

from __future__ import annotations

from collections.abc import Collection

from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt


class WatchedEndpoint:
    """Knows the named calls that were sent and whose replies are not on record yet.

    It wraps the bare client. A reply counts as in flight until `landed`, which whoever stands
    outside of all wrappers says once the reply is recorded.

    Args:
        inner: The client.
    """

    def __init__(self, inner: Endpoint) -> None:
        self._inner = inner
        self.calls: set[CallId] = set()

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the client's reply; see `Endpoint`."""
        if call is not None:
            self.calls.add(call)
        try:
            return await self._inner.complete(prompt, call)
        except BaseException:
            self.landed(call)
            raise

    async def aclose(self) -> None:
        """Close the client."""
        await self._inner.aclose()

    def landed(self, call: CallId | None) -> None:
        """Note that a call's reply is on record, or that none comes."""
        if call is not None:
            self.calls.discard(call)

    def is_flying(self, chains: Collection[tuple[str, str]] | None = None) -> bool:
        """Return whether a call is in flight; of these chains (data set, name) where given."""
        if chains is None:
            return bool(self.calls)
        return any((call.dataset, call.chain) in chains for call in self.calls)
