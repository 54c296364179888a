"""The circuit breaker: an outage costs patience, not attempts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from rddg_ray.errors import PermanentLLMError, TransientLLMError
from rddg_ray.exchange import Completion, Prompt
from rddg_ray.llm import Breaker, BreakingEndpoint, OpenAIEndpoint, RetryingEndpoint
from rddg_ray.llm.breaker import OutageError

PROMPT = Prompt("", "hi", "generation")
GOOD = Completion("rows", "m")
BUSY = TransientLLMError("busy", 503)


class FlappingServer:
    """Answers 503 (or hangs up) while it is down; keeps when each request came."""

    def __init__(self, *, hangs_up: bool = False) -> None:
        self.is_down = False
        self.hangs_up = hangs_up
        self.arrivals_s: list[tuple[float, bool]] = []
        self.base_url = ""

    async def handle(self, request: web.Request) -> web.Response:
        await request.read()
        self.arrivals_s.append((time.monotonic(), self.is_down))
        if self.is_down and self.hangs_up:
            assert request.transport is not None
            request.transport.close()
        if self.is_down:
            return web.json_response({"error": {"message": "down"}}, status=503)
        message = {"role": "assistant", "content": "fine"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
        return web.json_response(body | {"choices": [choice]})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[FlappingServer]:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self.handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            yield self
        finally:
            await runner.cleanup()


def quick_breaker(**options) -> Breaker:
    return Breaker(
        **{"n_failures": 3, "quiet_s": 0.0, "first_pause_s": 0.05, "max_pause_s": 0.2} | options
    )


@pytest.mark.parametrize("hangs_up", [False, True])
@pytest.mark.parametrize("n_chains", [1, 20])
def test_chains_live_through_an_outage_with_few_probes(hangs_up, n_chains):
    async def main():
        async with FlappingServer(hangs_up=hangs_up).running() as server:
            breaker = quick_breaker()
            client = OpenAIEndpoint(server.base_url, "m")
            endpoint = RetryingEndpoint(
                BreakingEndpoint(client, breaker), 4, initial_delay_s=0.01, max_delay_s=0.02
            )

            async def chain() -> list[str]:
                return [(await endpoint.complete(PROMPT)).text for _ in range(5)]

            await endpoint.complete(PROMPT)
            server.is_down = True
            chains = [asyncio.create_task(chain()) for _ in range(n_chains)]
            await asyncio.sleep(1.0)
            snapshot = breaker.snapshot()
            server.is_down = False
            texts = await asyncio.gather(*chains)
            await endpoint.aclose()
            return server, snapshot, texts, breaker

    server, snapshot, texts, breaker = asyncio.run(main())
    assert texts == [["fine"] * 5] * n_chains
    assert snapshot.is_open
    assert snapshot.n_waiting >= n_chains - 1
    assert 0.5 < snapshot.open_for_s < 1.5
    assert not breaker.is_open
    # Pauses of 0.05, 0.1 and then 0.2 s: at most 6 probes in the second after at most one
    # failure of each chain and the 3 that open it.
    n_failed = sum(down for _, down in server.arrivals_s)
    assert n_failed <= n_chains + 3 + 7


def test_waiting_ends_with_words_after_the_time_set():
    async def main():
        async with FlappingServer().running() as server:
            server.is_down = True
            client = OpenAIEndpoint(server.base_url, "m")
            breaker = quick_breaker(give_up_after_s=0.3)
            # Enough attempts to open it; after that the time alone counts.
            endpoint = RetryingEndpoint(
                BreakingEndpoint(client, breaker), 50, initial_delay_s=0.01, max_delay_s=100
            )
            results = await asyncio.gather(
                *(endpoint.complete(PROMPT) for _ in range(10)), return_exceptions=True
            )
            await endpoint.aclose()
            return results

    results = asyncio.run(main())
    assert all(isinstance(result, OutageError) for result in results)
    assert {result.status for result in results} == {503}
    assert "the endpoint has been failing for" in str(results[0])
    assert "(503)" in str(results[0])


def opened_by(outcomes, scripted_endpoint, **options) -> bool:
    breaker = quick_breaker(**options)

    async def main():
        endpoint = BreakingEndpoint(scripted_endpoint(outcomes), breaker)
        for _ in outcomes:
            with contextlib.suppress(TransientLLMError, PermanentLLMError, TimeoutError):
                await asyncio.wait_for(endpoint.complete(PROMPT), 0.2)
        return breaker.is_open

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("outcomes", "opens"),
    [
        ([BUSY] * 3, True),
        ([BUSY] * 2, False),
        ([BUSY, BUSY, GOOD, BUSY, BUSY], False),
        # A refusal is a sign of life, a limit too; an unreadable page says nothing.
        ([BUSY, BUSY, PermanentLLMError("no", 400), BUSY, BUSY], False),
        ([BUSY, BUSY, TransientLLMError("slow down", 429), BUSY, BUSY], False),
        ([TransientLLMError("a page", 200)] * 5, False),
        ([BUSY, TransientLLMError("a page", 200), BUSY, BUSY], True),
        ([TransientLLMError("no answer in time")] * 3, True),
    ],
)
def test_it_opens_after_failures_in_a_row_alone(scripted_endpoint, outcomes, opens):
    assert opened_by(outcomes, scripted_endpoint, first_pause_s=10.0) is opens


def test_failures_in_a_row_mean_nothing_shortly_after_a_success(scripted_endpoint):
    assert not opened_by([GOOD, *[BUSY] * 9], scripted_endpoint, quiet_s=5.0)


def test_one_call_at_a_time_probes_and_pauses_double():
    now_s = 0.0
    breaker = Breaker(1, quiet_s=0, first_pause_s=1, max_pause_s=4, clock=lambda: now_s)

    async def main():
        nonlocal now_s
        breaker.failed(BUSY)
        probes_s = []
        while len(probes_s) < 5:
            now_s += 0.5
            waiting = [asyncio.create_task(breaker.admit()) for _ in range(3)]
            await asyncio.sleep(0)
            admitted = [task for task in waiting if task.done()]
            assert len(admitted) <= 1
            for task in set(waiting) - set(admitted):
                task.cancel()
            if admitted:
                assert admitted[0].result() is True
                probes_s.append(now_s)
                breaker.failed(BUSY, probe=True)
        return probes_s

    assert asyncio.run(main()) == [1.0, 3.0, 7.0, 11.0, 15.0]


def test_a_probe_that_is_cancelled_leaves_its_place_to_the_next(scripted_endpoint):
    async def main():
        breaker = quick_breaker(n_failures=1, first_pause_s=0.01)
        breaker.failed(BUSY)
        slow = BreakingEndpoint(scripted_endpoint([GOOD], hold_s=10), breaker)
        probe = asyncio.create_task(slow.complete(PROMPT))
        await asyncio.sleep(0.05)
        probe.cancel()
        quick = BreakingEndpoint(scripted_endpoint([GOOD]), breaker)
        return await asyncio.wait_for(quick.complete(PROMPT), 1), breaker.is_open

    assert asyncio.run(main()) == (GOOD, False)


def test_a_count_of_zero_failures_is_refused():
    with pytest.raises(ValueError, match="n_failures"):
        Breaker(0)
