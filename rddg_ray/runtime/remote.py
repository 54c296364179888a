"""The endpoint of a process that holds no key: the Caller of its node."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Collection
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, RayActorError

from rddg_ray.exchange import CallId, Completion, Prompt
from rddg_ray.llm.journal import Replies, find, read_replies
from rddg_ray.runtime.callers import Chain, landing_s
from rddg_ray.runtime.executor import LostChainError
from rddg_ray.runtime.finding import caller_of, find_callers
from rddg_ray.runtime.leaving import CallLeftError
from rddg_ray.runtime.opening import CallPlan

_PAUSES_S = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0)


class CallerLostError(LostChainError):
    """A node's Caller did not come back; the chain may go on on another node."""


class RemoteEndpoint:
    """Sends prompts to the Caller of this process's node, and waits where that has died.

    A call that is asked again has the same name: its reply is returned where one is on record or
    on its way, and what was in flight in a Caller that died is judged by its successor, as
    `endpoint.journal.possibly_paid_twice` says. Replies that were on record when a chain was
    loaded do not go through the Caller at all, so that hundreds of chains start again quickly.

    Args:
        plan: The run's calls.
        node: Id of the node whose Caller is asked; this process's own by default.
    """

    def __init__(self, plan: CallPlan, node: str | None = None) -> None:
        self._plan = plan
        self._node = node or ray.get_runtime_context().get_node_id()
        self._actor: Any = None
        self._recorded: dict[Chain, Replies] = {}
        self._is_leaving = False

    def load(self, dataset: str, chain: str) -> int:
        """Read what is on record of a chain; return how many calls have a reply.

        Raises:
            StoreError: If a file is no journal.
        """
        replies = read_replies(self._plan.journal, dataset, chain)
        self._recorded[dataset, chain] = replies
        return len(replies)

    def knows(self, call: CallId) -> bool:
        """Return whether a call's reply was on record when its chain was loaded."""
        replies = self._recorded.get((call.dataset, call.chain), {})
        return call.key(self._plan.fingerprint) in replies

    async def take_over(self, dataset: str, chain: str) -> None:
        """Become the only one to ask for a chain that ran elsewhere; to be loaded after this.

        Callers of other nodes that are within reach give it up first, once their calls of it
        have ended. Two attempts at one call remain possible where such a node lives but cannot be
        reached: both are on record as sent, and so counted.
        """
        moved = dataset, chain
        timeout_s = landing_s(self._plan)
        others = [
            _within(found.actor.give_up.remote(moved, timeout_s), timeout_s)
            for found in find_callers(self._plan.run)
            if found.node != self._node
        ]
        await asyncio.gather(*others)
        await self._asked(lambda caller: caller.take.remote(moved))

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        """Return the reply on record or the Caller's; see `Endpoint`.

        Raises:
            CallerLostError: If there is no Caller for about 45 s.
            CallLeftError: If the run is to stop and the call was not in flight.
        """
        if call is None:
            # Nobody could tell whether it was paid for.
            return _opened(await self._caller().complete.remote(prompt, None))
        known = self._recorded.get((call.dataset, call.chain))
        if known is not None:
            reply = find(known, prompt, call, self._plan.fingerprint, self._plan.journal)
            if reply is not None:
                return reply

        async def ask(caller: Any) -> Any:
            if self._is_leaving:
                raise CallLeftError("the run is to stop")
            return await caller.complete.remote(prompt, call)

        return _opened(await self._asked(ask))

    async def leave(self, chains: Collection[Chain]) -> None:
        """Ask nothing more, and have the Caller give up what waits for its turn.

        Calls in flight land. May be called again and again.

        Args:
            chains: Which run here.
        """
        self._is_leaving = True
        if self._actor is not None:
            with contextlib.suppress(RayActorError, ActorUnschedulableError):  # nothing waits there
                await self._actor.leave.remote(list(chains))

    async def forget(self, dataset: str, chain: str) -> None:
        """Free the memory that a chain which ended took, here and at the Caller."""
        self._recorded.pop((dataset, chain), None)
        with contextlib.suppress(RayActorError):  # its memory is free already
            await self._caller().forget.remote((dataset, chain))

    async def aclose(self) -> None:
        """Nothing is held here: the Caller serves others too."""

    def _caller(self) -> Any:
        if self._actor is None:
            self._actor = caller_of(self._plan, self._node)
        return self._actor

    async def _asked(self, ask: Any) -> Any:
        """Ask the Caller, and again with growing pauses where it has died or is out of reach."""
        for pause_s in _PAUSES_S:
            try:
                return await ask(self._caller())
            except (RayActorError, ActorUnschedulableError):
                self._actor = None  # one that has ended for good makes room for another
                # A varied time, so that not all chains of a node come at once.
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
        try:
            return await ask(self._caller())
        except (RayActorError, ActorUnschedulableError) as error:
            lost = f"node {self._node}: the process that makes its calls does not come back"
            raise CallerLostError(f"{lost}: {type(error).__name__}") from None


def _opened(answer: Completion | Exception) -> Completion:
    if isinstance(answer, Exception):
        raise answer
    return answer


async def _within(giving_up: Any, timeout_s: float) -> None:
    """Await another Caller's word; one that has died has nothing in flight."""
    with contextlib.suppress(RayActorError, ActorUnschedulableError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            await giving_up
