"""Fidelity and privacy figures as tables of the page, beside how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.evaluation.readings import ALL, METRICS, Metric
from rddg_ray.evaluation.report.tables import TableView

LIKENESS_METRICS = (
    "column_similarity", "ks_complement", "tv_complement", "js", "kl", "association_rmse",
    "association_max", "correlation_frobenius", "correlation_rmse", "correlation_mae",
    "correlation_max", "correlation_similarity", "contingency_similarity",
)  # fmt: skip
PRIVACY_METRICS = (
    "copy_share", "near_copy_share", "prompt_copy_share", "dcr_share", "dcr_median", "nndr_median",
    "attack_auc", "attack_tpr",
)  # fmt: skip
SHORT_LIKENESS = ("column_similarity", "js", "kl", "association_rmse", "correlation_rmse")
SHORT_PRIVACY = ("copy_share", "near_copy_share", "dcr_share", "attack_auc", "attack_tpr")

_NUMBERS = ("value", "low", "high", "matched", "ceiling", "floor", "n_matched")


def of_whole(figures: pd.DataFrame, scope: str) -> pd.DataFrame:
    """Return one row a method and metric over all columns of a scope, states averaged."""
    mine = figures[(figures["scope"] == scope) & (figures["column"] == ALL)]
    numbers = mine.astype(dict.fromkeys(_NUMBERS, "float64"))
    spread = {"low": "min", "high": "max"}
    how = {name: spread.get(name, "mean") for name in _NUMBERS}
    return numbers.groupby(["method", "metric"], sort=False, as_index=False).agg(how)


def reading_table(
    figures: pd.DataFrame, method: str, scope: str, metrics: Sequence[str], of_whom: str
) -> TableView:
    """Return one method's figures, one a row, each with what it means and its yardsticks.

    Args:
        figures: Rows of `readings.FIGURE_COLUMNS` of one table.
        method: Whose.
        scope: `all` or `rare`.
        metrics: Which, in order; those without figures are left out.
        of_whom: The scope in words.
    """
    whole = of_whole(figures, scope)
    found = whole[whole["method"] == method].set_index("metric").to_dict("index")
    known = [metric for metric in metrics if metric in found]
    is_matched = any(not np.isnan(found[metric]["matched"]) for metric in known)
    size = next((found[m]["n_matched"] for m in known), float("nan"))
    head = [f"Figures of {method}", "Over all rows" if is_matched else "Figure"]
    head += [f"At {size:,.0f} rows a side"] if is_matched else []
    view = TableView(
        f"{method}, {of_whom}. New real rows: held-out rows in place of the synthetic ones. Plain "
        "copies: training rows drawn again."
        + (" Both at the same number of rows as the column before them." if is_matched else ""),
        (*head, "New real rows", "Plain copies", "Better"),
    )
    for metric in known:
        cells = found[metric]
        row: list[Any] = [(METRICS[metric].label, METRICS[metric].meaning), _with_interval(
            METRICS[metric], cells)]  # fmt: skip
        names = ("matched", "ceiling", "floor") if is_matched else ("ceiling", "floor")
        row += [shown(METRICS[metric], cells[name]) for name in names]
        view.rows.append([*row, direction(METRICS[metric])])
    return view


def methods_table(
    figures: pd.DataFrame, scope: str, metrics: Sequence[str], of_whom: str
) -> TableView:
    """Return the methods side by side; below each figure what new real rows reach."""
    whole = of_whole(figures, scope)
    heads = [(METRICS[metric].label, f"{direction(METRICS[metric])} is better")
             for metric in metrics]  # fmt: skip
    at_size = ", at the same number of rows" if whole["matched"].notna().any() else ""
    caption = f"Every method, {of_whom}; below, what new real rows reach{at_size}."
    view = TableView(caption, ("Method", *heads))
    for method, group in whole.groupby("method", sort=False):
        cells = group.set_index("metric").to_dict("index")
        view.rows.append([str(method), *(_pair(METRICS[m], cells.get(m)) for m in metrics)])
    return view


def _pair(metric: Metric, cells: dict[str, float] | None) -> str | tuple[str, str]:
    if cells is None:
        return ""
    mine = cells["value"] if np.isnan(cells["matched"]) else cells["matched"]
    return shown(metric, mine), f"real {shown(metric, cells['ceiling'])}"


def _with_interval(metric: Metric, cells: dict[str, float]) -> str | tuple[str, str]:
    value = shown(metric, cells["value"])
    if np.isnan(cells["low"]):
        return value
    return value, f"[{shown(metric, cells['low'])}, {shown(metric, cells['high'])}]"


def shown(metric: Metric, value: float) -> str:
    """Return a figure as text; empty where there is none."""
    if np.isnan(value):
        return ""
    return f"{100 * value:.1f}%" if metric.is_share else f"{value:.3f}"


def direction(metric: Metric) -> str:
    """Return which way a figure is better, in a word or two."""
    if metric.higher_is_better is None:
        return f"near {metric.ideal:g}" if metric.ideal is not None else "near new real rows"
    return "higher" if metric.higher_is_better else "lower"
