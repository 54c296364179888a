"""What calls and tokens come to under prices, limits and caps: hand counts."""

from __future__ import annotations

from typing import Any

import pytest

from rddg_ray.config import EndpointSettings, GenerationSettings
from rddg_ray.exchange import Usage
from rddg_ray.runtime.forecast import ASSUMED_LATENCY_S, Effort, Forecast, forecast

# 4 chains of 25 calls; 600 + 400 tokens a call, 200 of them repeated.
EFFORT = Effort(4, 25, 25, 4, Usage(100, 60_000, 40_000, 20_000))
PRICES = {
    "prompt_usd_per_million": 1.0,
    "cached_usd_per_million": 0.1,
    "completion_usd_per_million": 4.0,
}


def ahead(endpoint: dict[str, Any], latency_s: float | None = None, **generation: Any) -> Forecast:
    content = {"kind": "openai", "base_url": "http://localhost/v1", "model": "m", **endpoint}
    settings = EndpointSettings.model_validate(content)
    return forecast(EFFORT, settings, GenerationSettings(**generation), latency_s)


def test_cost_is_tokens_times_prices_and_less_where_the_beginning_is_cached() -> None:
    found = ahead({"budget": PRICES})
    assert found.cost_usd == pytest.approx(0.06 + 0.16)
    assert found.cost_with_cache_usd == pytest.approx(0.04 + 0.002 + 0.16)
    assert ahead({}).cost_usd is None


def test_the_limit_that_lets_fewer_calls_through_binds() -> None:
    # 60,000 tokens a minute are 60 calls of 1,000 tokens.
    tokens = ahead({"limits": {"requests_per_minute": 90, "tokens_per_minute": 60_000}}, 2.0)
    assert tokens.rate is not None
    assert tokens.rate.calls_per_s == pytest.approx(1.0)
    assert tokens.rate.words == "60,000 tokens a minute"
    assert tokens.ideal.time_s == pytest.approx(99 + 2)
    assert tokens.saturating_chains == 2
    requests = ahead({"limits": {"requests_per_minute": 30, "tokens_per_minute": 60_000}}, 2.0)
    assert requests.rate is not None
    assert requests.rate.words == "30 requests a minute"
    assert requests.ideal.time_s == pytest.approx(99 / 0.5 + 2)


def test_a_cap_on_replies_is_charged_whole_where_the_server_reserves() -> None:
    # 600 + 1,400 tokens charged a call instead of 600 + 400.
    limits = {"tokens_per_minute": 60_000}
    reserves = ahead({"limits": limits}, max_completion_tokens=1400)
    actual = ahead({"limits": {**limits, "tpm_accounting": "actual"}}, max_completion_tokens=1400)
    assert reserves.rate is not None
    assert actual.rate is not None
    assert reserves.rate.calls_per_s == pytest.approx(0.5)
    assert actual.rate.calls_per_s == pytest.approx(1.0)


def test_without_limits_the_longest_chain_binds_and_latency_is_assumed() -> None:
    found = ahead({})
    assert found.latency_s == ASSUMED_LATENCY_S
    assert found.ideal.time_s == 25 * ASSUMED_LATENCY_S
    assert found.rate is None


def test_the_embedded_sampler_tells_latency_and_limits_by_its_settings() -> None:
    embedded = {"latency_s": 0.5, "requests_per_minute": 120}
    found = ahead({"kind": "embedded", "base_url": None, "embedded": embedded})
    assert found.latency_s == 0.5
    assert found.rate is not None
    assert found.rate.calls_per_s == 2.0


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"max_calls": 50}, "endpoint.budget.max_calls 50 ends the run at about 50%"),
        ({"max_tokens": 25_000}, "endpoint.budget.max_tokens 25,000 ends the run at about 25%"),
        ({"max_cost_usd": 0.11, **PRICES}, "endpoint.budget.max_cost_usd 0.11 ends"),
    ],
)
def test_a_cap_below_what_is_needed_is_told_beforehand(budget: dict[str, Any], words: str) -> None:
    (sentence,) = ahead({"budget": budget}).early_ends
    assert sentence.startswith(words)


def test_caps_above_what_is_needed_are_not_mentioned() -> None:
    budget = {"max_calls": 100, "max_tokens": 100_000, "max_cost_usd": 1.0, **PRICES}
    assert ahead({"budget": budget}, max_calls=25).early_ends == ()


def test_a_chains_own_cap_is_told_too() -> None:
    (sentence,) = ahead({}, max_calls=24).early_ends
    assert sentence.startswith("generation.max_calls 24 ends chains short")


def test_a_cap_on_rounds_is_told_where_the_longest_chain_needs_more() -> None:
    effort = Effort(1, 6, 6, 1, Usage(6, 600, 400), 4) + Effort(1, 5, 5, 1, Usage(5, 500, 300), 3)
    settings = EndpointSettings()
    (sentence,) = forecast(effort, settings, GenerationSettings(max_rounds=3)).early_ends
    assert sentence == (
        "generation.max_rounds 3 ends chains short: the longest needs 4 generation rounds"
    )
    assert forecast(effort, settings, GenerationSettings(max_rounds=4)).early_ends == ()


def test_nothing_to_do_costs_nothing_and_takes_no_time() -> None:
    settings = EndpointSettings.model_validate({"budget": PRICES})
    found = forecast(Effort(), settings)
    assert (found.cost_usd, found.ideal.time_s, found.early_ends) == (0.0, 0.0, ())
