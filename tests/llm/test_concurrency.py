"""The bound on calls in flight, and that calls which wait count for nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from rddg_ray.config import BudgetSettings, EndpointSettings, LimitSettings
from rddg_ray.errors import BudgetError, TransientLLMError
from rddg_ray.exchange import CallId, Completion, Prompt, Usage
from rddg_ray.llm import (
    Breaker,
    BreakingEndpoint,
    BudgetedEndpoint,
    Journal,
    LimitedEndpoint,
    LocalLedger,
    LocalPacer,
    stacked,
)
from rddg_ray.llm.concurrency import Flights, Slots

PROMPT = Prompt("", "hi", "generation", max_completion_tokens=10)
DONE = Completion("rows", "m", Usage(1, 1, 1))


def pacer(requests_per_minute: int = 600_000) -> LocalPacer:
    return LocalPacer(LimitSettings(requests_per_minute=requests_per_minute, tolerance_s=0.0))


def call(number: int, round_: int = 0) -> CallId:
    return CallId("t", str(number), round_, 0)


async def until(fact) -> None:
    async with asyncio.timeout(30):
        while not fact():
            await asyncio.sleep(0.002)


class Held:
    """Keeps every call until it is let go; notes their rounds."""

    def __init__(self) -> None:
        self.rounds: list[int] = []
        self.n_now = 0
        self.go = asyncio.Event()

    async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
        self.rounds.append(0 if call is None else call.round)
        self.n_now += 1
        try:
            await self.go.wait()
        finally:
            self.n_now -= 1
        return DONE

    async def aclose(self) -> None:
        pass


class Noting(LocalPacer):
    """A pacer that notes how many turns it was asked for and gave."""

    def __init__(self, settings: LimitSettings) -> None:
        super().__init__(settings)
        self.asked: list[int] = []
        self.n_given = 0

    async def reserve(self, estimates: Sequence[int]) -> list[float]:
        self.asked.append(len(estimates))
        delays = await super().reserve(estimates)
        self.n_given += len(delays)
        return delays


def test_no_more_calls_than_allowed_are_in_flight(scripted_endpoint):
    inner = scripted_endpoint([DONE], hold_s=0.005)

    async def calls():
        endpoint = LimitedEndpoint(inner, pacer(), max_concurrency=3)
        async with contextlib.aclosing(endpoint):
            await asyncio.gather(*(endpoint.complete(PROMPT) for _ in range(12)))

    asyncio.run(calls())
    assert inner.n_calls == 12
    assert inner.most_at_once == 3


def test_a_failed_call_gives_its_place_back(scripted_endpoint):
    inner = scripted_endpoint([TransientLLMError("busy", 503), DONE])

    async def calls():
        endpoint = LimitedEndpoint(inner, pacer(), max_concurrency=1)
        async with contextlib.aclosing(endpoint):
            with pytest.raises(TransientLLMError):
                await endpoint.complete(PROMPT)
            return await endpoint.complete(PROMPT)

    assert asyncio.run(calls()).text == "rows"


def test_a_refused_call_gives_its_place_to_those_who_wait(scripted_endpoint):
    inner = scripted_endpoint([TransientLLMError("too many", 429, 0.01), DONE])

    async def calls():
        endpoint = LimitedEndpoint(inner, pacer(), max_concurrency=1)
        async with contextlib.aclosing(endpoint):
            return await asyncio.gather(*(endpoint.complete(PROMPT) for _ in range(3)))

    assert asyncio.run(calls()) == [DONE] * 3
    assert inner.most_at_once == 1


def test_cancelled_calls_give_their_places_back():
    async def calls():
        inner = Held()
        endpoint = LimitedEndpoint(inner, pacer(), max_concurrency=2)
        async with contextlib.aclosing(endpoint):
            tasks = [asyncio.create_task(endpoint.complete(PROMPT)) for _ in range(5)]
            await until(lambda: inner.n_now == 2)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            inner.go.set()
            return await asyncio.gather(*(endpoint.complete(PROMPT) for _ in range(4)))

    assert asyncio.run(calls()) == [DONE] * 4


def test_no_turn_is_asked_for_without_a_place_for_it():
    async def calls():
        inner, limits = Held(), Noting(LimitSettings(requests_per_minute=600_000))
        endpoint = LimitedEndpoint(inner, limits, max_concurrency=4)
        async with contextlib.aclosing(endpoint):
            tasks = [asyncio.create_task(endpoint.complete(PROMPT)) for _ in range(50)]
            await until(lambda: inner.n_now == 4)
            await asyncio.sleep(0.1)
            before = limits.n_given, max(limits.asked)
            inner.go.set()
            await asyncio.gather(*tasks)
        return before, max(limits.asked)

    (n_given, most_asked), most_asked_ever = asyncio.run(calls())
    assert (n_given, most_asked) == (4, 4)
    assert most_asked_ever <= 4


def test_calls_that_wait_for_a_low_limit_reserve_no_turns_far_ahead():
    async def calls():
        inner, limits = Held(), Noting(LimitSettings(requests_per_minute=60, tolerance_s=0.0))
        endpoint = LimitedEndpoint(inner, limits, max_concurrency=256)
        async with contextlib.aclosing(endpoint):
            tasks = [asyncio.create_task(endpoint.complete(PROMPT)) for _ in range(3_000)]
            await until(lambda: inner.n_now == 1)
            in_flight, n_given = limits.snapshot().in_flight, limits.n_given
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return in_flight, n_given

    # A second lies between two turns, and turns are given 0.3 s ahead.
    assert asyncio.run(calls()) == (1, 1)


def test_hundreds_that_wait_for_a_low_limit_ask_seldom_and_for_few():
    limits = Noting(LimitSettings(requests_per_minute=60, pace=1.0, tolerance_s=0.0))

    async def calls():
        inner = Held()
        endpoint = LimitedEndpoint(inner, limits)
        async with contextlib.aclosing(endpoint):
            tasks = [asyncio.create_task(endpoint.complete(PROMPT)) for _ in range(400)]
            await until(lambda: limits.n_given == 3)
            asked = limits.asked.copy()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return asked

    first, *others = asyncio.run(calls())
    assert first == 400
    # The next turn can be had after 0.7 s, and none asks again before half a second or that
    # time: at most three times for each turn, and for twice what was given last and 16.
    assert len(others) <= 2 * 3
    assert max(others) <= 2 * 1 + 16


def test_of_those_without_a_place_fewest_rounds_done_go_first():
    async def calls():
        inner = Held()
        endpoint = LimitedEndpoint(inner, pacer(), max_concurrency=1)
        async with contextlib.aclosing(endpoint):
            first = asyncio.create_task(endpoint.complete(PROMPT, call(0, 9)))
            await until(lambda: inner.n_now == 1)
            others = [
                asyncio.create_task(endpoint.complete(PROMPT, call(i, round_)))
                for i, round_ in enumerate([3, 1, 2, 0])
            ]
            await asyncio.sleep(0.05)
            inner.go.set()
            await asyncio.gather(first, *others)
        return inner.rounds

    assert asyncio.run(calls()) == [9, 0, 1, 2, 3]


def test_a_run_is_not_held_back_by_calls_that_wait_for_the_limit(tmp_path):
    # 20 chains wait at a limit that lets two fly; the ledger holds money for those two alone.
    budget = BudgetSettings(max_calls=100)

    async def calls():
        inner, ledger = Held(), LocalLedger(budget)
        limits = LocalPacer(LimitSettings(requests_per_minute=1, tolerance_s=90.0, pace=1.0))
        journal = Journal(tmp_path, "w", "f")
        endpoint = stacked(inner, EndpointSettings(budget=budget), journal, ledger, pacer=limits)
        tasks = [asyncio.create_task(endpoint.complete(PROMPT, call(i))) for i in range(20)]
        await until(lambda: inner.n_now == 2)
        reserved = ledger.snapshot().reserved.n_calls
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await endpoint.aclose()
        return reserved

    assert asyncio.run(calls()) == 2


def test_a_call_that_the_budget_stops_gives_its_turn_back(scripted_endpoint):
    limits = pacer(60)

    async def calls():
        budgeted = BudgetedEndpoint(
            scripted_endpoint([DONE]), LocalLedger(BudgetSettings(max_tokens=1))
        )
        endpoint = LimitedEndpoint(budgeted, limits)
        async with contextlib.aclosing(endpoint):
            with pytest.raises(BudgetError):
                await endpoint.complete(PROMPT)
        return await limits.reserve([1])

    assert asyncio.run(calls()) == pytest.approx([0.0], abs=0.05)
    assert limits.snapshot().requests_per_minute == 0


def test_calls_that_wait_for_a_turn_go_back_when_the_endpoint_is_down():
    class Down:
        """Fails until it is told that it is up."""

        n_calls, is_up = 0, False

        async def complete(self, prompt: Prompt, call: CallId | None = None) -> Completion:
            self.n_calls += 1
            if not self.is_up:
                raise TransientLLMError("no answer", reached=False)
            return DONE

        async def aclose(self) -> None:
            pass

    async def calls():
        inner = Down()
        breaker = Breaker(3, quiet_s=0.0, first_pause_s=0.2, max_pause_s=0.2)
        endpoint = BreakingEndpoint(
            LimitedEndpoint(inner, pacer(3_000), is_down=lambda: breaker.is_open), breaker
        )
        async with contextlib.aclosing(endpoint):
            tasks = [asyncio.create_task(endpoint.complete(PROMPT)) for _ in range(200)]
            # All wait at the breaker in the end: two failed for good before it opened.
            await until(lambda: breaker.snapshot().n_waiting >= 197)
            n_sent, error = inner.n_calls, breaker.snapshot().last_error
            inner.is_up = True
            results = await asyncio.gather(*tasks, return_exceptions=True)
        return n_sent, error, results

    n_sent, error, results = asyncio.run(calls())
    # Turns 20 ms apart are given up to 0.3 s ahead, and a probe flies each 0.2 s.
    assert n_sent < 100
    assert error == "no answer"
    assert sum(result == DONE for result in results) == 198


@pytest.mark.parametrize("n_slots", [0, -1])
def test_a_bound_below_one_is_refused(n_slots):
    for bounded in (Slots, Flights):
        with pytest.raises(ValueError, match="max_concurrency"):
            bounded(n_slots)
    with pytest.raises(ValueError, match="max_concurrency"):
        LimitedEndpoint(Held(), pacer(), max_concurrency=n_slots)


def taken(flights: Flights, owner: str, n_wanted: int, now_s: float) -> int:
    """Take as many of the places wanted as there are; return how many."""
    n_free = flights.n_free(now_s, n_wanted, owner)
    flights.start(now_s, n_free, owner)
    return n_free


def test_one_place_goes_round_among_those_who_wait():
    flights, served = Flights(1), []
    assert taken(flights, "a", 1, 0.0) == 1
    holder = "a"
    for step in range(1, 13):
        # Whose call has ended asks first, as it alone hears of that.
        now_s = step * 0.01
        flights.end(holder)
        others = [owner for owner in "abc" if owner != holder]
        holder = next(o for o in [holder, *others, holder] if taken(flights, o, 1, now_s))
        for owner in others:
            assert holder == owner or taken(flights, owner, 1, now_s) == 0
        served.append(holder)
    assert {owner: served.count(owner) for owner in "abc"} == {"a": 4, "b": 4, "c": 4}


def test_who_came_first_shares_with_who_comes_later():
    flights = Flights(10)
    assert taken(flights, "first", 50, 0.0) == 10
    assert taken(flights, "later", 50, 0.01) == 0
    n_first, n_later = 10, 0
    for step in range(2, 12):
        now_s = step * 0.01
        flights.end("first" if n_first >= n_later else "later")
        n_first, n_later = (n_first - 1, n_later) if n_first >= n_later else (n_first, n_later - 1)
        n_first += taken(flights, "first", 50, now_s)
        n_later += taken(flights, "later", 50, now_s)
        assert n_first + n_later == len(flights) == 10
    assert (n_first, n_later) in ((5, 5), (6, 4), (4, 6))


def test_a_place_is_not_kept_for_who_wants_none_any_more():
    flights = Flights(2)
    assert taken(flights, "a", 5, 0.0) == 2
    assert taken(flights, "b", 5, 0.1) == 0
    flights.end("a")
    assert taken(flights, "a", 5, 0.2) == 0  # it is b's turn
    assert taken(flights, "a", 5, 0.4) == 1  # b has not asked for 0.3 s


def test_an_end_that_belongs_to_nobody_frees_no_place():
    flights = Flights(2)
    assert taken(flights, "a", 2, 0.0) == 2
    flights.end("unheard of")
    assert len(flights) == 2
    flights.drop("a")
    assert (len(flights), flights.oldest_s()) == (0, None)
    flights.end("a")
    assert taken(flights, "b", 5, 0.1) == 2
