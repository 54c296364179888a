"""Amounts of calls, tokens and money, and the prices that tie them together."""

from __future__ import annotations

from dataclasses import dataclass, field

from rddg_ray.config import BudgetSettings
from rddg_ray.exchange import Usage


@dataclass(frozen=True, slots=True)
class Amount:
    """Calls, tokens and money, of one attempt or of many."""

    n_calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        """Return the sum, field by field."""
        return Amount(
            self.n_calls + other.n_calls,
            self.tokens + other.tokens,
            self.cost_usd + other.cost_usd,
        )

    def __sub__(self, other: Amount) -> Amount:
        """Return the difference, field by field."""
        return self + Amount(-other.n_calls, -other.tokens, -other.cost_usd)


@dataclass(frozen=True, slots=True)
class Prices:
    """What the endpoint charges, in US dollars for a million tokens."""

    prompt_usd_per_million: float
    cached_usd_per_million: float
    completion_usd_per_million: float

    @classmethod
    def from_settings(cls, settings: BudgetSettings) -> Prices | None:
        """Return the prices of the settings, or None where they have none."""
        prompt, completion = settings.prompt_usd_per_million, settings.completion_usd_per_million
        if prompt is None or completion is None:
            return None
        cached = settings.cached_usd_per_million
        return cls(prompt, prompt if cached is None else cached, completion)

    def cost_usd(self, usage: Usage) -> float:
        """Return what a usage costs; its cached tokens are part of its prompt tokens."""
        fresh = usage.prompt_tokens - usage.cached_tokens
        return 1e-6 * (
            fresh * self.prompt_usd_per_million
            + usage.cached_tokens * self.cached_usd_per_million
            + usage.completion_tokens * self.completion_usd_per_million
        )

    def most_usd(self, usage: Usage) -> float:
        """Return what a usage costs at most, whatever part of it the endpoint has cached."""
        dearer = max(self.prompt_usd_per_million, self.cached_usd_per_million)
        completion_usd = usage.completion_tokens * self.completion_usd_per_million
        return 1e-6 * (usage.prompt_tokens * dearer + completion_usd)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has spent so far, as its journal tells it.

    Attributes:
        usage: Of every reply on record.
        unknown: Upper bounds for attempts that may have been paid for without a reply on
            record, and for replies that did not tell their tokens.
    """

    usage: Usage = field(default_factory=Usage)
    unknown: Usage = field(default_factory=Usage)

    def amount(self, prices: Prices | None) -> Amount:
        """Return the sum; money is 0 without prices."""
        usage = self.usage + self.unknown
        cost_usd = 0.0
        if prices is not None:
            cost_usd = prices.cost_usd(self.usage) + prices.most_usd(self.unknown)
        return Amount(usage.n_calls, usage.prompt_tokens + usage.completion_tokens, cost_usd)
