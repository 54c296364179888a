"""What a run's rows cost, from its journal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rddg_ray.config import BudgetSettings
from rddg_ray.exchange import Usage
from rddg_ray.llm.budget import Prices
from rddg_ray.llm.journal import summarise
from rddg_ray.runtime.chains import ChainOutcome
from rddg_ray.runtime.wording import duration, usd


@dataclass(frozen=True)
class Spending:
    """What all starts of a run spent, beside the rows that came of it.

    Attributes:
        n_accepted: Accepted rows over all published chains.
        n_calls: Calls with a reply.
        prompt_tokens: Their prompt tokens, the cached ones included.
        completion_tokens: Their completion tokens.
        cached_tokens: Prompt tokens that the endpoint had cached.
        possibly_paid_twice: Attempts of unknown outcome that were followed by another one.
        cost_usd: Cost of all replies, in US dollars, or None without prices.
        most_usd: The same with the worst case of what may have been paid for besides.
        tokens_per_row: Tokens a published row, or None without rows.
        usd_per_row: US dollars a published row, or None without rows or prices.
    """

    n_accepted: int = 0
    n_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    possibly_paid_twice: int = 0
    cost_usd: float | None = None
    most_usd: float | None = None
    tokens_per_row: float | None = None
    usd_per_row: float | None = None


def spending_of(
    journal: Path, budget: BudgetSettings, outcomes: Iterable[ChainOutcome]
) -> Spending:
    """Return what a run has spent.

    Args:
        journal: Its folder of replies.
        budget: Names the prices.
        outcomes: Of every published chain; replies of others count as spent too.

    Raises:
        StoreError: If a journal cannot be read.
    """
    found = summarise(journal, Prices.from_settings(budget))
    usage: Usage = found.total.usage
    n_accepted = sum(outcome.n_accepted for outcome in outcomes)
    tokens = usage.prompt_tokens + usage.completion_tokens
    has_price = n_accepted and found.cost_usd is not None
    return Spending(
        n_accepted=n_accepted,
        n_calls=found.n_calls,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        possibly_paid_twice=found.possibly_paid_twice,
        cost_usd=found.cost_usd,
        most_usd=found.most_usd,
        tokens_per_row=tokens / n_accepted if n_accepted else None,
        usd_per_row=(found.cost_usd or 0.0) / n_accepted if has_price else None,
    )


def spending_lines(spending: Spending, wall_s: float) -> list[str]:
    """Return what a run spent as a person reads it.

    Args:
        spending: Over all starts.
        wall_s: Seconds that this start took.
    """
    calls = (
        f"Calls {spending.n_calls}, prompt tokens {spending.prompt_tokens} "
        f"({spending.cached_tokens} cached), completion tokens {spending.completion_tokens}, "
        f"possibly paid twice {spending.possibly_paid_twice}"
    )
    lines = [calls]
    if spending.cost_usd is not None and spending.most_usd is not None:
        lines.append(f"Cost {usd(spending.cost_usd)}, at most {usd(spending.most_usd)}")
    if spending.tokens_per_row is not None:
        price = "" if spending.usd_per_row is None else f", {usd(spending.usd_per_row)}"
        tokens = f"{spending.tokens_per_row:.0f} tokens"
        lines.append(f"For each of {spending.n_accepted} accepted rows: {tokens}{price}")
    return [*lines, f"Time {duration(wall_s)}"]
