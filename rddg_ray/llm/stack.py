"""The whole stack around one client, in the order that keeps its promises."""

from __future__ import annotations

from rddg_ray.config import EndpointSettings
from rddg_ray.exchange import Endpoint
from rddg_ray.llm.breaker import Breaker, BreakingEndpoint
from rddg_ray.llm.budget import BudgetedEndpoint, Ledger, Prices
from rddg_ray.llm.journal import Journal, JournaledEndpoint, MarkingEndpoint
from rddg_ray.llm.limiter import LimitedEndpoint, LocalPacer, Pacer
from rddg_ray.llm.retry import RetryingEndpoint


def stacked(
    client: Endpoint,
    settings: EndpointSettings,
    journal: Journal,
    ledger: Ledger,
    *,
    pacer: Pacer | None = None,
    breaker: Breaker | None = None,
    owner: str = "",
) -> Endpoint:
    """Return the client with every wrapper around it.

    Outermost first:

    - `JournaledEndpoint`: one flight a call; a reply is durable before anyone sees it;
    - `RetryingEndpoint`: everything below counts attempts, not calls;
    - `BreakingEndpoint`: attempts wait while the endpoint is down, and reserve nothing yet;
    - `LimitedEndpoint`: paces attempts, bounds how many fly or are about to, and keeps refusals
      for its limits (429) to itself;
    - `BudgetedEndpoint`: an attempt that timed out is charged, and so is the one after it; what
      waits above reserves nothing, so it is not taken for spent where this process dies;
    - `MarkingEndpoint`: what waits above is not in flight; what is, is on record.

    Args:
        client: What makes the calls.
        settings: Attempts, prices, limits and calls at once.
        journal: This process's own; closed with the endpoint.
        ledger: The run's.
        pacer: The run's; one of this process's own by default.
        breaker: Of this process; one of its own by default.
        owner: Name of this process at the ledger.
    """
    patience_s = settings.give_up_after_s
    breaker = breaker or Breaker(give_up_after_s=patience_s)
    inner: Endpoint = MarkingEndpoint(client, journal)
    inner = BudgetedEndpoint(inner, ledger, Prices.from_settings(settings.budget), owner)
    inner = LimitedEndpoint(
        inner,
        pacer or LocalPacer.of(settings),
        tpm_accounting=settings.limits.tpm_accounting,
        max_concurrency=settings.max_concurrency,
        is_down=lambda: breaker.is_open,
        max_refused_s=patience_s,
    )
    inner = BreakingEndpoint(inner, breaker)
    inner = RetryingEndpoint(inner, settings.max_attempts)
    return JournaledEndpoint(inner, journal)
