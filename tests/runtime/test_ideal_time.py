"""The ideal time of chains: hand counts of the three bounds."""

from __future__ import annotations

import math

import pytest

from rddg_ray.errors import ConfigError
from rddg_ray.runtime.ideal_time import (
    ideal_time,
    ideal_time_s,
    saturating_chains,
    uneven_time,
)


def test_without_limits_a_run_takes_as_long_as_one_chain() -> None:
    assert ideal_time_s(64, 12, 1.0) == 12.0
    assert ideal_time(64, 12, 1.0).bound == "chain"


def test_under_a_limit_the_last_of_all_calls_starts_at_its_pace() -> None:
    # 768 calls at 50 a second: the last starts after 767 / 50 s, and takes a second.
    found = ideal_time(64, 12, 1.0, calls_per_s=50)
    assert found.time_s == pytest.approx(16.34)
    assert found.bound == "rate"


def test_a_place_in_flight_is_busy_all_the_time_where_places_are_few() -> None:
    # 64 x 12 calls of 2 s in 16 places: 48 calls a place.
    found = ideal_time(64, 12, 2.0, calls_per_s=50, max_in_flight=16)
    assert found.time_s == pytest.approx(96.0)
    assert found.bound == "concurrency"


def test_more_places_than_chains_are_of_no_use() -> None:
    assert ideal_time_s(4, 10, 0.5, max_in_flight=1000) == 5.0


def test_latencies_that_vary_make_the_slowest_chain_slower() -> None:
    # 100 chains of 25 calls, spread 0.2 s: 0.2 x 5 x sqrt(2 ln 100) above 25 s.
    found = ideal_time_s(100, 25, 1.0, latency_sd_s=0.2)
    assert found == pytest.approx(25 + math.sqrt(2 * math.log(100)))
    # The largest of one is that one.
    assert ideal_time_s(1, 25, 1.0, latency_sd_s=0.2) == 25.0


@pytest.mark.parametrize(("n_chains", "n_calls"), [(0, 5), (5, 0), (0, 0)])
def test_no_calls_take_no_time(n_chains: int, n_calls: int) -> None:
    assert ideal_time_s(n_chains, n_calls, 3.0, 1.0, 1) == 0.0


def test_chains_of_different_lengths_are_bounded_by_the_longest_one() -> None:
    # 3, 5 and 10 calls of 2 s: 20 s alone, 17 s / r + 2 s under a limit, 36 s in one place.
    assert uneven_time(18, 10, 3, 2.0).time_s == 20.0
    assert uneven_time(18, 10, 3, 2.0, calls_per_s=0.5).time_s == 36.0
    assert uneven_time(18, 10, 3, 2.0, max_in_flight=1).time_s == 36.0


def test_the_limit_is_kept_busy_by_as_many_chains_as_calls_start_within_one_latency() -> None:
    assert saturating_chains(1.0, 50) == 50
    assert saturating_chains(0.1, 30) == 3  # not 4 for want of exact decimals
    assert saturating_chains(0.1, 31) == 4
    assert saturating_chains(0.0, 50) == 1
    assert saturating_chains(10.0, 50, max_in_flight=256) == 256
    assert saturating_chains(10.0, max_in_flight=16) == 16
    assert saturating_chains(10.0) is None


def test_half_and_twice_the_saturating_chains_are_bounded_by_chain_and_by_limit() -> None:
    n_chains = saturating_chains(1.0, 50)
    assert n_chains is not None
    assert ideal_time(n_chains // 2, 12, 1.0, 50).bound == "chain"
    assert ideal_time(n_chains * 2, 12, 1.0, 50).bound == "rate"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((-1, 5, 1.0), "n_calls|n_chains"),
        ((1, 5, -1.0), "latency_s"),
        ((1, 5, math.nan), "latency_s"),
        ((1, 5, 1.0, 0.0), "calls_per_s"),
        ((1, 5, 1.0, None, 0), "max_in_flight"),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(arguments: tuple[float, ...], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        ideal_time_s(*arguments)  # type: ignore[arg-type]  # wrong on purpose
