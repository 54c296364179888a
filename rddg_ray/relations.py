"""How strongly columns are associated, as numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rddg_ray.schema import Column

Floats = NDArray[np.float64]

# A column whose variance is this small a share of its largest square is rounding error.
_CONSTANT = 1e-12


def pearson(values: Floats, weights: Floats | None = None) -> Floats:
    """Return Pearson correlations between columns.

    Args:
        values: Columns of numbers, shape `(n_rows, n_columns)`; NaN is missing. Each pair is
            computed over the rows that have both.
        weights: Weight of each row, shape `(n_rows,)`; equal ones by default.

    Returns:
        Symmetric matrix of shape `(n_columns, n_columns)` in [-1, 1]. A pair is 0 where one of
        the two is constant over their common rows, the diagonal entry of such a column too.
    """
    known = ~np.isnan(values)
    present = known.astype(np.float64)
    scaled = _scaled(values, known)
    row_weights = np.ones(len(values)) if weights is None else weights
    weighted = present * row_weights[:, None]
    total = weighted.T @ present
    sums = (scaled * row_weights[:, None]).T @ present  # of column i over the rows that have j
    squares = (scaled**2 * row_weights[:, None]).T @ present
    products = (scaled * row_weights[:, None]).T @ scaled
    safe = np.where(total > 0, total, 1.0)
    variance = squares / safe - (sums / safe) ** 2
    covariance = products / safe - sums * sums.T / safe**2
    varies = (variance > _CONSTANT) & (variance.T > _CONSTANT)
    scale = np.sqrt(np.where(varies, variance * variance.T, 1.0))
    correlations: Floats = np.where(varies, np.clip(covariance / scale, -1.0, 1.0), 0.0)
    return correlations


def _scaled(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return columns scaled to [-1, 1], missing as 0; a constant column is all zero."""
    # On this scale squares neither over- nor underflow.
    if len(values) == 0:
        return values
    low = np.where(known, values, np.inf).min(axis=0)
    high = np.where(known, values, -np.inf).max(axis=0)
    varies = high > low
    low, high = np.where(varies, low, 0.0), np.where(varies, high, 0.0)
    centred = np.where(known & varies, values - (low / 2 + high / 2), 0.0)
    scaled: Floats = centred / np.where(varies, high / 2 - low / 2, 1.0)
    return scaled


def is_number(column: Column) -> bool:
    """Return whether a column's canonical values are numbers (datetimes are, in seconds)."""
    return column.kind in ("numerical", "datetime")
