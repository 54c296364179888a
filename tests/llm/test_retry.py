"""Retrying: what is repeated, how often, and after how long."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from rddg_ray.errors import PermanentLLMError, TransientLLMError
from rddg_ray.exchange import Completion, Prompt
from rddg_ray.llm import RetryingEndpoint

PROMPT = Prompt("", "hi", "generation")
GOOD = Completion("rows", "m")


class Clock:
    """A sleep that takes no time and remembers what it was asked for."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits_s.append(seconds)


def run(inner, **options):
    clock = Clock()
    rng = np.random.default_rng(0)
    endpoint = RetryingEndpoint(inner, rng=rng, sleep=clock.sleep, **options)
    return asyncio.run(endpoint.complete(PROMPT)), clock.waits_s


def test_transient_errors_are_tried_again(scripted_endpoint):
    inner = scripted_endpoint(
        [TransientLLMError("busy", 503), TransientLLMError("busy", 503), GOOD]
    )
    completion, waits_s = run(inner)
    assert completion is GOOD
    assert inner.n_calls == 3
    assert len(waits_s) == 2


def test_permanent_errors_are_raised_at_once(scripted_endpoint):
    inner = scripted_endpoint([PermanentLLMError("no key", 401)])
    with pytest.raises(PermanentLLMError, match="no key"):
        run(inner)
    assert inner.n_calls == 1


def test_the_last_error_is_raised_after_the_last_attempt(scripted_endpoint):
    inner = scripted_endpoint([TransientLLMError("busy", 503, 2.0)])
    with pytest.raises(TransientLLMError, match=r"busy \(given up after 3 attempts\)") as caught:
        run(inner, max_attempts=3)
    assert inner.n_calls == 3
    assert (caught.value.status, caught.value.retry_after_s) == (503, 2.0)


def test_errors_of_our_own_making_are_not_repeated(scripted_endpoint):
    inner = scripted_endpoint([KeyError("a bug")])
    with pytest.raises(KeyError):
        run(inner)
    assert inner.n_calls == 1


def test_the_server_s_wait_is_kept_up_to_a_tenth_longer(scripted_endpoint):
    inner = scripted_endpoint([TransientLLMError("slow", 429, 20.0), GOOD])
    _, waits_s = run(inner)
    assert 20.0 <= waits_s[0] <= 22.0


def test_the_server_s_wait_is_capped(scripted_endpoint):
    inner = scripted_endpoint([TransientLLMError("slow", 429, 1e6), GOOD])
    _, waits_s = run(inner, max_retry_after_s=30.0)
    assert 30.0 <= waits_s[0] <= 33.0


def test_waits_are_drawn_evenly_below_a_ceiling_that_doubles(scripted_endpoint):
    errors = [TransientLLMError("busy", 503)] * 6
    drawn = []
    rng = np.random.default_rng(1)
    for _ in range(400):
        clock = Clock()
        endpoint = RetryingEndpoint(
            scripted_endpoint([*errors, GOOD]),
            max_attempts=7,
            max_delay_s=10.0,
            rng=rng,
            sleep=clock.sleep,
        )
        asyncio.run(endpoint.complete(PROMPT))
        drawn.append(clock.waits_s)
    ceilings_s = np.array([1.0, 2.0, 4.0, 8.0, 10.0, 10.0])
    shares = np.array(drawn) / ceilings_s
    assert shares.min() >= 0
    assert shares.max() <= 1
    # Means of 400 uniform draws have standard deviation sqrt(1/12/400) = 0.0144.
    assert np.abs(shares.mean(axis=0) - 0.5).max() < 4 * 0.0144


def test_many_calls_at_once_keep_their_own_count(scripted_endpoint):
    async def calls():
        clock = Clock()
        inners = [
            scripted_endpoint([TransientLLMError("busy")] * n + [GOOD], hold_s=0.001)
            for n in range(5)
        ]
        endpoints = [RetryingEndpoint(inner, sleep=clock.sleep) for inner in inners]
        await asyncio.gather(*(endpoint.complete(PROMPT) for endpoint in endpoints))
        shared = RetryingEndpoint(
            scripted_endpoint([TransientLLMError("busy")] * 10 + [GOOD]), 11, sleep=clock.sleep
        )
        replies = await asyncio.gather(*(shared.complete(PROMPT) for _ in range(10)))
        return [inner.n_calls for inner in inners], replies

    counts, replies = asyncio.run(calls())
    assert counts == [1, 2, 3, 4, 5]
    assert replies == [GOOD] * 10


def test_answers_that_nobody_can_read_have_fewer_attempts(scripted_endpoint):
    page = TransientLLMError("a web page", 200)
    inner = scripted_endpoint([TransientLLMError("busy", 503), page, page, GOOD])
    with pytest.raises(TransientLLMError, match=r"a web page \(given up after 3 attempts\)"):
        run(inner, max_unreadable=2)
    assert inner.n_calls == 3
    assert run(scripted_endpoint([page, page, GOOD]))[0] is GOOD


def test_the_last_error_tells_whether_the_endpoint_was_reached(scripted_endpoint):
    with pytest.raises(TransientLLMError) as caught:
        run(scripted_endpoint([TransientLLMError("no route", reached=False)]), max_attempts=2)
    assert caught.value.reached is False


def test_an_attempt_count_of_zero_is_refused(scripted_endpoint):
    with pytest.raises(ValueError, match="max_attempts"):
        RetryingEndpoint(scripted_endpoint([GOOD]), 0)
