"""The budget: a cap holds, whatever is in flight and however often the run starts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rddg_ray.config import BudgetSettings, EmbeddedSettings, EndpointSettings, settings_from
from rddg_ray.errors import BudgetError, ConfigError, PermanentLLMError, TransientLLMError
from rddg_ray.exchange import CallId, Completion, Prompt, Usage
from rddg_ray.llm import BudgetedEndpoint, Journal, LocalLedger, OpenAIEndpoint, Prices, stacked
from rddg_ray.llm.bounds import prompt_tokens_bound
from rddg_ray.llm.budget import Amount, Spent
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.llm.journal import spent, summarise

PROMPT = Prompt("", "x" * 36, "generation", max_completion_tokens=100)
PRICES = Prices(2.0, 0.5, 10.0)
PRICED = {
    "prompt_usd_per_million": 2.0,
    "cached_usd_per_million": 0.5,
    "completion_usd_per_million": 10.0,
}
# 36 bytes and 64 of the template, and the cap.
BOUND = Amount(1, 200, PRICES.most_usd(Usage(1, 100, 100)))


def reply(prompt_tokens: int = 10, completion_tokens: int = 20, cached: int = 0) -> Completion:
    return Completion("x", "m", Usage(1, prompt_tokens, completion_tokens, cached))


def ask(inner, settings: BudgetSettings, n: int, *, at_once: bool = False, prompt=PROMPT, **rest):
    """Ask n times; return the ledger and what came of each."""
    ledger = LocalLedger(settings, **rest)

    async def main():
        endpoint = BudgetedEndpoint(inner, ledger, Prices.from_settings(settings))
        if at_once:
            calls = (endpoint.complete(prompt) for _ in range(n))
            return await asyncio.gather(*calls, return_exceptions=True)
        outcomes: list[object] = []
        for _ in range(n):
            outcomes += await asyncio.gather(endpoint.complete(prompt), return_exceptions=True)
        return outcomes

    return ledger, asyncio.run(main())


def n_good(outcomes) -> int:
    return sum(isinstance(outcome, Completion) for outcome in outcomes)


def test_cached_tokens_cost_their_own_price():
    usage = Usage(1, 1_000_000, 100_000, 400_000)
    assert PRICES.cost_usd(usage) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.1 * 10)
    assert PRICES.most_usd(usage) == pytest.approx(2 + 1)
    dear_cache = Prices(2.0, 3.0, 10.0)
    assert dear_cache.most_usd(usage) == pytest.approx(3 + 1)


def test_cached_tokens_cost_what_others_do_where_no_price_is_given():
    settings = BudgetSettings(prompt_usd_per_million=2, completion_usd_per_million=10)
    assert Prices.from_settings(settings) == Prices(2.0, 2.0, 10.0)
    assert Prices.from_settings(BudgetSettings()) is None


def test_a_budget_without_caps_lets_all_through(scripted_endpoint):
    ledger, outcomes = ask(scripted_endpoint([reply()]), BudgetSettings(), 50, at_once=True)
    assert n_good(outcomes) == 50
    assert ledger.snapshot().spent == Amount(50, 1500, 0.0)
    assert ledger.snapshot().reserved == Amount()


@pytest.mark.parametrize("at_once", [False, True])
def test_calls_are_capped_exactly(scripted_endpoint, at_once):
    inner = scripted_endpoint([reply()], hold_s=0.001)
    ledger, outcomes = ask(inner, BudgetSettings(max_calls=7), 20, at_once=at_once)
    assert n_good(outcomes) == inner.n_calls == 7
    assert all(isinstance(o, (Completion, BudgetError)) for o in outcomes)
    assert ledger.snapshot().spent.n_calls == 7


@pytest.mark.parametrize("at_once", [False, True])
def test_money_is_spent_up_to_the_last_call_that_surely_fits(scripted_endpoint, at_once):
    # A reply costs 10 * 2 + 20 * 10 = 220 millionths; the bound is 1,200 millionths. So 18 fit:
    # after 17 of them 3,740 + 1,200 <= 5,000, and after 18 3,960 + 1,200 > 5,000.
    settings = BudgetSettings(max_cost_usd=5_000e-6, **PRICED)
    inner = scripted_endpoint([reply()], hold_s=0.001)
    ledger, outcomes = ask(inner, settings, 40, at_once=at_once)
    assert n_good(outcomes) == 18
    assert ledger.snapshot().spent.cost_usd == pytest.approx(18 * 220e-6)
    message = next(str(o) for o in outcomes if isinstance(o, BudgetError))
    assert "endpoint.budget.max_cost_usd: 0.005 US$" in message
    assert "0.00396" in message
    assert "raise the cap" in message


def test_what_is_in_flight_never_passes_the_cap_in_the_worst_case(scripted_endpoint):
    # Every reply is as long as it may be; 10 bounds fit and no eleventh.
    inner = scripted_endpoint([reply(100, 100)], hold_s=0.002)
    settings = BudgetSettings(max_tokens=10 * BOUND.tokens + 199)
    ledger, outcomes = ask(inner, settings, 30, at_once=True)
    assert n_good(outcomes) == inner.most_at_once == 10
    assert ledger.snapshot().spent.tokens == 2000


def test_calls_wait_for_reservations_of_others_instead_of_failing(scripted_endpoint):
    # One bound at a time fits under the cap, though all 5 replies do.
    inner = scripted_endpoint([reply()], hold_s=0.002)
    _, outcomes = ask(inner, BudgetSettings(max_tokens=200 + 4 * 30), 5, at_once=True)
    assert n_good(outcomes) == 5
    # After the first 30 tokens another bound still does not fit beside a bound.
    assert inner.most_at_once == 1


def test_once_a_cap_is_reached_no_smaller_call_slips_through(scripted_endpoint):
    ledger = LocalLedger(BudgetSettings(max_tokens=100))

    async def main():
        with pytest.raises(BudgetError):
            await ledger.reserve(Amount(1, 101))
        with pytest.raises(BudgetError):
            await ledger.reserve(Amount(1, 1))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "used"),
    [
        (TransientLLMError("busy", 503), Amount()),
        (TransientLLMError("the gateway gave up", 504), BOUND),
        (TransientLLMError("cannot connect", reached=False), Amount()),
        (PermanentLLMError("no", 400), Amount()),
        (KeyError("a bug before anything was sent"), Amount()),
        (TransientLLMError("no answer in time"), BOUND),
        (TransientLLMError("half a reply", 200), BOUND),
        (PermanentLLMError("held", code="outcome_unknown"), BOUND),
        (asyncio.CancelledError(), BOUND),
    ],
)
def test_failures_cost_nothing_unless_they_may_have_been_paid(scripted_endpoint, error, used):
    class Failing:
        async def complete(self, prompt, call=None):
            raise error

        async def aclose(self):
            pass

    ledger, outcomes = ask(Failing(), BudgetSettings(**PRICED), 1)
    assert ledger.snapshot().spent == used
    assert ledger.snapshot().reserved == Amount()
    assert isinstance(outcomes[0], type(error))


def test_a_reply_that_tells_no_tokens_counts_in_full(scripted_endpoint):
    ledger, _ = ask(scripted_endpoint([Completion("x", "m", Usage(1))]), BudgetSettings(), 1)
    assert ledger.snapshot().spent.tokens == BOUND.tokens


def test_a_reply_without_a_cap_is_assumed_long_until_replies_tell(scripted_endpoint):
    open_ended = Prompt("", "x" * 36, "generation")
    settings = BudgetSettings(max_tokens=100 + 4096 + 19 * 30)
    # The first 20 need 100 + 4,096 each; after that twice the longest seen, at least 256.
    inner = scripted_endpoint([reply()])
    ledger, outcomes = ask(inner, settings, 400, prompt=open_ended)
    spent_tokens = ledger.snapshot().spent.tokens
    assert n_good(outcomes) == spent_tokens // 30
    # 356 tokens is the bound of the last call that fits; the next would take 30 more.
    assert settings.max_tokens - 356 - 30 < spent_tokens - 30 <= settings.max_tokens - 356


def test_what_earlier_starts_spent_counts(scripted_endpoint):
    before = Spent(Usage(3, 30, 60, 0), Usage(1, 100, 100, 0))
    settings = BudgetSettings(max_calls=6, **PRICED)
    ledger, outcomes = ask(scripted_endpoint([reply()]), settings, 5, spent=before)
    assert n_good(outcomes) == 2
    expected = 5 * (10 * 2e-6 + 20 * 10e-6) + 100 * 2e-6 + 100 * 10e-6
    assert ledger.snapshot().spent.cost_usd == pytest.approx(expected)


def test_what_a_dead_process_had_reserved_is_counted_as_spent():
    ledger = LocalLedger(BudgetSettings(max_calls=3))

    async def main():
        for owner in ("node-1", "node-1", "node-2"):
            assert await ledger.reserve(Amount(1, 10), owner)
        assert not await ledger.reserve(Amount(1, 10), "node-2")
        assert ledger.forfeit("node-1") == Amount(2, 20)
        await ledger.settle(Amount(1, 10), Amount(), "node-2")
        assert await ledger.reserve(Amount(1, 10), "node-2")

    asyncio.run(main())
    assert ledger.snapshot().spent == Amount(2, 20)
    assert ledger.snapshot().reserved == Amount(1, 10)


@pytest.mark.parametrize(
    "content",
    [
        {"max_cost_usd": 1},
        {"max_cost_usd": 1, "prompt_usd_per_million": 1},
        {"prompt_usd_per_million": 1},
        {"cached_usd_per_million": 1},
    ],
)
def test_money_needs_prices(content):
    with pytest.raises(ValueError, match="usd_per_million"):
        BudgetSettings(**content)


def test_budget_and_journal_settings_change_no_row():
    plain = {"tables": [{"dataset": "sick"}]}
    rich = plain | {
        "endpoint": {
            "budget": {"max_calls": 5, "max_cost_usd": 1} | PRICED,
            "journal": {"possibly_paid_twice": "hold"},
        }
    }
    assert settings_from(rich).fingerprint() == settings_from(plain).fingerprint()
    with pytest.raises(ConfigError, match="possibly_paid_twice"):
        settings_from(plain | {"endpoint": {"journal": {"possibly_paid_twice": "maybe"}}})


def test_the_bound_of_a_prompt_is_its_bytes_and_a_template():
    assert prompt_tokens_bound(Prompt("é", "ab", "relations")) == 2 + 2 + 64


def test_a_run_stops_below_its_cap_and_goes_on_after_it_is_raised(tmp_path):
    """Against the embedded endpoint: at half of what is needed, at three quarters, at all."""
    n_calls = 40
    prompts = [
        Prompt("", f"x,y\nA.\na,{i}\na,2\n\nAnalyse the relations.", "relations", None, 200)
        for i in range(n_calls)
    ]

    def start(folder: Path, number: int, base_url: str, cap_usd: float | None) -> int:
        budget = BudgetSettings(max_cost_usd=cap_usd, **PRICED)
        settings = EndpointSettings(budget=budget, max_concurrency=8)

        async def main():
            client = OpenAIEndpoint(base_url, "embedded-sampler")
            journal = Journal(folder, f"e{number}", "f")
            endpoint = stacked(client, settings, journal, LocalLedger(budget, spent(folder)))
            calls = (
                endpoint.complete(prompt, CallId("t", "c", i, 0))
                for i, prompt in enumerate(prompts)
            )
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            await endpoint.aclose()
            return outcomes

        outcomes = asyncio.run(main())
        assert all(isinstance(o, (Completion, BudgetError)) for o in outcomes), outcomes
        return n_good(outcomes)

    with serve_in_thread(EmbeddedSettings(latency_s=0.01)) as server:
        assert start(tmp_path / "free", 0, server.base_url, None) == n_calls
        needed_usd = summarise(tmp_path / "free", PRICES).cost_usd
        bound_usd = PRICES.most_usd(Usage(1, max(map(prompt_tokens_bound, prompts)), 200))
        for number, share in enumerate((0.5, 0.75)):
            cap_usd = share * needed_usd
            assert 0 < start(tmp_path / "run", number, server.base_url, cap_usd) < n_calls
            cost_usd = summarise(tmp_path / "run", PRICES).cost_usd
            assert cap_usd - bound_usd < cost_usd <= cap_usd
        assert start(tmp_path / "run", 2, server.base_url, None) == n_calls
        assert server.n_requests == 2 * n_calls
    assert summarise(tmp_path / "run").possibly_paid_twice == 0
