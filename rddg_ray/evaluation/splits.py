"""Differences over repeated splits: what another split might have said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.errors import DataError
from rddg_ray.evaluation.summary import in_order, paired_difference, with_holm
from rddg_ray.evaluation.utility import METRICS

_LEVEL = 0.95


def summarise_splits(
    fits: pd.DataFrame, tables: Mapping[str, str], *, reference: str = "original"
) -> pd.DataFrame:
    """Return one row a table, method and metric over several splits of the same table.

    Each split is a data set of the fits, with its own training rows, its own generated rows and
    its own test rows, so that nothing is learned from what is tested on. Within a split each fit
    is paired with the reference's fit of the same classifier and state. The splits' differences
    share most of their training rows, so that their spread alone promises too much: the variance
    of their mean is s^2 (1/J + n_test/n_train) for J splits, with J - 1 degrees of freedom.
    Test rows and splits are both in that spread, so no bootstrap is added.

    Args:
        fits: Rows of `fits.fit_cell`.
        tables: The table that each data set of the fits is a split of.
        reference: The method that the others are compared with.

    Returns:
        Columns `dataset` (the table), `method`, `metric`, `mean` and `std` over the splits' means,
        `n_splits`, `difference`, `low` and `high` (95% interval), `p_value` and `p_holm` (as
        `summary.summarise`). NaN where fewer than two splits have a figure.

    Raises:
        DataError: If there are no fits, or a data set is not named in `tables`.

    References:
        Nadeau & Bengio (2003), Inference for the generalization error, Machine Learning 52.
    """
    if len(fits) == 0:
        raise DataError("there are no fits to summarise; evaluate first")
    if unknown := sorted(set(fits["dataset"]) - set(tables)):
        raise DataError(f"data set {unknown[0]!r} is not named as a split of any table")
    named = fits.assign(**{m: np.nan for m in METRICS if m not in fits.columns})
    named = named.assign(table=named["dataset"].map(dict(tables)))
    rows: list[dict[str, Any]] = []
    for table, mine in named.groupby("table", sort=False):
        for method in in_order(mine["method"]):
            parts = _parts(mine, method, reference)
            rows += [
                {"dataset": table, "method": method, "metric": metric, **_over(parts, metric)}
                for metric in METRICS
            ]
    return with_holm(pd.DataFrame(rows))


def _parts(
    fits: pd.DataFrame, method: str, reference: str
) -> list[tuple[pd.DataFrame, pd.DataFrame | None]]:
    """Return each split's fits of the method beside the reference's, None for itself."""
    parts = []
    for _, split in fits.groupby("dataset", sort=False):
        mine = split[split["method"] == method]
        base = None if method == reference else split[split["method"] == reference]
        if len(mine):
            parts.append((mine, base))
    return parts


def _over(parts: list[tuple[pd.DataFrame, pd.DataFrame | None]], metric: str) -> dict[str, float]:
    means = np.array([mine[metric].mean() for mine, _ in parts])
    gaps = np.array(
        [paired_difference(mine, base, metric) for mine, base in parts if base is not None]
    )
    ratio = float(np.mean([(mine["n_test"] / mine["n_train"]).mean() for mine, _ in parts]))
    known = means[~np.isnan(means)]
    return {
        "mean": float(known.mean()) if len(known) else np.nan,
        "std": float(known.std(ddof=1)) if len(known) > 1 else np.nan,
        "n_splits": len(parts),
        **_corrected(gaps[~np.isnan(gaps)], ratio),
    }


def _corrected(gaps: np.ndarray, test_over_train: float) -> dict[str, float]:
    from scipy.stats import t

    found = dict.fromkeys(("difference", "low", "high", "p_value"), np.nan)
    if not len(gaps):
        return found
    mean = float(gaps.mean())
    found["difference"] = mean
    if len(gaps) < 2:
        return found
    error = float(np.sqrt(gaps.var(ddof=1) * (1 / len(gaps) + test_over_train)))
    reach = error * float(t.ppf((1 + _LEVEL) / 2, len(gaps) - 1))
    # Where all splits differ alike there is no spread to divide by.
    if error > 0:
        p_value = 2 * float(t.sf(abs(mean) / error, len(gaps) - 1))
    else:
        p_value = 1.0 if mean == 0 else 0.0
    return found | {"low": mean - reach, "high": mean + reach, "p_value": p_value}
