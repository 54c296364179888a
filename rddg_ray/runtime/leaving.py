"""Giving up the calls that wait for their turn once a run is to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from rddg_ray.errors import RddgError
from rddg_ray.exchange import CallId, Completion, Endpoint, Prompt
from rddg_ray.runtime.watching import WatchedEndpoint


class CallLeftError(RddgError):
    """A call was given up before it was sent, because the run is to stop."""


class LeavableEndpoint:
    """Lets calls in flight land and gives the others up, however long they would wait.

    A call may wait minutes for its turn under a low limit, and a quarter of an hour while the
    endpoint is down; a run that was asked to stop must not.

    Args:
        inner: The whole stack.
        watched: The bare client at its bottom.
    """

    def __init__(self, inner: Endpoint, watched: WatchedEndpoint) -> None:
        self._inner = inner
        self._watched = watched
        self._tasks: dict[CallId, set[asyncio.Task[Completion]]] = {}
        self._given_up: set[asyncio.Task[Completion]] = set()

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the inner endpoint's reply; see `Endpoint`.

        Raises:
            CallLeftError: If the call was given up.
        """
        if call is None:
            return await self._inner.complete(prompt)
        # Two may ask the same call: a chain that was started again, and what is left of it.
        task = asyncio.create_task(self._inner.complete(prompt, call))
        self._tasks.setdefault(call, set()).add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if task in self._given_up:
                raise CallLeftError("the run is to stop") from None
            raise
        finally:
            self._given_up.discard(task)
            self._tasks[call].discard(task)
            if not self._tasks[call]:
                del self._tasks[call]
                self._watched.landed(call)

    def leave(self, chains: Collection[tuple[str, str]] | None = None) -> None:
        """Give up calls that are not in flight now; may be called again and again.

        Args:
            chains: Data sets and names of the chains whose calls are meant; all by default.
        """
        for call, tasks in self._tasks.items():
            is_meant = chains is None or (call.dataset, call.chain) in chains
            if is_meant and call not in self._watched.calls:
                self._given_up |= tasks
                for task in tasks:
                    task.cancel()

    async def aclose(self) -> None:
        """Close the inner endpoint."""
        await self._inner.aclose()
