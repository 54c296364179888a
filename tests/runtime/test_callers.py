"""The one process of a node that makes calls: killed, drained, left alone, moved away from."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import contextmanager

import pytest

from rddg_ray.config import BudgetSettings, EmbeddedSettings, EndpointSettings, JournalSettings
from rddg_ray.errors import ConfigError, PermanentLLMError, StoreError
from rddg_ray.exchange import CallId, Prompt
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.llm.journal import read_replies, summarise
from rddg_ray.llm.spending import Amount

PROMPT = Prompt("Be brief.", "x,y\nA.\na,1\na,2\n\nAnalyse the relations.", "relations")
DEADLINE_S = 60.0

pytestmark = pytest.mark.ray


def call(number, chain="rddg/g0/0"):
    return CallId("people", chain, number, 0)


@pytest.fixture
def server():
    with serve_in_thread(EmbeddedSettings()) as running:
        yield running


@pytest.fixture
def slow_server():
    with serve_in_thread(EmbeddedSettings(latency_s=1.0)) as running:
        yield running


@pytest.fixture
def opened(tmp_path, on_ray):
    """Return a context from endpoint settings to a plan whose Limiter runs."""
    import ray

    from rddg_ray.runtime.finding import find_callers
    from rddg_ray.runtime.limits import start_limiter
    from rddg_ray.runtime.opening import CallPlan

    @contextmanager
    def open_plan(**settings):
        plan = CallPlan(EndpointSettings(**settings), tmp_path / "journal", "fingerprint", 1)
        limiter = start_limiter(plan)
        ray.get(limiter.is_there.remote())
        try:
            yield plan
        finally:
            for found in find_callers(plan.run):
                ray.kill(found.actor, no_restart=True)
            ray.kill(limiter)

    return open_plan


def endpoint_of(plan):
    from rddg_ray.runtime.remote import RemoteEndpoint

    return RemoteEndpoint(plan)


def only_caller(plan):
    from rddg_ray.runtime.finding import find_callers

    [found] = find_callers(plan.run)
    return found.actor


async def kill_process(plan):
    os.kill(await only_caller(plan).process_id.remote(), signal.SIGKILL)


async def until(is_so):
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.02)


def test_replies_outlive_the_process_that_fetched_them(opened, server):
    async def main(plan):
        endpoint = endpoint_of(plan)
        before = [await endpoint.complete(PROMPT, call(n)) for n in range(3)]
        await kill_process(plan)
        after = [await endpoint.complete(PROMPT, call(n)) for n in range(4)]
        return before, after

    with opened(base_url=server.base_url) as plan:
        before, after = asyncio.run(main(plan))
        assert after[:3] == before
        assert sorted(server.calls.values()) == [1, 1, 1, 1]
        assert len(list(plan.journal.glob("caller-*.sqlite"))) == 2


@pytest.mark.parametrize("policy", ["retry", "hold"])
def test_a_call_in_flight_in_a_killed_process_is_judged_by_the_policy(opened, slow_server, policy):
    async def main(plan):
        asking = asyncio.create_task(endpoint_of(plan).complete(PROMPT, call(0)))
        await until(lambda: slow_server.n_requests == 1)
        await kill_process(plan)
        return await asyncio.gather(asking, return_exceptions=True)

    settings = {"journal": JournalSettings(possibly_paid_twice=policy)}
    with opened(base_url=slow_server.base_url, **settings) as plan:
        [outcome] = asyncio.run(main(plan))
        summary = summarise(plan.journal)
    if policy == "retry":
        assert outcome.text
        assert list(slow_server.calls.values()) == [2]
        assert summary.possibly_paid_twice == 1
    else:
        assert isinstance(outcome, StoreError)
        assert list(slow_server.calls.values()) == [1]
        assert summary.n_unknown == 1


def test_all_who_ask_for_one_call_share_one_flight(opened, slow_server):
    async def main(plan):
        # As an actor that was given up but lives, and the one that took its chain on.
        first, second = endpoint_of(plan), endpoint_of(plan)
        asked = [e.complete(PROMPT, call(0)) for e in (first, second, first)]
        return await asyncio.gather(*asked)

    with opened(base_url=slow_server.base_url) as plan:
        replies = asyncio.run(main(plan))
    assert len({reply.text for reply in replies}) == 1
    assert list(slow_server.calls.values()) == [1]


def test_draining_records_what_is_in_flight_and_ends_the_process(opened, slow_server):
    from rddg_ray.runtime.finding import end_callers, find_callers

    async def main(plan):
        endpoint = endpoint_of(plan)
        asking = [asyncio.create_task(endpoint.complete(PROMPT, call(n))) for n in range(4)]
        await until(lambda: slow_server.n_requests == 4)
        await asyncio.to_thread(end_callers, find_callers(plan.run), DEADLINE_S)
        return await asyncio.gather(*asking)

    with opened(base_url=slow_server.base_url) as plan:
        replies = asyncio.run(main(plan))
        assert all(reply.text for reply in replies)
        on_record = read_replies(plan.journal, "people", "rddg/g0/0")
        assert on_record.keys() == {call(n).key("fingerprint") for n in range(4)}
        assert find_callers(plan.run) == []


def test_a_caller_whose_driver_is_gone_records_what_is_in_flight_and_ends(opened, slow_server):
    import ray

    from rddg_ray.runtime.finding import find_callers
    from rddg_ray.runtime.limits import find_limiter

    async def main(plan):
        asking = asyncio.create_task(endpoint_of(plan).complete(PROMPT, call(0)))
        await until(lambda: slow_server.n_requests == 1)
        # It ends with the driver, which is how the others learn of it.
        ray.kill(find_limiter(plan))
        await until(lambda: find_callers(plan.run) == [])
        asking.cancel()
        return await asyncio.gather(asking, return_exceptions=True)

    with opened(base_url=slow_server.base_url) as plan:
        asyncio.run(main(plan))
        [on_record] = read_replies(plan.journal, "people", "rddg/g0/0")
    assert on_record == call(0).key("fingerprint")


def test_calls_go_on_when_the_limiter_was_killed(opened, server):
    from rddg_ray.runtime.limits import find_limiter

    async def main(plan):
        endpoint = endpoint_of(plan)
        await endpoint.complete(PROMPT, call(0))
        os.kill(await find_limiter(plan).process_id.remote(), signal.SIGKILL)
        await asyncio.gather(*(endpoint.complete(PROMPT, call(n)) for n in range(1, 4)))
        return await find_limiter(plan).snapshots.remote()

    with opened(base_url=server.base_url) as plan:
        _, ledger = asyncio.run(main(plan))
    assert set(server.calls.values()) == {1}
    assert ledger.reserved == Amount()
    # Begun anew from the journal.
    assert ledger.spent.n_calls == 4


def test_a_chain_that_moved_is_refused_once_its_calls_have_landed(opened, slow_server):
    async def main(plan):
        endpoint = endpoint_of(plan)
        asking = asyncio.create_task(endpoint.complete(PROMPT, call(0)))
        await until(lambda: slow_server.n_requests == 1)
        moved = ("people", "rddg/g0/0")
        assert await only_caller(plan).give_up.remote(moved, DEADLINE_S)
        on_record = read_replies(plan.journal, *moved)
        await asking
        with pytest.raises(StoreError, match="goes on in another process"):
            await endpoint.complete(PROMPT, call(1))
        other = await endpoint.complete(PROMPT, call(1, chain="rddg/g0/1"))
        await endpoint.take_over(*moved)  # and back
        return on_record, other, await endpoint.complete(PROMPT, call(1))

    with opened(base_url=slow_server.base_url) as plan:
        on_record, other, back = asyncio.run(main(plan))
    assert on_record.keys() == {call(0).key("fingerprint")}
    assert other.text
    assert back.text
    assert set(slow_server.calls.values()) == {1}


def test_replies_on_record_when_a_chain_is_loaded_need_no_caller(opened, server):
    from rddg_ray.runtime.finding import end_callers, find_callers

    async def main(plan):
        first = endpoint_of(plan)
        reply = await first.complete(PROMPT, call(0))
        await asyncio.to_thread(end_callers, find_callers(plan.run), DEADLINE_S)
        second = endpoint_of(plan)
        assert second.load("people", "rddg/g0/0") == 1
        assert second.knows(call(0))
        assert not second.knows(call(1))
        assert await second.complete(PROMPT, call(0)) == reply
        assert find_callers(plan.run) == []
        with pytest.raises(StoreError, match="another prompt"):
            await second.complete(Prompt("", "other", "relations"), call(0))

    with opened(base_url=server.base_url) as plan:
        asyncio.run(main(plan))
    assert server.n_requests == 1


def test_what_is_wrong_with_the_settings_comes_back_as_their_error(opened):
    async def main(plan):
        return await asyncio.gather(
            *(endpoint_of(plan).complete(PROMPT, call(n)) for n in range(2)),
            return_exceptions=True,
        )

    settings = {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
    with opened(**settings, api_key_env="RDDG_NO_SUCH_KEY") as plan:
        errors = asyncio.run(main(plan))
        assert [type(error) for error in errors] == [ConfigError] * 2
        assert "RDDG_NO_SUCH_KEY" in str(errors[0])
        # The actor lives on: its constructor has not failed.
        assert asyncio.run(_process_id(plan)) > 0


async def _process_id(plan):
    return await only_caller(plan).process_id.remote()


def test_a_refusal_comes_back_with_its_status_and_nothing_of_the_request(opened):
    async def main(plan):
        await endpoint_of(plan).complete(PROMPT, call(0))

    with (
        serve_in_thread(EmbeddedSettings(), api_key="wanted") as server,
        opened(base_url=server.base_url) as plan,
        pytest.raises(PermanentLLMError) as caught,
    ):
        asyncio.run(main(plan))
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_an_embedded_endpoint_without_an_address_runs_in_the_caller(opened):
    async def main(plan):
        return await endpoint_of(plan).complete(PROMPT, call(0))

    with opened() as plan:
        assert asyncio.run(main(plan)).model == "embedded-sampler"


def test_what_a_replaced_or_lost_process_had_reserved_counts_as_spent(opened):
    from rddg_ray.runtime.limits import find_limiter

    amount = Amount(1, 100, 0.0)

    async def main(plan):
        limiter = find_limiter(plan)
        for place, owner in (("one", "a"), ("two", "b")):
            await limiter.enter.remote(place, owner)
            assert await limiter.reserve.remote(amount, owner)
        await limiter.enter.remote("one", "c")
        await limiter.lost.remote(["two", "never heard of"])
        # Word of a process that was given up comes too late: its reservation is gone.
        await limiter.settle.remote(amount, Amount(1, 60, 0.0), "b")
        return await limiter.snapshots.remote()

    with opened(budget=BudgetSettings(max_calls=10)) as plan:
        _, ledger = asyncio.run(main(plan))
    assert ledger.reserved == Amount()
    assert ledger.spent == Amount(3, 260, 0.0)
