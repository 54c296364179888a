"""What each method of a run cost, as the paper counts it: tokens, money, seconds by prompt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from rddg_ray.config import BudgetSettings
from rddg_ray.evaluation.paper_tables import COST_COLUMNS
from rddg_ray.exchange import Usage
from rddg_ray.llm.budget import Prices
from rddg_ray.llm.journal.schema import opened_files

_PHASES = ("relations", "constraints", "generation")
_QUERY = (
    "SELECT chain, phase, count(*), total(prompt_tokens), total(completion_tokens), "
    "total(cached_tokens), total(latency_s) FROM calls WHERE dataset = ? GROUP BY chain, phase"
)


def costs_of(
    journal: Path, dataset: str, generator_states: Collection[int], budget: BudgetSettings
) -> pd.DataFrame:
    """Return a row a method: means over its generator states.

    Args:
        journal: The run's folder of replies.
        dataset: Name of the table.
        generator_states: Those that count; replies for others may be on record.
        budget: Names the prices; without them `usd` is NaN.

    Returns:
        Columns `method` and `paper_tables.COST_COLUMNS`. The seconds are those that replies took,
        one after the other; a method without a phase has none for it.

    Raises:
        StoreError: If a journal cannot be read.
    """
    usage: defaultdict[str, Usage] = defaultdict(Usage)
    seconds: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    states: defaultdict[str, set[str]] = defaultdict(set)
    wanted = {f"g{state}" for state in generator_states}
    for _, db in opened_files(journal):
        for chain, phase, *tokens, latency_s in db.execute(_QUERY, (dataset,)):
            method, state, _ = str(chain).split("/")
            if state in wanted:
                usage[method] += Usage(*(int(number) for number in tokens))
                seconds[method][phase] += latency_s
                states[method].add(state)
    prices = Prices.from_settings(budget)
    rows = [
        _row(method, usage[method], seconds[method], len(states[method]), prices)
        for method in sorted(usage)
    ]
    return pd.DataFrame(rows, columns=["method", *COST_COLUMNS])


def _row(
    method: str, usage: Usage, seconds: dict[str, float], n_states: int, prices: Prices | None
) -> dict[str, object]:
    tokens = usage.prompt_tokens + usage.completion_tokens
    return {
        "method": method,
        "tokens": tokens / n_states,
        "usd": float("nan") if prices is None else prices.cost_usd(usage) / n_states,
        **{f"{p}_s": seconds[p] / n_states if p in seconds else float("nan") for p in _PHASES},
        "total_s": sum(seconds.values()) / n_states,
    }
