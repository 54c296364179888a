"""The one process of a node that makes calls: killed, drained, left alone, moved away from."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import time
from contextlib import contextmanager

import pytest

from rddg_ray.config import (
    BudgetSettings,
    EmbeddedSettings,
    EndpointSettings,
    JournalSettings,
    LimitSettings,
)
from rddg_ray.errors import (
    BudgetError,
    ConfigError,
    PermanentLLMError,
    StoreError,
    TransientLLMError,
)
from rddg_ray.exchange import CallId, Completion, Prompt, Usage
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.llm.journal import read_replies, summarise
from rddg_ray.llm.spending import Amount
from rddg_ray.runtime.callers import told_safely, until_gone
from rddg_ray.runtime.finding import check_callers
from rddg_ray.runtime.leaving import CallLeftError
from rddg_ray.runtime.opening import CallPlan

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
        assert isinstance(outcome, PermanentLLMError)
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


def test_calls_that_wait_are_left_unpaid_and_asked_once_by_the_next_start(opened, slow_server):
    from rddg_ray.runtime.finding import end_callers, find_callers

    limits = LimitSettings(requests_per_minute=1)

    async def main(plan):
        endpoint, other = endpoint_of(plan), endpoint_of(plan)
        asked = [asyncio.create_task(endpoint.complete(PROMPT, call(n))) for n in range(3)]
        await until(lambda: slow_server.n_requests == 1)
        stays = asyncio.create_task(other.complete(PROMPT, call(0, chain="rddg/g0/1")))
        # Again and again, as a driver does: those in flight land nevertheless.
        for _ in range(3):
            await endpoint.leave([("people", "rddg/g0/0")])
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        with pytest.raises(CallLeftError):
            await endpoint.complete(PROMPT, call(3))
        with pytest.raises(TimeoutError):  # its chain is none of those that stop
            await asyncio.wait_for(asyncio.shield(stays), 0.2)
        stays.cancel()
        await asyncio.to_thread(end_callers, find_callers(plan.run), DEADLINE_S)
        return outcomes

    with opened(base_url=slow_server.base_url, limits=limits) as plan:
        outcomes = asyncio.run(main(plan))
        found = summarise(plan.journal)
    left = [isinstance(outcome, CallLeftError) for outcome in outcomes]
    assert left.count(True) == 2
    assert outcomes[left.index(False)].text
    assert (slow_server.n_requests, found.n_attempts, found.n_unknown) == (1, 1, 0)
    with opened(base_url=slow_server.base_url) as plan:

        async def resumed():
            endpoint = endpoint_of(plan)
            endpoint.load("people", "rddg/g0/0")
            return [await endpoint.complete(PROMPT, call(n)) for n in range(3)]

        assert all(reply.text for reply in asyncio.run(resumed()))
    assert list(slow_server.calls.values()) == [1, 1, 1]


def test_a_run_that_is_to_stop_asks_no_new_process_for_what_a_lost_one_had(opened, slow_server):
    async def main(plan):
        endpoint = endpoint_of(plan)
        asking = asyncio.create_task(endpoint.complete(PROMPT, call(0)))
        await until(lambda: slow_server.n_requests == 1)
        await endpoint.leave([("people", "rddg/g0/0")])
        await kill_process(plan)
        return await asyncio.gather(asking, return_exceptions=True)

    with opened(base_url=slow_server.base_url) as plan:
        [outcome] = asyncio.run(main(plan))
    assert isinstance(outcome, CallLeftError)
    assert list(slow_server.calls.values()) == [1]


def test_every_node_that_gets_chains_is_asked_what_is_wrong_with_the_settings(tmp_path, on_ray):
    import ray

    executor = on_ray()
    plain = {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}

    def plan(**settings):
        settings = EndpointSettings(**plain, **settings)
        return CallPlan(settings, tmp_path / "journal", "fingerprint", 1)

    executor.check_endpoint(plan())
    with pytest.raises(ConfigError, match="RDDG_NO_SUCH_KEY"):
        executor.check_endpoint(plan(api_key_env="RDDG_NO_SUCH_KEY"))
    wrong = check_callers(plan(api_key_env="RDDG_NO_SUCH_KEY"), DEADLINE_S)
    with_cpu = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU")]
    assert list(wrong) == [node["NodeManagerAddress"] for node in with_cpu]
    # It took no journal and no Limiter, and nothing is left of it.
    assert not (tmp_path / "journal").exists()
    assert executor.callers == []


@pytest.mark.parametrize("error", [RuntimeError("odd"), OSError("odd"), ValueError("odd")])
def test_a_watch_is_not_ended_by_what_goes_wrong_with_looking(error):
    answers = [error, None, TransientLLMError("gone"), error, None, *[TransientLLMError()] * 2]
    asked = iter(answers)

    async def ask():
        answer = next(asked)
        if answer is not None:
            raise answer

    asyncio.run(until_gone(ask, every_s=0.0))
    assert list(asked) == []


def test_a_watch_that_never_learns_anything_ends():
    n_looks = 0

    async def ask():
        nonlocal n_looks
        n_looks += 1
        raise OSError("the cluster's head is gone")

    asyncio.run(until_gone(ask, every_s=0.0))
    assert n_looks == 60


@pytest.mark.parametrize("form", ["plain", "bearer", "base64"])
def test_an_error_that_nobody_foresaw_is_told_without_the_key(tmp_path, form):
    key = "a-key-like-no-other-27"
    (tmp_path / "key").write_text(key, encoding="utf-8")
    settings = EndpointSettings(
        kind="openai", model="m", base_url="http://127.0.0.1:9/v1", api_key_file=tmp_path / "key"
    )
    coded = base64.b64encode(f"user:{key}".encode()).decode()
    shown = {"plain": key, "bearer": f"Bearer {key}", "base64": f"Basic {coded}"}[form]
    try:
        raise ZeroDivisionError(f"header {shown} in the way")
    except ZeroDivisionError as error:
        told = str(told_safely(error, settings))
    assert "ZeroDivisionError in the Caller: header" in told
    assert "in the way" in told
    assert __file__ in told
    assert key not in told
    assert coded not in told


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


def process(name, node, started_s=0.0):
    from rddg_ray.runtime.limits import CallingProcess

    return CallingProcess(name, node, started_s)


def test_what_a_replaced_or_lost_process_had_reserved_counts_as_spent(opened):
    from rddg_ray.runtime.limits import find_limiter

    amount = Amount(1, 100, 0.0)

    async def main(plan):
        limiter = find_limiter(plan)
        for node, name in (("one", "a"), ("two", "b")):
            assert await limiter.reserve.remote(amount, process(name, node))
            assert (await limiter.pace.remote([10, 10], process(name, node), 0))[0] == [0.0, 0.0]
        assert await limiter.enter.remote(process("c", "one", 1.0))
        await limiter.lost.remote(["two", "never heard of"])
        # Word of a process that was given up comes too late: its reservation is gone.
        await limiter.settle.remote(amount, Amount(1, 60, 0.0), "b")
        # The one that was replaced but lives gets nothing any more.
        assert not await limiter.reserve.remote(amount, process("a", "one"))
        assert (await limiter.pace.remote([10], process("a", "one"), 0))[0] == []
        return await limiter.snapshots.remote()

    with opened(budget=BudgetSettings(max_calls=10)) as plan:
        pacer, ledger = asyncio.run(main(plan))
    assert ledger.reserved == Amount()
    assert ledger.spent == Amount(3, 260, 0.0)
    assert pacer.in_flight == 0


async def kill_limiter(plan):
    """SIGKILL the process that keeps the limits, and wait for the one that follows it."""
    import ray

    from rddg_ray.runtime.limits import find_limiter

    limiter = find_limiter(plan)
    killed = await limiter.process_id.remote()
    os.kill(killed, signal.SIGKILL)
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        assert time.monotonic() < deadline_s
        with contextlib.suppress(ray.exceptions.RayActorError):
            if await limiter.process_id.remote() != killed:
                return limiter
        await asyncio.sleep(0.05)


def test_a_limiter_that_was_restarted_knows_whom_it_gave_money_and_turns(opened):
    amount = Amount(1, 100, 0.0)

    async def main(plan):
        limiter = await kill_limiter(plan)
        # Nobody enters: they did so at the one that is gone.
        for name, node in (("a", "one"), ("b", "two")):
            assert await limiter.reserve.remote(amount, process(name, node))
            await limiter.pace.remote([10], process(name, node), 0)
        await limiter.lost.remote(["one"])
        await limiter.enter.remote(process("c", "two", 1.0))
        return await limiter.snapshots.remote()

    with opened(budget=BudgetSettings(max_calls=10)) as plan:
        pacer, ledger = asyncio.run(main(plan))
    assert ledger.reserved == Amount()
    assert ledger.spent.n_calls == 2
    assert pacer.in_flight == 0


@pytest.mark.slow
def test_a_cap_holds_and_ends_the_run_though_limiter_and_caller_are_killed(opened, slow_server):
    async def main(plan):
        endpoint = endpoint_of(plan)
        await endpoint.complete(PROMPT, call(0))
        limiter = await kill_limiter(plan)
        asking = asyncio.create_task(endpoint.complete(PROMPT, call(1)))
        await until(lambda: slow_server.n_requests == 2)
        await kill_process(plan)
        # It may have been paid for, so it counts, and so does the attempt that follows it.
        await asking
        await endpoint.complete(PROMPT, call(2))
        # Were the killed one's reservation still held, this would wait for it for ever.
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(BudgetError, match="max_calls: 4 calls do not suffice"):
                await endpoint.complete(PROMPT, call(3))
        return (await limiter.snapshots.remote())[1]

    with opened(base_url=slow_server.base_url, budget=BudgetSettings(max_calls=4)) as plan:
        ledger = asyncio.run(main(plan))
    assert (ledger.spent.n_calls, ledger.reserved) == (4, Amount())
    assert sum(slow_server.calls.values()) == 4


@pytest.mark.slow
def test_a_caller_that_nobody_asks_any_more_tells_that_its_former_process_is_gone(
    opened, slow_server
):
    from rddg_ray.runtime.limits import find_limiter

    async def main(plan):
        endpoint = endpoint_of(plan)
        asking = asyncio.create_task(endpoint.complete(PROMPT, call(0)))
        await until(lambda: slow_server.n_requests == 1)
        # The chain goes on elsewhere, or nowhere: nobody asks this node's Caller again.
        asking.cancel()
        await kill_process(plan)
        limiter, deadline_s = find_limiter(plan), time.monotonic() + DEADLINE_S
        while True:
            pacer, ledger = await limiter.snapshots.remote()
            if ledger.reserved == Amount() and pacer.in_flight == 0:
                return ledger
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.1)

    with opened(base_url=slow_server.base_url, budget=BudgetSettings(max_calls=4)) as plan:
        assert asyncio.run(main(plan)).spent.n_calls == 1


def test_max_concurrency_is_the_bound_of_all_callers_together(opened):
    from rddg_ray.llm.limiter import LimitedEndpoint
    from rddg_ray.runtime.limits import RemotePacer, find_limiter

    class Counting:
        """Notes how many calls of all who use it fly at once."""

        n_calls = n_now = most_at_once = 0

        async def complete(self, prompt, call=None):
            self.n_calls += 1
            self.n_now += 1
            self.most_at_once = max(self.most_at_once, self.n_now)
            await asyncio.sleep(0.005)
            self.n_now -= 1
            return Completion("rows", "m", Usage(1, 1, 1))

        async def aclose(self):
            pass

    async def main(plan):
        inner, limiter = Counting(), find_limiter(plan)
        async with contextlib.AsyncExitStack() as stack:
            endpoints = []
            for node in ("one", "two", "three", "four"):
                pacer = RemotePacer(limiter, plan.settings, process(f"of {node}", node))
                endpoint = LimitedEndpoint(
                    inner, pacer, max_concurrency=plan.settings.max_concurrency
                )
                endpoints.append(await stack.enter_async_context(contextlib.aclosing(endpoint)))
            await asyncio.gather(*(e.complete(PROMPT) for e in endpoints for _ in range(5)))
        return inner, (await limiter.snapshots.remote())[0]

    with opened(base_url="http://127.0.0.1:9/v1", max_concurrency=2) as plan:
        inner, pacer = asyncio.run(main(plan))
    assert (inner.n_calls, inner.most_at_once) == (20, 2)
    assert pacer.in_flight == 0
