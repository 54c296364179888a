"""Do synthetic rows look like real ones: column by column, and pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rddg_ray.errors import DataError
from rddg_ray.schema import Column
from rddg_ray.table import Table

FLOOR = "bootstrap of real rows"
ALL = "all"

# Equal bins do not change when both sides are scaled by the real mean and standard deviation, as
# is usual before: so nothing is scaled.
_N_BINS = 50
_KL_FLOOR = 1e-6


def divergence(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Return KL(real || synthetic) of two shares over the same bins, in nats.

    Args:
        real: Counts or shares, shape `(n_bins,)`.
        synthetic: The same bins of the synthetic rows; 1e-6 is added to its shares, so that an
            empty bin costs much but not infinitely.

    Returns:
        At least about 0; 13.8 for disjoint rows.

    References:
        Cover & Thomas (2006), Elements of Information Theory, section 2.3.
    """
    p, q = real / real.sum(), synthetic / synthetic.sum() + _KL_FLOOR
    known = p > 0
    return float(np.sum(p[known] * np.log(p[known] / q[known])))


def column_figures(column: Column, real: pd.Series, synthetic: pd.Series) -> dict[str, float]:
    """Return how one column differs between real and synthetic rows.

    Args:
        column: What the column is.
        real: Canonical cells of real rows, shape `(n_rows,)`.
        synthetic: Canonical cells of synthetic rows, shape `(m_rows,)`.

    Returns:
        `kl` (50 equal bins over the union of both ranges, or one a category), `distance` (the
        Kolmogorov-Smirnov statistic of numbers, the total variation of categories, in [0, 1]),
        `missing_difference` (share missing, synthetic minus real), and for numbers
        `mean_difference` and `std_ratio`, in units of the real standard deviation.

    Raises:
        DataError: If either side has no row.
    """
    if len(real) == 0 or len(synthetic) == 0:
        raise DataError(f"column {column.name!r}: there are no rows to compare")
    missing = float(synthetic.isna().mean() - real.isna().mean())
    figures = {"missing_difference": missing}
    known, made = real.dropna(), synthetic.dropna()
    if len(known) == 0 or len(made) == 0:
        return figures
    if column.kind in ("numerical", "datetime"):
        return figures | _number_figures(known.to_numpy(float), made.to_numpy(float))
    return figures | _category_figures(known, made)


def _number_figures(real: np.ndarray, synthetic: np.ndarray) -> dict[str, float]:
    from scipy.stats import ks_2samp

    low, high = min(real.min(), synthetic.min()), max(real.max(), synthetic.max())
    edges = np.linspace(low, high, _N_BINS + 1) if high > low else np.array([low, low + 1.0])
    counts = [np.histogram(values, edges)[0] for values in (real, synthetic)]
    spread = real.std() or 1.0
    return {
        "kl": divergence(*counts),
        # The p-value is not used, so its cheap form will do.
        "distance": float(ks_2samp(real, synthetic, method="asymp").statistic),
        "mean_difference": float((synthetic.mean() - real.mean()) / spread),
        "std_ratio": float(synthetic.std() / spread),
    }


def _category_figures(real: pd.Series, synthetic: pd.Series) -> dict[str, float]:
    values = sorted(set(real) | set(synthetic))
    shares = [
        part.value_counts(normalize=True).reindex(values, fill_value=0.0).to_numpy()
        for part in (real, synthetic)
    ]
    return {
        "kl": divergence(*shares),
        "distance": float(np.abs(shares[0] - shares[1]).sum() / 2),
    }


def correlations(real: Table, synthetic: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return Pearson coefficients of the target and the features of both tables.

    Categories count as their position in text order over both tables, missing numbers as the
    real mean, as the paper's own figures do; a column without spread correlates with nothing.

    Returns:
        Two matrices, shape `(1 + n_features, 1 + n_features)`, in `prompt_columns` order.
    """
    coded = [_coded(column, real, synthetic) for column in real.prompt_columns]
    return _pearson(np.column_stack([c[0] for c in coded])), _pearson(
        np.column_stack([c[1] for c in coded])
    )


def _coded(column: Column, real: Table, synthetic: Table) -> tuple[np.ndarray, np.ndarray]:
    parts = [real.frame[column.name], synthetic.frame[column.name]]
    if column.kind in ("numerical", "datetime"):
        fill = float(parts[0].mean()) if parts[0].notna().any() else 0.0
        first, second = (part.fillna(fill).to_numpy(dtype=np.float64) for part in parts)
        return first, second
    texts = [part.fillna("").to_list() for part in parts]
    codes = {text: float(code) for code, text in enumerate(sorted(set(texts[0]) | set(texts[1])))}
    first, second = (np.array([codes[text] for text in cells]) for cells in texts)
    return first, second


def _pearson(X: np.ndarray) -> np.ndarray:
    centred = X - X.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0))
    # Rounding leaves a constant column a norm near 1e-14 of its size, not 0.
    is_flat = norms <= 1e-9 * np.sqrt(len(X)) * np.maximum(1.0, np.abs(X).max(axis=0))
    scaled = np.where(is_flat, 0.0, centred / np.where(is_flat, 1.0, norms))
    matrix: np.ndarray = np.clip(scaled.T @ scaled, -1.0, 1.0)
    np.fill_diagonal(matrix, 1.0)
    return matrix


def compare(
    train: Table, synthetic: Table, *, method: str, generator_state: int, scope: str = ALL
) -> list[dict[str, Any]]:
    """Return the fidelity figures of synthetic rows against the real training rows.

    Args:
        train: Real training rows.
        synthetic: Synthetic rows under the same schema.
        method: What made them.
        generator_state: Its random state.
        scope: `all`, or the class whose rows alone are compared.

    Returns:
        One row a figure: `dataset`, `method`, `generator_state`, `column` (or `all`), `metric`,
        `scope`, `value`. Figures of `column_figures` for each feature; for `all` their mean
        `kl` and `distance`, and `correlation_frobenius` and `correlation_rmse` over all
        entries. Empty where either side has fewer than two rows of the scope.
    """
    real, made = (_of_class(table, scope) for table in (train, synthetic))
    if min(len(real), len(made)) < 2:
        return []
    figures = {
        column.name: column_figures(column, real.frame[column.name], made.frame[column.name])
        for column in train.features
    }
    first, second = correlations(real, made)
    whole = {"correlation_frobenius": float(np.linalg.norm(first - second))}
    whole["correlation_rmse"] = whole["correlation_frobenius"] / len(first)
    for metric in ("kl", "distance"):
        values = [mine[metric] for mine in figures.values() if metric in mine]
        whole[metric] = float(np.mean(values)) if values else float("nan")
    names = {
        "dataset": train.name,
        "method": method,
        "generator_state": generator_state,
        "scope": scope,
    }
    pairs = [*figures.items(), (ALL, whole)]
    return [
        {**names, "column": column, "metric": metric, "value": value}
        for column, found in pairs
        for metric, value in found.items()
    ]


def floor(
    train: Table, n_rows: int, *, scope: str = ALL, random_state: int = 0
) -> list[dict[str, Any]]:
    """Return the figures of real training rows drawn again, the best that copying can do.

    A plain bootstrap is close to perfect in every figure here and adds nothing to learn from;
    a method's figures mean something only beside it.

    Args:
        train: Real training rows.
        n_rows: Rows to draw with replacement, as many as the method made.
        scope: As in `compare`.
        random_state: Seeds the draw.
    """
    positions = np.flatnonzero(train.labels == scope) if scope != ALL else np.arange(len(train))
    if len(positions) == 0:
        return []
    drawn = np.random.default_rng(random_state).choice(positions, size=n_rows)
    return compare(
        train, train.take(drawn), method=FLOOR, generator_state=random_state, scope=scope
    )


def _of_class(table: Table, scope: str) -> Table:
    return table if scope == ALL else table.take(np.flatnonzero(table.labels == scope))
