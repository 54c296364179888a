"""What goes to the endpoint, put together from the run's pacer and ledger."""

from __future__ import annotations

from rddg_ray.config import BudgetSettings
from rddg_ray.llm.budget import LedgerSnapshot
from rddg_ray.llm.limiter import PacerSnapshot
from rddg_ray.runtime.executor import Traffic


def traffic_of(pacer: PacerSnapshot, ledger: LedgerSnapshot, budget: BudgetSettings) -> Traffic:
    """Return the traffic at a moment.

    Args:
        pacer: What the run's pacer knows.
        ledger: What the run's ledger counted; reservations are left out, as they are bounds that
            mostly come back.
        budget: The caps.
    """
    return Traffic(
        requests_per_minute=pacer.requests_per_minute,
        tokens_per_minute=pacer.tokens_per_minute,
        request_limit=pacer.limit_requests,
        token_limit=pacer.limit_tokens,
        n_in_flight=pacer.in_flight,
        n_calls=ledger.spent.n_calls,
        n_tokens=ledger.spent.tokens,
        cost_usd=ledger.spent.cost_usd,
        max_calls=budget.max_calls,
        max_tokens=budget.max_tokens,
        max_cost_usd=budget.max_cost_usd,
    )
