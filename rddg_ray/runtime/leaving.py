"""Giving up the calls that wait for their turn once a run is to stop."""

from __future__ import annotations

import asyncio

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
        self._tasks: dict[CallId, asyncio.Task[Completion]] = {}
        self._given_up: set[CallId] = set()

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the inner endpoint's reply; see `Endpoint`.

        Raises:
            CallLeftError: If the call was given up.
        """
        if call is None or call in self._tasks:
            return await self._inner.complete(prompt, call)
        task = self._tasks[call] = asyncio.create_task(self._inner.complete(prompt, call))
        try:
            return await task
        except asyncio.CancelledError:
            if call in self._given_up:
                raise CallLeftError("the run is to stop") from None
            raise
        finally:
            del self._tasks[call]
            self._watched.landed(call)

    def leave(self) -> None:
        """Give up every call that is not in flight now; may be called again and again."""
        for call, task in self._tasks.items():
            if call not in self._watched.calls:
                self._given_up.add(call)
                task.cancel()

    async def aclose(self) -> None:
        """Close the inner endpoint."""
        await self._inner.aclose()
