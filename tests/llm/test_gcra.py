"""Pacing by theoretical arrival times, held against its closed forms."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rddg_ray.llm.gcra import Lane, Schedule

RATES = st.sampled_from([0.5, 8.0, 50.0])
TOLERANCES = st.sampled_from([0.0, 0.5, 2.0])
GAPS = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 40)), min_size=1, max_size=60)


def schedule(requests: float | None, tokens: float | None, tolerance_s: float) -> Schedule:
    made = Schedule(tolerance_s)
    made.requests.set_rate(0.0, requests)
    made.tokens.set_rate(0.0, tokens)
    return made


def test_saturated_calls_are_a_period_apart_after_the_burst_of_the_tolerance():
    # At 4 a second the TAT after k calls is k / 4; it may lie half a second ahead: 3 at once.
    delays = schedule(4.0, None, 0.5).reserve(0.0, [1] * 8)
    assert delays == pytest.approx([0, 0, 0, 0.25, 0.5, 0.75, 1.0, 1.25])


def test_the_lane_that_is_fuller_decides():
    # 100 tokens a call at 200 tokens a second are 2 calls a second; requests alone allow 4.
    delays = schedule(4.0, 200.0, 0.0).reserve(0.0, [100] * 5)
    assert delays == pytest.approx([0, 0.5, 1.0, 1.5, 2.0])


def test_without_a_limit_nothing_waits():
    assert schedule(None, None, 0.5).reserve(7.0, [10**9] * 3) == [0, 0, 0]


@settings(max_examples=80, deadline=None)
@given(RATES, TOLERANCES, GAPS)
def test_no_stretch_of_time_holds_more_than_its_share_the_tolerance_and_one_call(
    rate, tolerance_s, gaps
):
    paced, now_s, sent = schedule(None, rate, tolerance_s), 0.0, []
    for gap_s, amount in gaps:
        now_s += gap_s
        (delay_s,) = paced.reserve(now_s, [amount])
        sent.append((now_s + delay_s, amount))
    for (i, (start_s, _)), (j, (end_s, last)) in itertools.product(enumerate(sent), repeat=2):
        if i <= j:
            total = sum(amount for _, amount in sent[i : j + 1])
            assert total - last <= rate * (end_s - start_s + tolerance_s) + 1e-6


@settings(max_examples=80, deadline=None)
@given(RATES, RATES, TOLERANCES, st.lists(st.integers(1, 500), max_size=50))
def test_delays_never_fall_within_one_reservation(requests, tokens, tolerance_s, estimates):
    delays = schedule(requests, 100 * tokens, tolerance_s).reserve(3.0, estimates)
    assert len(delays) == len(estimates)
    assert delays == sorted(delays)
    assert all(delay_s >= 0 for delay_s in delays)


@settings(max_examples=80, deadline=None)
@given(RATES, TOLERANCES, GAPS, st.integers(1, 500))
def test_what_is_given_back_is_as_if_it_was_never_taken(rate, tolerance_s, gaps, amount):
    lane, other = Lane(rate, tolerance_s), Lane(rate, tolerance_s)
    now_s = 0.0
    for gap_s, taken in gaps:
        now_s += gap_s
        for one in (lane, other):
            one.take(max(now_s, one.earliest_s()), taken)
    at_s = max(now_s, lane.earliest_s())
    lane.take(at_s, amount)
    lane.give_back(amount)
    assert max(at_s, lane.earliest_s()) == pytest.approx(max(at_s, other.earliest_s()))
    for one in (lane, other):
        one.take(max(at_s, one.earliest_s()), 1)
    assert lane.tat_s == pytest.approx(other.tat_s)


def test_turns_beyond_the_horizon_are_not_taken():
    paced = schedule(2.0, None, 0.0)
    assert paced.reserve(0.0, [1] * 10, horizon_s=1.0) == pytest.approx([0, 0.5, 1.0])
    assert paced.reserve(1.0, [1], horizon_s=1.0) == pytest.approx([0.5])


def test_a_shift_moves_what_comes_and_leaves_no_burst():
    paced = schedule(4.0, None, 0.5)
    paced.reserve(0.0, [1])
    paced.shift(0.0, 2.0)
    assert paced.reserve(0.0, [1] * 3) == pytest.approx([2.0, 2.25, 2.5])


def test_a_new_rate_keeps_the_amount_that_is_taken_ahead():
    lane = Lane(2.0, 0.0)
    lane.take(10.0, 8)  # 4 s ahead
    lane.set_rate(10.0, 8.0)
    assert lane.tat_s == pytest.approx(11.0)


@pytest.mark.parametrize(("rate", "tolerance_s"), [(0.0, 0.5), (-1.0, 0.5), (1.0, -0.1)])
def test_a_lane_refuses_what_is_no_rate_or_tolerance(rate, tolerance_s):
    with pytest.raises(ValueError, match="found"):
        Lane(rate, tolerance_s)
