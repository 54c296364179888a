"""The limit on calls in flight."""

from __future__ import annotations

import asyncio

import pytest

from rddg_ray.errors import TransientLLMError
from rddg_ray.exchange import Completion, Prompt
from rddg_ray.llm import ConcurrencyLimitedEndpoint

PROMPT = Prompt("", "hi", "generation")


def test_no_more_calls_than_allowed_are_in_flight(scripted_endpoint):
    inner = scripted_endpoint([Completion("rows", "m")], hold_s=0.005)

    async def calls():
        endpoint = ConcurrencyLimitedEndpoint(inner, 3)
        await asyncio.gather(*(endpoint.complete(PROMPT) for _ in range(12)))

    asyncio.run(calls())
    assert inner.n_calls == 12
    assert inner.most_at_once == 3


def test_a_failed_call_gives_its_slot_back(scripted_endpoint):
    inner = scripted_endpoint([TransientLLMError("busy"), Completion("rows", "m")])

    async def calls():
        endpoint = ConcurrencyLimitedEndpoint(inner, 1)
        with pytest.raises(TransientLLMError):
            await endpoint.complete(PROMPT)
        return await endpoint.complete(PROMPT)

    assert asyncio.run(calls()).text == "rows"


def test_a_limit_of_zero_is_refused(scripted_endpoint):
    with pytest.raises(ValueError, match="max_concurrency"):
        ConcurrencyLimitedEndpoint(scripted_endpoint([Completion("", "m")]), 0)
