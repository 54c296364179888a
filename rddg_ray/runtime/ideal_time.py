"""The shortest time in which chains of calls can be done, and what keeps it from being shorter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from rddg_ray.errors import ConfigError

Bound = Literal["chain", "rate", "concurrency"]
"""What a run waits for: its longest chain, the endpoint's limits, or free places in flight."""


@dataclass(frozen=True)
class IdealTime:
    """Three lower bounds of the time that chains of calls take; the largest one holds.

    Attributes:
        chain_s: Seconds one chain takes alone, its calls one after another; with latencies that
            vary, the slowest of all chains.
        rate_s: Seconds from the first call to the last reply where calls start at the limits'
            pace; 0 without a limit.
        concurrency_s: Seconds where as many calls are in flight as may be.
    """

    chain_s: float
    rate_s: float
    concurrency_s: float

    @property
    def time_s(self) -> float:
        """The largest of the three, in seconds."""
        return max(self.chain_s, self.rate_s, self.concurrency_s)

    @property
    def bound(self) -> Bound:
        """Which of the three is the largest; of equal ones the one that comes first here."""
        by_name: dict[Bound, float] = {
            "chain": self.chain_s,
            "rate": self.rate_s,
            "concurrency": self.concurrency_s,
        }
        return max(by_name, key=lambda name: by_name[name])


def ideal_time(
    n_chains: int,
    n_calls_each: int,
    latency_s: float,
    calls_per_s: float | None = None,
    max_in_flight: int | None = None,
    *,
    latency_sd_s: float = 0.0,
) -> IdealTime:
    """Return the bounds on the time of C chains of S calls each, of which none overlap in a chain.

    With latency L, r calls a second and K in flight the time is at least the largest of
    (C S - 1)/r + L, S L + sd(L) sqrt(S) sqrt(2 ln C), and C S L / min(K, C). The second one's
    last term is the asymptotic mean of the largest of C independent normal sums.

    Args:
        n_chains: C, from 0; no chain takes no time.
        n_calls_each: S, from 0, likewise.
        latency_s: L, mean seconds from sending a call to its reply, from 0.
        calls_per_s: r, calls a second that the endpoint lets through; None for no limit.
        max_in_flight: K, calls in flight at once; None for no cap.
        latency_sd_s: Standard deviation of the latency, seconds.

    Raises:
        ConfigError: If a number is out of its range.
    """
    _check_from_zero(n_chains=n_chains, n_calls_each=n_calls_each, latency_sd_s=latency_sd_s)
    n_calls = n_chains * n_calls_each
    bounds = uneven_time(
        n_calls, n_calls_each, n_chains, latency_s,
        calls_per_s=calls_per_s, max_in_flight=max_in_flight,
    )  # fmt: skip
    if n_calls == 0:
        return bounds
    slowest_s = latency_sd_s * math.sqrt(n_calls_each) * math.sqrt(2 * math.log(n_chains))
    return replace(bounds, chain_s=bounds.chain_s + slowest_s)


def uneven_time(
    n_calls: int,
    n_longest: int,
    n_at_once: int,
    latency_s: float,
    *,
    calls_per_s: float | None = None,
    max_in_flight: int | None = None,
) -> IdealTime:
    """Return the same bounds for chains of different lengths, or of several calls a round.

    Args:
        n_calls: Calls of all chains, from 0.
        n_longest: Calls of the longest chain that wait for one another, from 0.
        n_at_once: Calls that the chains can have in flight together, from 0.
        latency_s: As for `ideal_time`, and so the rest.
        calls_per_s: Calls a second.
        max_in_flight: Calls in flight at once.

    Raises:
        ConfigError: If a number is out of its range.
    """
    _check_from_zero(n_calls=n_calls, n_longest=n_longest, n_at_once=n_at_once, latency_s=latency_s)
    _check_above_zero(calls_per_s=calls_per_s, max_in_flight=max_in_flight)
    if n_calls == 0:
        return IdealTime(0.0, 0.0, 0.0)
    in_flight = n_at_once if max_in_flight is None else min(max_in_flight, n_at_once)
    return IdealTime(
        chain_s=n_longest * latency_s,
        rate_s=0.0 if calls_per_s is None else (n_calls - 1) / calls_per_s + latency_s,
        concurrency_s=n_calls * latency_s / max(1, in_flight),
    )


def ideal_time_s(
    n_chains: int,
    n_calls_each: int,
    latency_s: float,
    calls_per_s: float | None = None,
    max_in_flight: int | None = None,
    *,
    latency_sd_s: float = 0.0,
) -> float:
    """Return the shortest time in seconds; see `ideal_time` for arguments and formula."""
    return ideal_time(
        n_chains, n_calls_each, latency_s, calls_per_s, max_in_flight, latency_sd_s=latency_sd_s
    ).time_s


def saturating_chains(
    latency_s: float, calls_per_s: float | None = None, max_in_flight: int | None = None
) -> int | None:
    """Return how many chains keep the limits busy: more of them end no sooner for each call.

    A chain has one call in flight, so r calls a second of latency L need r L chains, and K
    places in flight K chains; the smaller holds.

    Returns:
        Chains, at least 1; None where there is neither a limit nor a cap.

    Raises:
        ConfigError: If a number is out of its range.
    """
    _check_from_zero(latency_s=latency_s)
    _check_above_zero(calls_per_s=calls_per_s, max_in_flight=max_in_flight)
    needed = [] if max_in_flight is None else [max_in_flight]
    if calls_per_s is not None:
        # 0.1 s at 30 calls a second is 3.0000000000000004 chains in floating point.
        needed.append(max(1, math.ceil(round(calls_per_s * latency_s, 9))))
    return min(needed, default=None)


def _check_from_zero(**numbers: float) -> None:
    for name, value in numbers.items():
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name}: {value!r} given, expected a finite number from 0")


def _check_above_zero(**numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name}: {value!r} given, expected a finite number above 0")
