"""Checks of limits, prices and caps, and of what the run would take under them."""

from __future__ import annotations

from urllib.parse import urlsplit

from rddg_ray.config import EndpointSettings, RunSettings, TableSettings
from rddg_ray.errors import RddgError
from rddg_ray.exchange import RateHeaders
from rddg_ray.llm.client import is_loopback
from rddg_ray.llm.rates import per_minute
from rddg_ray.runtime.doctor.record import Check, failed, ok, warning
from rddg_ray.runtime.forecast import Forecast, forecast
from rddg_ray.runtime.previewing import preview_run

_UNKNOWN = (
    "learned from the endpoint's headers if it sends any; else the calls in flight grow until it "
    "refuses some (429), and shrink then"
)


def check_limits(settings: EndpointSettings, rate: RateHeaders | None, *, is_called: bool) -> Check:
    """Compare limits of the settings with those that a reply told of.

    Args:
        settings: The endpoint's.
        rate: What the headers of a reply told, or None.
        is_called: Whether there was a reply.
    """
    given = {
        "requests": settings.limits.requests_per_minute,
        "tokens": settings.limits.tokens_per_minute,
    }
    told = _told(rate)
    data = {"settings": given, "endpoint": told, "max_concurrency": settings.max_concurrency}
    unsaid = "tells of none" if is_called else "not asked (--call)"
    figure = (
        f"settings: {_shown(given) or 'none'}; endpoint: {_shown(told) or unsaid}; "
        f"{settings.max_concurrency} calls in flight at most"
    )
    above = [
        f"endpoint.limits.{kind}_per_minute {limit:,} is above the endpoint's {known:,}"
        for kind, limit in given.items()
        if limit is not None and (known := told[kind]) is not None and limit > known
    ]
    if above:
        advice = "lower it, or leave it out to go by the endpoint's"
        return warning("limits", figure, f"{'; '.join(above)}: {advice}", **data)
    if not any((*given.values(), *told.values())):
        said = " (it told of none with the call)" if is_called else ""
        return ok("limits", f"none known{said}: {_UNKNOWN}", **data)
    return ok("limits", figure, **data)


def _told(rate: RateHeaders | None) -> dict[str, int | None]:
    if rate is None:
        return {"requests": None, "tokens": None}
    return {
        "requests": per_minute(rate.limit_requests, rate.reset_requests_s),
        "tokens": per_minute(rate.limit_tokens, rate.reset_tokens_s),
    }


def _shown(limits: dict[str, int | None]) -> str:
    known = [f"{limit:,} {kind}" for kind, limit in limits.items() if limit is not None]
    return f"{' and '.join(known)} a minute" if known else ""


def check_budget(settings: EndpointSettings) -> Check:
    """Say which prices and caps are set, and warn where money could be spent without a cap."""
    budget = settings.budget
    caps = {name: getattr(budget, name) for name in ("max_cost_usd", "max_tokens", "max_calls")}
    known = [f"{name} {cap:,g}" for name, cap in caps.items() if cap is not None]
    has_prices = budget.prompt_usd_per_million is not None
    figure = f"{', '.join(known) or 'no cap'}; {'prices set' if has_prices else 'no prices set'}"
    data = {**caps, "has_prices": has_prices}
    host = urlsplit(settings.base_url or "").hostname or ""
    if settings.kind == "openai" and not known and not is_loopback(host):
        advice = "set endpoint.budget.max_cost_usd with the prices, or max_tokens or max_calls"
        return warning("budget", figure, advice, **data)
    return ok("budget", figure, **data)


def check_plan(settings: RunSettings) -> tuple[Check, Forecast | None]:
    """Read the tables and say what the run would take; tables elsewhere are left alone."""
    remote = [entry.label for entry in settings.tables if _is_remote(entry)]
    if remote:
        figure = f"not read, because they are fetched over the network: {', '.join(remote)}"
        return ok("plan", figure, remote=remote), None
    try:
        expected = preview_run(settings).effort
        ahead = forecast(expected, settings.endpoint, settings.generation)
    except RddgError as error:
        return failed("plan", error), None
    usage = expected.usage
    tokens = usage.prompt_tokens + usage.completion_tokens
    cost = "" if ahead.cost_usd is None else f", about {ahead.cost_usd:.4f} USD"
    figure = (
        f"tables {len(settings.tables)}, chains {expected.n_chains}, calls at least "
        f"{usage.n_calls}, about {tokens:,} tokens{cost}"
    )
    data = {"n_calls": usage.n_calls, "n_tokens": tokens, "cost_usd": ahead.cost_usd}
    if ahead.early_ends:
        advice = "; ".join(ahead.early_ends)
        return warning("plan", figure, advice, **data), ahead
    return ok("plan", figure, **data), ahead


def _is_remote(entry: TableSettings) -> bool:
    paths = (entry.path, entry.test_path)
    return entry.url is not None or any(path is not None and "://" in path for path in paths)
