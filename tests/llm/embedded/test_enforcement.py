"""Limits a minute, by four policies, on a clock of the test's own."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rddg_ray.config import EmbeddedSettings
from rddg_ray.llm.embedded.enforcement import Enforcer, meter
from rddg_ray.llm.rates import read_rates

POLICIES = ["minute_bucket", "second_bucket", "sliding_window", "fixed_window"]


def enforcer(policy: str, **fields) -> Enforcer:
    return Enforcer(EmbeddedSettings(policy=policy, **fields))


def accepted(limits: Enforcer, times_s) -> list[float]:
    return [at_s for at_s in times_s if limits.admit(at_s, 1, None).retry_after_s is None]


@pytest.mark.parametrize(
    ("policy", "at_once", "after_half_a_minute"),
    [("minute_bucket", 120, 60), ("second_bucket", 2, 2), ("sliding_window", 120, 0),
     ("fixed_window", 120, 0)],
)  # fmt: skip
def test_a_policy_lets_through_at_once_and_later_what_it_holds(
    policy, at_once, after_half_a_minute
):
    limits = enforcer(policy, requests_per_minute=120)
    assert len(accepted(limits, [5.0] * 200)) == at_once
    assert len(accepted(limits, [35.0] * 200)) == after_half_a_minute
    assert len(accepted(limits, [300.0] * 200)) == at_once


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 20), min_size=1, max_size=120))
def test_no_60_s_of_a_sliding_window_hold_more_than_the_limit(gaps):
    times = accepted(enforcer("sliding_window", requests_per_minute=5), itertools.accumulate(gaps))
    assert all(later - first > 60 - 1e-9 for first, later in zip(times, times[5:], strict=False))


@pytest.mark.parametrize("policy", POLICIES)
def test_who_waits_as_told_is_let_through(policy):
    limits, now_s = enforcer(policy, requests_per_minute=120, tokens_per_minute=6_000), 0.0
    for _ in range(400):
        wait_s = limits.admit(now_s, 40, 30).retry_after_s
        if wait_s is not None:
            now_s += wait_s + 1e-6
            assert limits.admit(now_s, 40, 30).retry_after_s is None


@pytest.mark.parametrize("policy", POLICIES)
def test_a_request_larger_than_all_is_let_through_when_nothing_is_used(policy):
    limits = enforcer(policy, tokens_per_minute=600)
    assert limits.admit(0.0, 5_000, None).retry_after_s is None
    assert limits.admit(0.0, 1, None).retry_after_s is not None


def test_a_refused_request_uses_nothing_up():
    limits = enforcer("sliding_window", requests_per_minute=10, tokens_per_minute=100)
    assert limits.admit(0.0, 90, None).retry_after_s is None
    assert limits.admit(0.0, 20, None).retry_after_s == pytest.approx(60.0)
    assert limits.admit(0.0, 10, None).retry_after_s is None
    assert (limits.n_accepted, limits.n_refused, limits.n_tokens) == (2, 1, 100)


@pytest.mark.parametrize(
    ("accounting", "cap", "on_arrival", "in_the_end"),
    [("reserve", 50, 150, 150), ("reserve", None, 100, 107), ("actual", 50, 100, 107)],
)
def test_accounting_is_of_the_cap_or_of_the_reply(accounting, cap, on_arrival, in_the_end):
    limits = enforcer("fixed_window", tokens_per_minute=1_000, token_accounting=accounting)
    charged = limits.admit(0.0, 100, cap).charged_tokens
    assert charged == on_arrival
    assert limits.settle(1.0, 100, 7, charged) == in_the_end
    assert limits.n_tokens == in_the_end
    assert limits.headers(1.0)["x-ratelimit-remaining-tokens"] == str(1_000 - in_the_end)


@pytest.mark.parametrize(
    ("policy", "reset_s"),
    [("minute_bucket", 1), ("second_bucket", 1), ("sliding_window", 60), ("fixed_window", 60)],
)
def test_headers_tell_limit_remainder_and_reset(policy, reset_s):
    limits = enforcer(policy, requests_per_minute=120, tokens_per_minute=6_000)
    assert len(accepted(limits, [10.0, 10.0])) == 2
    told = read_rates(limits.headers(10.0))
    assert told is not None
    assert (told.limit_requests, told.remaining_requests) == (120, 118)
    assert told.reset_requests_s == pytest.approx(reset_s)
    assert told.limit_tokens == 6_000


def test_without_limits_everything_passes_and_no_header_is_sent():
    limits = Enforcer(EmbeddedSettings())
    assert len(accepted(limits, [0.0] * 1_000)) == 1_000
    assert limits.headers(0.0) == {}


def test_a_slow_limit_of_a_second_bucket_lets_one_request_through():
    assert meter("second_bucket", 6).wait_s(0.0, 1) == 0.0
