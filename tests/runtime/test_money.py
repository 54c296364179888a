"""Caps on spending and limits per minute hold over a whole run, wherever it runs."""

from __future__ import annotations

import pandas as pd
import pytest

from rddg_ray.config import EmbeddedSettings
from rddg_ray.errors import BudgetError
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.llm.journal import spent
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.pipeline import generate_rows
from rddg_ray.runtime.tables import prepare

PRICES = {"prompt_usd_per_million": 2.0, "completion_usd_per_million": 8.0}


def started(configure, path, executor, server, **endpoint):
    settings = configure(
        path,
        methods=["epic", "rddg"],
        generation={"rows_per_class": {"ill": 40, "odd": 20}, "max_completion_tokens": 1500},
        endpoint={"base_url": server.base_url, **endpoint},
    )
    tables = {"people": prepare(settings.tables[0]).train}
    return generate_rows(settings, tables, executor)


def cost_usd(usage):
    return (2.0 * usage.prompt_tokens + 8.0 * usage.completion_tokens) / 1e6


def check_cap(configure, published, tmp_path, make_executor):
    with serve_in_thread(EmbeddedSettings()) as server:
        whole = started(configure, tmp_path / "whole", LocalExecutor(), server)
    needed = cost_usd(whole.usage)
    with serve_in_thread(EmbeddedSettings()) as server:
        path, cap = tmp_path / "capped", 0.5 * needed
        with pytest.raises(BudgetError, match="max_cost_usd"):
            started(configure, path, make_executor(), server,
                    budget={**PRICES, "max_cost_usd": cap})  # fmt: skip
        paid = spent(path / "journal")
        n_paid = server.n_requests
        assert 0 < n_paid < whole.usage.n_calls
        assert cost_usd(paid.usage) <= cap
        # Raising the cap goes on, and no call is paid twice.
        started(configure, path, make_executor(), server,
                budget={**PRICES, "max_cost_usd": 2 * needed})  # fmt: skip
        assert server.n_requests == whole.usage.n_calls
    for method in ("epic", "rddg"):
        key = f"rows/people/{method}"
        pd.testing.assert_frame_equal(published(path)[key], published(whole.path)[key])


def test_spending_stops_at_the_cap_and_goes_on_under_a_higher_one(tmp_path, configure, published):
    check_cap(configure, published, tmp_path, LocalExecutor)


@pytest.mark.ray
@pytest.mark.slow
def test_a_cap_holds_over_all_actors_on_ray(tmp_path, configure, published, on_ray):
    check_cap(configure, published, tmp_path, on_ray)


@pytest.mark.ray
@pytest.mark.slow
def test_actors_share_the_endpoints_limit_and_are_not_refused(tmp_path, configure, on_ray):
    limits = EmbeddedSettings(requests_per_minute=240, policy="second_bucket")
    with serve_in_thread(limits) as server:
        result = started(configure, tmp_path / "run", on_ray(), server,
                         limits={"requests_per_minute": 240})  # fmt: skip
        assert server.n_requests == result.usage.n_calls
        assert set(server.statuses) == {200}
