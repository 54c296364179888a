"""Calls at the pace of an endpoint's limits, against the embedded endpoint that enforces them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time

import pytest

from rddg_ray.config import EmbeddedSettings, LimitSettings
from rddg_ray.errors import PermanentLLMError, TransientLLMError
from rddg_ray.exchange import CallId, Completion, Prompt, Usage
from rddg_ray.llm import OpenAIEndpoint
from rddg_ray.llm.embedded import MODEL, EmbeddedServer
from rddg_ray.llm.limiter import LimitedEndpoint, LocalPacer

PROMPT = Prompt("", "hello there", "relations", max_completion_tokens=20)
DONE = Completion("hi", "m", Usage(1, 5, 5))
POLICIES = ["minute_bucket", "second_bucket", "sliding_window", "fixed_window"]


def refusal(retry_after_s: float | None = 0.05) -> TransientLLMError:
    return TransientLLMError("too many requests", 429, retry_after_s)


def fast_pacer() -> LocalPacer:
    return LocalPacer(LimitSettings(requests_per_minute=600_000))


async def called(endpoint, n_calls: int, prompt: Prompt = PROMPT):
    calls = (endpoint.complete(prompt, CallId("t", str(i), 0, 0)) for i in range(n_calls))
    async with contextlib.aclosing(endpoint):
        return await asyncio.gather(*calls)


async def against_server(settings: EmbeddedSettings, limits: LimitSettings, n_calls: int):
    server = EmbeddedServer(settings)
    await server.start()
    try:
        endpoint = LimitedEndpoint(
            OpenAIEndpoint(server.base_url, MODEL, send_call_header=True), LocalPacer(limits)
        )
        started_s = time.monotonic()
        await called(endpoint, n_calls)
        return server, time.monotonic() - started_s
    finally:
        await server.stop()


@pytest.mark.parametrize("policy", POLICIES)
def test_no_call_is_refused_and_the_limit_is_used(policy):
    # 100 a second, with a burst of 50 and two turns: 150 calls take (150 - 51) / 98.5 s.
    settings = EmbeddedSettings(policy=policy, requests_per_minute=6_000)
    server, wall_s = asyncio.run(
        against_server(settings, LimitSettings(requests_per_minute=6_000), 150)
    )
    assert (server.n_accepted, server.n_refused) == (150, 0)
    assert wall_s >= 1.0


@pytest.mark.parametrize("accounting", ["reserve", "actual"])
def test_limits_on_tokens_are_learned_from_headers(accounting):
    # A call counts 23 tokens: 3 of the prompt and 20 of a reply that its cap cuts off.
    settings = EmbeddedSettings(tokens_per_minute=138_000, token_accounting=accounting)
    server, wall_s = asyncio.run(against_server(settings, LimitSettings(), 120))
    assert (server.n_accepted, server.n_refused, server.n_tokens) == (120, 0, 120 * 23)
    # The 112 that follow the first 8 come one by one, 98.5 a second.
    assert wall_s >= 1.0


@pytest.mark.parametrize("retry_after", [True, False])
def test_refused_calls_are_tried_again_there_until_all_are_answered(retry_after):
    # Nothing is told of the limit, and the second's worth of 20 is less than what comes at once.
    settings = EmbeddedSettings(
        requests_per_minute=1_200, policy="second_bucket", rate_headers=False,
        retry_after=retry_after,
    )  # fmt: skip
    server, _ = asyncio.run(against_server(settings, LimitSettings(requests_per_minute=3_600), 60))
    assert server.n_accepted == 60
    assert server.n_refused > 0
    assert set(server.answers.values()) == {1}
    assert len(server.answers) == 60


def test_a_refused_call_costs_nobody_an_attempt_and_comes_back_with_its_reply(scripted_endpoint):
    inner = scripted_endpoint([refusal(), refusal(), DONE])
    assert asyncio.run(called(LimitedEndpoint(inner, fast_pacer()), 1)) == [DONE]
    assert inner.n_calls == 3


def test_a_call_is_refused_so_often_and_no_more(scripted_endpoint):
    inner = scripted_endpoint([refusal(0.01)])
    endpoint = LimitedEndpoint(inner, fast_pacer(), max_refusals=4)
    with pytest.raises(TransientLLMError, match="refused 4 times") as caught:
        asyncio.run(called(endpoint, 1))
    assert (caught.value.status, inner.n_calls) == (429, 4)


def test_a_call_is_refused_so_long_and_no_longer(scripted_endpoint):
    inner = scripted_endpoint([refusal(0.05)])
    endpoint = LimitedEndpoint(inner, fast_pacer(), max_refused_s=0.2)
    started_s = time.monotonic()
    with pytest.raises(TransientLLMError, match="refused"):
        asyncio.run(called(endpoint, 1))
    assert time.monotonic() - started_s >= 0.2


@pytest.mark.parametrize(
    "error", [TransientLLMError("failed", 503), PermanentLLMError("no key", 401)]
)
def test_other_failures_pass_and_leave_nothing_in_flight(scripted_endpoint, error):
    inner, pacer = scripted_endpoint([error]), fast_pacer()
    with pytest.raises(type(error)):
        asyncio.run(called(LimitedEndpoint(inner, pacer), 1))
    assert inner.n_calls == 1
    assert pacer.snapshot().in_flight == 0


def test_fewest_rounds_done_go_first():
    sent: list[int] = []

    class Noting:
        async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
            assert call is not None
            sent.append(call.round)
            return DONE

        async def aclose(self) -> None:
            pass

    async def main():
        # One each 10 ms after the first, so all but that one wait when it flies.
        pacer = LocalPacer(LimitSettings(requests_per_minute=6_000, pace=1.0, tolerance_s=0.0))
        endpoint = LimitedEndpoint(Noting(), pacer)
        rounds = [3, 1, 2, 0, 2, 1, 0, 3]
        async with contextlib.aclosing(endpoint):
            await asyncio.gather(
                *(
                    endpoint.complete(PROMPT, CallId("t", str(i), r, 0))
                    for i, r in enumerate(rounds)
                )
            )

    asyncio.run(main())
    assert sent == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_cancelled_call_neither_flies_nor_blocks_those_behind_it(scripted_endpoint):
    inner = scripted_endpoint([DONE])
    pacer = LocalPacer(LimitSettings(requests_per_minute=1_200, tolerance_s=0.0))

    async def main():
        endpoint = LimitedEndpoint(inner, pacer)
        async with contextlib.aclosing(endpoint):
            tasks = [asyncio.create_task(endpoint.complete(PROMPT)) for _ in range(4)]
            await asyncio.sleep(0.02)
            for task in tasks[1:3]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.2)  # the turns that nobody takes come back
        return [type(result) for result in results]

    cancelled = asyncio.CancelledError
    assert asyncio.run(main()) == [Completion, cancelled, cancelled, Completion]
    assert inner.n_calls == 2
    assert pacer.snapshot().in_flight == 0


def test_turns_missed_by_a_process_that_stood_still_are_not_taken_all_at_once():
    sent_s: list[float] = []

    class Noting:
        async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
            sent_s.append(time.monotonic())
            return DONE

        async def aclose(self) -> None:
            pass

    async def main() -> None:
        # 20 a second; the pacer gives the first seven, up to 0.3 s ahead, and then all stands.
        pacer = LocalPacer(LimitSettings(requests_per_minute=1_200, pace=1.0, tolerance_s=0.0))
        endpoint = LimitedEndpoint(Noting(), pacer)
        async with contextlib.aclosing(endpoint):
            tasks = [asyncio.create_task(endpoint.complete(PROMPT)) for _ in range(12)]
            await asyncio.sleep(0.02)
            time.sleep(0.7)
            await asyncio.gather(*tasks)

    asyncio.run(main())
    gaps_s = [later - first for first, later in itertools.pairwise(sent_s)]
    assert len(sent_s) == 12
    assert sum(gap_s < 0.02 for gap_s in gaps_s) <= 1


def test_a_pacer_that_cannot_be_reached_fails_the_calls_that_wait(scripted_endpoint):
    class Gone(LocalPacer):
        async def reserve(self, estimates):
            raise ConnectionError("the limiter is gone")

    with pytest.raises(ConnectionError, match="the limiter is gone"):
        asyncio.run(called(LimitedEndpoint(scripted_endpoint([DONE]), Gone()), 3))


def test_a_report_that_fails_costs_no_reply_and_is_logged(scripted_endpoint, caplog):
    class Deaf(LocalPacer):
        async def settle(self, estimate, used, limits):
            raise ConnectionError("the limiter is gone")

    endpoint = LimitedEndpoint(scripted_endpoint([DONE]), Deaf())
    assert asyncio.run(called(endpoint, 1)) == [DONE]
    assert "the limiter is gone" in caplog.text


def test_closing_cancels_what_waits(scripted_endpoint):
    async def main():
        pacer = LocalPacer(LimitSettings(requests_per_minute=1, tolerance_s=0.0))
        endpoint = LimitedEndpoint(scripted_endpoint([DONE]), pacer)
        tasks = [asyncio.create_task(endpoint.complete(PROMPT)) for _ in range(3)]
        await asyncio.sleep(0.05)
        await endpoint.aclose()
        await endpoint.aclose()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = asyncio.run(main())
    assert first == DONE
    assert all(isinstance(other, asyncio.CancelledError) for other in others)


def test_the_books_are_kept_for_far_more_than_5000_reservations_a_second():
    async def seconds() -> float:
        pacer = LocalPacer(LimitSettings(requests_per_minute=10**8, tokens_per_minute=10**10))
        started_s = time.process_time()
        for _ in range(100):
            await pacer.reserve([100] * 50)
            for _ in range(50):
                await pacer.settle(100, 90, None)
        return time.process_time() - started_s

    assert 5_000 / asyncio.run(seconds()) > 20_000
