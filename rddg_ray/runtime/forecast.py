"""What a run will take: calls and tokens to money, time, and caps that end it early."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rddg_ray.config import EndpointSettings, GenerationSettings
from rddg_ray.exchange import Usage
from rddg_ray.llm.budget import Prices
from rddg_ray.runtime.ideal_time import IdealTime, saturating_chains, uneven_time

ASSUMED_LATENCY_S = 10.0
"""Seconds a call is taken to last where nothing tells: some hundred tokens of a chat model."""

# A learned cap is about twice a usual reply.
_AUTO_FACTOR = 2

ReplyCap = int | Literal["auto"] | None


@dataclass(frozen=True)
class Effort:
    """Calls and tokens of chains, if every row they ask for is accepted.

    Attributes:
        n_chains: Chains, which run side by side.
        n_longest: Rounds of the longest one, which wait for one another.
        n_most_calls: Calls of the one with most.
        n_at_once: Calls that all chains can have in flight together.
        usage: Calls and tokens over all; cached ones where the endpoint caches the unchanging
            first part of prompts.
        n_most_rounds: Generation rounds of the chain with most.
    """

    n_chains: int = 0
    n_longest: int = 0
    n_most_calls: int = 0
    n_at_once: int = 0
    usage: Usage = field(default_factory=Usage)
    n_most_rounds: int = 0

    def __add__(self, other: Effort) -> Effort:
        """Return the effort of both sets of chains, run together."""
        return Effort(
            self.n_chains + other.n_chains,
            max(self.n_longest, other.n_longest),
            max(self.n_most_calls, other.n_most_calls),
            self.n_at_once + other.n_at_once,
            self.usage + other.usage,
            max(self.n_most_rounds, other.n_most_rounds),
        )


@dataclass(frozen=True)
class Rate:
    """The limit that holds calls back first.

    Attributes:
        calls_per_s: Calls a second under it.
        words: Which it is, for people.
    """

    calls_per_s: float
    words: str


@dataclass(frozen=True)
class Forecast:
    """What an effort comes to under a run's settings.

    Attributes:
        effort: Calls and tokens.
        cost_usd: Money without any prompt token from a cache; None without prices.
        cost_with_cache_usd: Money if the unchanging first part of prompts is cached; likewise.
        latency_s: Seconds a call is taken to last.
        latency_source: Where that number is from.
        rate: The limit that binds; None where no limit is set.
        max_in_flight: Calls in flight at most.
        ideal: Lower bounds of the time.
        saturating_chains: Chains that would keep the limits busy; None without any limit.
        early_ends: Sentences about caps that end the run, or chains of it, before the target.
    """

    effort: Effort
    cost_usd: float | None
    cost_with_cache_usd: float | None
    latency_s: float
    latency_source: str
    rate: Rate | None
    max_in_flight: int
    ideal: IdealTime
    saturating_chains: int | None
    early_ends: tuple[str, ...]


def forecast(
    effort: Effort,
    endpoint: EndpointSettings,
    generation: GenerationSettings | None = None,
    latency_s: float | None = None,
) -> Forecast:
    """Return what an effort comes to.

    Limits are taken whole, as the ideal is; a run paces itself at `endpoint.limits.pace` of them.

    Args:
        effort: Calls and tokens.
        endpoint: Prices, caps and limits.
        generation: Caps of a chain and of a reply; the defaults by default.
        latency_s: Seconds a call lasts; by default what the settings tell of it.

    Raises:
        ConfigError: If the latency is negative.
    """
    generation = generation or GenerationSettings()
    source = "given"
    if latency_s is None:
        latency_s, source = _expected_latency(endpoint)
    rate = _rate(effort.usage, endpoint, generation.max_completion_tokens)
    calls_per_s = None if rate is None else rate.calls_per_s
    prices = Prices.from_settings(endpoint.budget)
    fresh = Usage(effort.usage.n_calls, effort.usage.prompt_tokens, effort.usage.completion_tokens)
    cost_usd = None if prices is None else prices.cost_usd(fresh)
    return Forecast(
        effort=effort,
        cost_usd=cost_usd,
        cost_with_cache_usd=None if prices is None else prices.cost_usd(effort.usage),
        latency_s=latency_s,
        latency_source=source,
        rate=rate,
        max_in_flight=endpoint.max_concurrency,
        ideal=uneven_time(
            effort.usage.n_calls,
            effort.n_longest,
            effort.n_at_once,
            latency_s,
            calls_per_s=calls_per_s,
            max_in_flight=endpoint.max_concurrency,
        ),
        saturating_chains=saturating_chains(latency_s, calls_per_s, endpoint.max_concurrency),
        early_ends=(
            *_budget_ends(effort.usage, endpoint, cost_usd),
            *_chain_ends(effort, generation),
        ),
    )


def _expected_latency(endpoint: EndpointSettings) -> tuple[float, str]:
    if endpoint.kind == "replay":
        return 0.0, "recordings answer at once"
    if endpoint.kind == "embedded" and endpoint.embedded.latency_s > 0:
        return endpoint.embedded.latency_s, "endpoint.embedded.latency_s"
    return ASSUMED_LATENCY_S, "assumed; --latency-s says otherwise"


def _rate(usage: Usage, endpoint: EndpointSettings, reply_cap: ReplyCap) -> Rate | None:
    """Return the limit under which fewest calls a second pass."""
    if usage.n_calls == 0:
        return None
    requests, tokens = _limits(endpoint)
    rates = []
    if requests is not None:
        rates.append(Rate(requests / 60, f"{requests:,} requests a minute"))
    if tokens is not None:
        charged = _charged_tokens(usage, endpoint, reply_cap)
        rates.append(Rate(tokens / 60 * usage.n_calls / charged, f"{tokens:,} tokens a minute"))
    return min(rates, key=lambda rate: rate.calls_per_s, default=None)


def _limits(endpoint: EndpointSettings) -> tuple[int | None, int | None]:
    """Return requests and tokens a minute that are known before the first call."""
    given = [endpoint.limits.requests_per_minute], [endpoint.limits.tokens_per_minute]
    if endpoint.kind == "embedded" and endpoint.base_url is None:
        given[0].append(endpoint.embedded.requests_per_minute)
        given[1].append(endpoint.embedded.tokens_per_minute)
    requests, tokens = (min((n for n in part if n is not None), default=None) for part in given)
    return requests, tokens


def _charged_tokens(usage: Usage, endpoint: EndpointSettings, reply_cap: ReplyCap) -> int:
    replies = usage.completion_tokens
    # A server that reserves charges the cap of a reply, whatever its length.
    if reply_cap is not None and endpoint.limits.tpm_accounting != "actual":
        replies = _AUTO_FACTOR * replies if reply_cap == "auto" else usage.n_calls * reply_cap
    return max(1, usage.prompt_tokens + replies)


def _budget_ends(usage: Usage, endpoint: EndpointSettings, cost_usd: float | None) -> list[str]:
    caps = endpoint.budget
    tokens = usage.prompt_tokens + usage.completion_tokens
    return [
        f"endpoint.budget.{name} {cap:,g} ends the run at about {cap / needed:.0%} of it: about "
        f"{needed:,.{digits}f} {unit} are needed"
        for name, cap, needed, unit, digits in (
            ("max_calls", caps.max_calls, usage.n_calls, "calls", 0),
            ("max_tokens", caps.max_tokens, tokens, "tokens", 0),
            ("max_cost_usd", caps.max_cost_usd, cost_usd or 0.0, "USD", 4),
        )
        if cap is not None and needed > cap
    ]


def _chain_ends(effort: Effort, generation: GenerationSettings) -> list[str]:
    return [
        f"generation.{name} {cap} ends chains short: the longest needs {needed} {unit}"
        for name, cap, needed, unit in (
            ("max_calls", generation.max_calls, effort.n_most_calls, "calls"),
            ("max_rounds", generation.max_rounds, effort.n_most_rounds, "generation rounds"),
        )
        if cap is not None and needed > cap
    ]
