"""How strongly columns are associated, as numbers."""

from __future__ import annotations

from collections.abc import Sequence

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


def correlation_ratio(groups: NDArray[np.int64], values: Floats) -> float:
    """Return how much of a number's spread a category explains (eta).

    Args:
        groups: Category of each row as an integer from 0; negative is missing. Shape `(n_rows,)`.
        values: Number of each row, NaN is missing. Shape `(n_rows,)`.

    Returns:
        Square root of the between-group share of the sum of squares, in [0, 1]; 0 where the
        number is constant or no row has both.

    References:
        Fisher (1925), Statistical Methods for Research Workers, section 45.
    """
    both = (groups >= 0) & ~np.isnan(values)
    if not both.any():
        return 0.0
    scaled = _scaled(values[both, None], np.ones((int(both.sum()), 1), dtype=bool))[:, 0]
    scaled = scaled - scaled.mean()
    total = float(scaled @ scaled)
    if total <= _CONSTANT * len(scaled):
        return 0.0
    counts = np.bincount(groups[both])
    sums = np.bincount(groups[both], weights=scaled)
    between = float((sums[counts > 0] ** 2 / counts[counts > 0]).sum())
    return float(np.sqrt(min(between / total, 1.0)))


def cramers_v(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Return Cramér's V of two categorical columns.

    Args:
        first: Category of each row as an integer from 0; negative is missing. Shape `(n_rows,)`.
        second: The other column's, same shape.

    Returns:
        Association in [0, 1]; 0 where either has one category only over the common rows.

    References:
        Cramér (1946), Mathematical Methods of Statistics, p. 282.
    """
    both = (first >= 0) & (second >= 0)
    if not both.any():
        return 0.0
    width = int(second[both].max()) + 1
    pairs = np.bincount(first[both] * width + second[both], minlength=width)
    table = np.resize(pairs, (-(-len(pairs) // width), width)).astype(np.float64)
    table.flat[len(pairs) :] = 0.0
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    smaller = min(table.shape) - 1
    if smaller == 0:
        return 0.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    chi_squared = float(((table - expected) ** 2 / expected).sum())
    return float(np.sqrt(min(chi_squared / (table.sum() * smaller), 1.0)))


def associations(columns: Sequence[Column], values: Sequence[Sequence[object]]) -> Floats:
    """Return the strength of association of every pair of columns, whatever their kinds.

    Args:
        columns: Columns of kind numerical, datetime, categorical or boolean.
        values: Canonical values of each column, missing as None or NaN, all of one length.

    Returns:
        Symmetric matrix, shape `(n_columns, n_columns)`, in [0, 1]: the absolute Pearson
        correlation of two numbers, the correlation ratio of a number and a category, Cramér's V
        of two categories.
    """
    numbers = {
        i: np.array(values[i], dtype=np.float64) for i, c in enumerate(columns) if is_number(c)
    }
    groups = {i: _groups(c, values[i]) for i, c in enumerate(columns) if i not in numbers}
    result = np.zeros((len(columns), len(columns)))
    if numbers:
        places = np.array(list(numbers))
        result[np.ix_(places, places)] = np.abs(pearson(np.column_stack(list(numbers.values()))))
    for i, mine in groups.items():
        for j in range(len(columns)):
            if j in numbers:
                result[i, j] = result[j, i] = correlation_ratio(mine, numbers[j])
            elif j >= i:
                result[i, j] = result[j, i] = cramers_v(mine, groups[j])
    return result


def is_number(column: Column) -> bool:
    """Return whether a column's canonical values are numbers (datetimes are, in seconds)."""
    return column.kind in ("numerical", "datetime")


def _groups(column: Column, values: Sequence[object]) -> NDArray[np.int64]:
    places: dict[object, int] = {category: i for i, category in enumerate(column.categories)}
    return np.array([places.get(value, -1) for value in values], dtype=np.int64)
