"""The pacer: limits from settings and headers, refusals, what comes back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from rddg_ray.config import EndpointSettings, LimitSettings
from rddg_ray.exchange import RateHeaders
from rddg_ray.llm.limiter import LocalPacer

ALL = 1e9


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def pacer(clock: Clock, horizon_s: float = ALL, **limits) -> LocalPacer:
    return LocalPacer(LimitSettings(**limits), horizon_s=horizon_s, clock=clock)


def run(*steps):
    async def all_steps():
        return [await step for step in steps]

    return asyncio.run(all_steps())


def test_calls_are_paced_at_the_set_share_of_the_limit():
    paced = pacer(Clock(), requests_per_minute=600, pace=0.5, tolerance_s=0.0)
    (delays,) = run(paced.reserve([10] * 4))
    assert delays == pytest.approx([0, 0.2, 0.4, 0.6])


def test_a_limit_is_learned_from_headers_and_the_smaller_one_counts():
    paced = pacer(Clock(), requests_per_minute=600, tolerance_s=0.0, pace=1.0)
    told = RateHeaders(limit_requests=60, limit_tokens=6_000)
    run(paced.reserve([1]), paced.settle(1, 1, told))
    snapshot = paced.snapshot()
    assert (snapshot.limit_requests, snapshot.limit_tokens) == (60, 6_000)
    run(paced.settle(1, 1, RateHeaders(limit_requests=9_999)))
    assert paced.snapshot().limit_requests == 600
    assert paced.snapshot().limit_tokens == 6_000


def test_a_quota_of_a_day_is_no_pace():
    paced = pacer(Clock())
    told = RateHeaders(limit_requests=14_400, remaining_requests=14_370, reset_requests_s=179.56)
    run(paced.reserve([1]), paced.settle(1, 1, told))
    assert paced.snapshot().limit_requests is None


def test_where_little_is_left_no_burst_is_allowed():
    told = RateHeaders(limit_requests=600, remaining_requests=1)
    paced = pacer(Clock(), requests_per_minute=600, pace=1.0)
    run(paced.reserve([1]), paced.settle(1, 1, told))
    (delays,) = run(paced.reserve([1] * 3))
    assert delays == pytest.approx([0, 0.1, 0.2])


def test_under_actual_accounting_unused_tokens_come_back_and_under_reserve_they_do_not():
    for accounting, delay_s in (("actual", 0.4), ("reserve", 1.0), ("auto", 1.0)):
        paced = pacer(
            Clock(), tokens_per_minute=60_000, pace=1.0, tolerance_s=0.0, tpm_accounting=accounting
        )
        *_, delays = run(paced.reserve([1_000]), paced.settle(1_000, 400, None), paced.reserve([1]))
        assert delays == pytest.approx([delay_s]), accounting


@pytest.mark.parametrize("accounting", ["actual", "reserve"])
def test_a_reply_longer_than_reserved_counts_in_full(accounting):
    paced = pacer(
        Clock(), tokens_per_minute=60_000, pace=1.0, tolerance_s=0.0, tpm_accounting=accounting
    )
    *_, delays = run(paced.reserve([1_000]), paced.settle(1_000, 3_000, None), paced.reserve([1]))
    assert delays == pytest.approx([3.0])


def test_a_turn_that_nobody_took_comes_back_whole():
    paced = pacer(Clock(), requests_per_minute=60, tokens_per_minute=60, tolerance_s=0.0)
    *_, delays = run(paced.reserve([60]), paced.settle(60, 0, None), paced.reserve([1]))
    assert delays == pytest.approx([0.0])
    assert paced.snapshot().requests_per_minute == 0


def test_a_burst_of_refusals_shifts_everything_once():
    clock = Clock()
    paced = pacer(clock, requests_per_minute=6_000, pace=1.0, tolerance_s=0.0)
    run(paced.reserve([1] * 10))
    clock.now_s += 1.0
    run(*(paced.refused(5.0, None, 1) for _ in range(10)))
    (delays,) = run(paced.reserve([1] * 2))
    assert delays == pytest.approx([5.0, 5.01])
    snapshot = paced.snapshot()
    assert (snapshot.n_refused, snapshot.n_bursts, snapshot.in_flight) == (10, 1, 2)


def test_without_a_limit_the_window_bounds_what_is_in_flight():
    paced = pacer(Clock())
    (first,) = run(paced.reserve([1] * 100))
    size = paced.snapshot().window
    assert first == [0.0] * size
    more, after = run(paced.reserve([1] * 5), paced.settle(1, 1, None))
    assert (more, after) == ([], None)
    (grown,) = run(paced.reserve([1] * 100))
    assert len(grown) == 2
    run(paced.refused(None, None, 1))
    assert paced.snapshot().window == (size + 1) // 2


def test_a_learned_limit_ends_the_window_and_counts_what_was_sent_without_it():
    paced = pacer(Clock(), pace=1.0)
    run(paced.reserve([1] * 8), paced.settle(1, 1, RateHeaders(limit_requests=600)))
    assert paced.snapshot().window is None
    (delays,) = run(paced.reserve([1] * 3))
    assert delays == pytest.approx([0.8, 0.9, 1.0])


def test_what_was_sent_without_a_limit_counts_from_when_it_was_sent():
    clock = Clock()
    paced = pacer(clock, pace=1.0)
    run(paced.reserve([1] * 8))
    clock.now_s += 1.0
    run(paced.settle(1, 1, RateHeaders(limit_requests=600)))
    # Eight calls at ten a second end 0.8 s after the first one: the pace is kept from there, and
    # what a pause of 0.2 s leaves may be caught up.
    (delays,) = run(paced.reserve([1] * 4))
    assert delays == pytest.approx([0.0, 0.0, 0.0, 0.1])


def test_tokens_sent_without_a_limit_count_from_when_it_is_learned():
    clock = Clock()
    paced = pacer(clock, pace=1.0)
    run(paced.reserve([100] * 8))
    clock.now_s += 1.0
    run(paced.settle(100, 100, RateHeaders(limit_tokens=60_000)))
    (delays,) = run(paced.reserve([100] * 3))
    assert delays == pytest.approx([0.8, 0.9, 1.0])


def test_a_server_of_ones_own_is_not_felt_out_and_a_public_one_is():
    own = EndpointSettings(
        kind="openai", base_url="http://10.0.0.7:8000/v1", model="m", max_concurrency=1_000
    )
    public = EndpointSettings(kind="openai", base_url="https://api.openai.com/v1", model="m")
    for settings, n_at_first in ((own, 300), (public, 8)):
        (delays,) = run(LocalPacer.of(settings).reserve([1] * 300))
        assert delays == [0.0] * n_at_first


def test_turns_are_given_up_to_the_horizon_and_in_time_again():
    clock = Clock()
    paced = pacer(clock, 0.3, requests_per_minute=600, pace=1.0, tolerance_s=0.0)
    (delays,) = run(paced.reserve([1] * 50))
    assert delays == pytest.approx([0, 0.1, 0.2, 0.3])
    clock.now_s += 0.3
    (delays,) = run(paced.reserve([1] * 50))
    assert delays == pytest.approx([0.1, 0.2, 0.3])


def test_what_was_used_is_counted_for_a_minute():
    clock = Clock()
    paced = pacer(clock)
    run(paced.reserve([5, 5]), paced.settle(5, 7, None))
    clock.now_s += 59.0
    run(paced.settle(5, 3, None))
    snapshot = paced.snapshot()
    assert (snapshot.requests_per_minute, snapshot.tokens_per_minute) == (2, 10)
    clock.now_s += 2.0
    snapshot = paced.snapshot()
    assert (snapshot.requests_per_minute, snapshot.tokens_per_minute) == (1, 3)


def test_calls_whose_process_died_do_not_hold_their_places_for_ever():
    clock = Clock()
    paced = pacer(clock)
    (first,) = run(paced.reserve([1] * 8))
    assert run(paced.reserve([1])) == [[]]
    clock.now_s += 901.0
    (again,) = run(paced.reserve([1] * 8))
    assert again == first == [0.0] * 8


def test_the_calls_of_a_process_that_is_gone_hold_no_place_of_the_window():
    paced = pacer(Clock())
    (first,) = run(paced.reserve([1] * 8, "dead"))
    # A refusal ends the phase in which waiting opens the window: now 4, or what is left of it.
    run(paced.refused(0.001, None, 1, "dead"), paced.reserve([1], "alive"))
    assert len(first) == 8
    assert paced.snapshot().in_flight == 7
    paced.drop("dead")
    assert paced.snapshot().in_flight == 0
    (again,) = run(paced.reserve([1] * 8, "alive"))
    assert len(again) == paced.snapshot().window == 4


def test_max_concurrency_bounds_the_calls_of_all_processes_together():
    paced = LocalPacer(max_concurrency=3, first_window=100, clock=Clock())
    given = run(*(paced.reserve([1] * 2, owner) for owner in "abc"))
    assert [len(delays) for delays in given] == [2, 1, 0]
    *_, delays = run(paced.settle(1, 1, None, "a"), paced.reserve([1] * 2, "c"))
    assert len(delays) == 1
    assert paced.snapshot().in_flight == 3


def test_reports_of_calls_from_before_a_restart_do_not_loosen_the_bound():
    # Three calls were given their turns by a pacer that is gone; this one hears of it.
    paced = LocalPacer(max_concurrency=4, first_window=100, clock=Clock())
    (delays,) = run(paced.reserve([1] * 4, "a", 3))
    assert len(delays) == 1
    # One of the old ends: three are left, whichever it was.
    *_, delays = run(paced.settle(1, 1, None, "a"), paced.reserve([1] * 4, "a", 3))
    assert len(delays) == 1
    assert paced.snapshot().in_flight == 4
    # Reports that were lost: the process has none left.
    (delays,) = run(paced.reserve([1] * 9, "a", 0))
    assert len(delays) == 4


def test_a_bound_of_the_settings_is_the_pacer_s():
    settings = EndpointSettings(max_concurrency=5)
    (delays,) = run(LocalPacer.of(settings).reserve([1] * 100))
    assert len(delays) == 5


def test_the_pacer_says_when_it_has_another_turn_and_that_it_is_the_pace_that_is_waited_for():
    clock = Clock()
    paced = pacer(clock, 0.3, requests_per_minute=60, pace=1.0, tolerance_s=0.0)
    (delays,) = run(paced.reserve([1] * 5))
    # The second turn is 1 s ahead and is given 0.3 s ahead.
    assert delays == [0.0]
    assert paced.snapshot().next_turn_s == pytest.approx(0.7)
    clock.now_s += 0.5
    assert run(paced.reserve([1])) == [[]]
    assert paced.snapshot().next_turn_s == pytest.approx(0.2)
    clock.now_s += 0.3
    (delays,) = run(paced.reserve([1]))
    assert delays == pytest.approx([0.2])
    assert paced.snapshot().next_turn_s is None


@pytest.mark.parametrize("bound", [{"first_window": 2}, {"max_concurrency": 2}])
def test_where_places_are_missing_the_pacer_names_no_next_turn(bound):
    paced = LocalPacer(clock=Clock(), **bound)
    (delays,) = run(paced.reserve([1] * 5))
    assert len(delays) == 2
    assert paced.snapshot().next_turn_s is None
