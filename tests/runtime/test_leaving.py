"""Calls that wait are given up, those in flight land."""

from __future__ import annotations

import asyncio

import pytest

from rddg_ray.exchange import CallId, Completion, Prompt, Usage
from rddg_ray.runtime.leaving import CallLeftError, LeavableEndpoint
from rddg_ray.runtime.watching import WatchedEndpoint

PROMPT = Prompt("", "rows, please", "generation")


class Gated:
    """An endpoint whose calls wait for a gate before they fly, and then for another to land."""

    def __init__(self):
        self.may_fly, self.may_land = asyncio.Event(), asyncio.Event()
        self.n_flown = 0
        self.watched = WatchedEndpoint(self.client())

    def client(self):
        gated = self

        class Client:
            async def complete(self, prompt, call=None):
                gated.n_flown += 1
                await gated.may_land.wait()
                return Completion("a", "m", Usage(1, 1, 1))

            async def aclose(self):
                pass

        return Client()

    async def complete(self, prompt, call=None):
        await self.may_fly.wait()
        return await self.watched.complete(prompt, call)

    async def aclose(self):
        pass


def call(number, chain="one"):
    return CallId("people", chain, number, 0)


async def soon(predicate):
    while not predicate():
        await asyncio.sleep(0)


def test_only_calls_of_the_chains_that_are_meant_are_given_up():
    async def main():
        gated = Gated()
        endpoint = LeavableEndpoint(gated, gated.watched)
        asked = [
            asyncio.create_task(endpoint.complete(PROMPT, call(0, chain)))
            for chain in ("one", "other")
        ]
        await asyncio.sleep(0.01)
        endpoint.leave([("people", "one")])
        gated.may_fly.set()
        gated.may_land.set()
        return gated.n_flown, await asyncio.gather(*asked, return_exceptions=True)

    _, (left, answered) = asyncio.run(main())
    assert isinstance(left, CallLeftError)
    assert answered.text == "a"


def test_all_who_ask_for_a_call_that_waits_are_told_that_it_was_given_up():
    async def main():
        gated = Gated()
        endpoint = LeavableEndpoint(gated, gated.watched)
        asked = [asyncio.create_task(endpoint.complete(PROMPT, call(0))) for _ in range(2)]
        await asyncio.sleep(0.01)
        endpoint.leave()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        return gated.n_flown, outcomes

    n_flown, outcomes = asyncio.run(main())
    assert n_flown == 0
    assert [type(outcome) for outcome in outcomes] == [CallLeftError] * 2


def test_a_call_in_flight_lands_however_often_all_are_left():
    async def main():
        gated = Gated()
        endpoint = LeavableEndpoint(gated, gated.watched)
        gated.may_fly.set()
        asking = asyncio.create_task(endpoint.complete(PROMPT, call(0)))
        await soon(lambda: gated.n_flown == 1)
        endpoint.leave()
        endpoint.leave([("people", "one")])
        await asyncio.sleep(0.01)
        gated.may_land.set()
        reply = await asking
        return reply.text, gated.watched.is_flying()

    assert asyncio.run(main()) == ("a", False)


def test_a_call_that_its_asker_cancels_is_no_call_that_was_left():
    async def main():
        gated = Gated()
        endpoint = LeavableEndpoint(gated, gated.watched)
        asking = asyncio.create_task(endpoint.complete(PROMPT, call(0)))
        await asyncio.sleep(0.01)
        asking.cancel()
        await asking

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
