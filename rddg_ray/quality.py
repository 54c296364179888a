"""How a synthetic batch compares with its reference: the three measures of section 3.4.

Statistical consistency (means and standard deviations), correlation preservation (Pearson
coefficients between columns) and distribution consistency (Kolmogorov-Smirnov statistic of
numbers, total variation distance of categories), for every class and overall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rddg_ray.measuring import Floats, Gauge, Measured
from rddg_ray.relations import is_number, pearson

# Fewer values than this on either side tell nothing: the difference is NaN, "cannot tell".
MIN_VALUES = 5


@dataclass(frozen=True)
class Comparison:
    """Synthetic rows against reference rows, of one class or overall.

    Shapes are `(n_numbers,)`, `(n_numbers, n_numbers)` or, for shares, `(n_slots,)`.

    Attributes:
        label: The class, or None for overall.
        n_real: Reference rows.
        n_synthetic: Synthetic rows.
        mean_real: Means of the reference, in the columns' units.
        mean_synthetic: Means of the synthetic rows.
        std_real: Standard deviations (n - 1) of the reference.
        std_synthetic: Standard deviations of the synthetic rows.
        correlation_real: Pearson coefficients of the reference.
        correlation_synthetic: Pearson coefficients of the synthetic rows.
        share_real: Share of each slot's value in the reference, in [0, 1].
        share_synthetic: Share in the synthetic rows.
        mean_difference: Difference of means in reference standard deviations.
        std_difference: Difference of standard deviations relative to the reference's.
        correlation_difference: Absolute difference of coefficients.
        ks: Two-sample Kolmogorov-Smirnov statistic, in [0, 1].
        total_variation: Distance of the shares, shape `(n_groups,)`, in [0, 1].

    The differences are NaN where fewer than `MIN_VALUES` values are known on a side, and for
    correlations also where a column is constant on a side.
    """

    label: str | None
    n_real: int
    n_synthetic: int
    mean_real: Floats
    mean_synthetic: Floats
    std_real: Floats
    std_synthetic: Floats
    correlation_real: Floats
    correlation_synthetic: Floats
    share_real: Floats
    share_synthetic: Floats
    mean_difference: Floats
    std_difference: Floats
    correlation_difference: Floats
    ks: Floats
    total_variation: Floats


@dataclass(frozen=True)
class Quality:
    """A batch against its reference.

    Attributes:
        overall: All compared classes together; None where only one is, which says the same.
        classes: Each class that has synthetic rows, in the table's order.
    """

    overall: Comparison | None = None
    classes: tuple[Comparison, ...] = ()


def compare(real: Measured, synthetic: Measured, gauge: Gauge) -> Quality:
    """Compare a batch with its reference, class by class and overall.

    Overall figures weight the reference rows so that its classes have the shares they have in
    the batch: rows asked of one class only must not look like a shift of every column.

    NOTE[DIFF]: the authors' scripts pool the classes as they come and correlate row i of one
    table with row i of the other, which are unrelated rows; we compare the correlation matrices
    of the two, and class by class as well.
    """
    present = [at for at in range(len(gauge.classes))
               if (synthetic.labels == at).any() and (real.labels == at).any()]  # fmt: skip
    classes = tuple([
        _compare(real.take(real.labels == at), synthetic.take(synthetic.labels == at), gauge,
                 label=gauge.classes[at])
        for at in present
    ])  # fmt: skip
    if len(present) < 2:
        return Quality(None, classes)
    mine = real.take(np.isin(real.labels, present))
    theirs = synthetic.take(np.isin(synthetic.labels, present))
    n_classes = len(gauge.classes)
    wanted = np.bincount(theirs.labels, minlength=n_classes)
    shown = np.maximum(np.bincount(mine.labels, minlength=n_classes), 1)
    return Quality(_compare(mine, theirs, gauge, weights=(wanted / shown)[mine.labels]), classes)


def _compare(
    real: Measured,
    synthetic: Measured,
    gauge: Gauge,
    *,
    label: str | None = None,
    weights: Floats | None = None,
) -> Comparison:
    mine = np.ones(len(real)) if weights is None else weights
    theirs = np.ones(len(synthetic))
    # A model may write a number whose square is beyond a float; the result then is infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        mean_real, std_real = moments(real.numbers, mine)
        mean_synthetic, std_synthetic = moments(synthetic.numbers, theirs)
        scale = _scale(std_real, std_synthetic)
        known, pairs = _enough(real.numbers, synthetic.numbers)
        varies = (std_real > 0) & (std_synthetic > 0)
        pairs &= varies[:, None] & varies
        r_real, r_synthetic = pearson(real.numbers, mine), pearson(synthetic.numbers, theirs)
        mean_difference = np.abs(mean_synthetic - mean_real) / scale
        std_difference = np.abs(std_synthetic - std_real) / _scale(std_real, std_synthetic)
    share_real, share_synthetic = _shares(real, mine, gauge), _shares(synthetic, theirs, gauge)
    is_enough = min(len(real), len(synthetic)) >= MIN_VALUES
    variation = _total_variation(share_real, share_synthetic, gauge)
    return Comparison(
        label=label,
        n_real=len(real),
        n_synthetic=len(synthetic),
        mean_real=mean_real,
        mean_synthetic=mean_synthetic,
        std_real=std_real,
        std_synthetic=std_synthetic,
        correlation_real=r_real,
        correlation_synthetic=r_synthetic,
        share_real=share_real,
        share_synthetic=share_synthetic,
        mean_difference=np.where(known, mean_difference, np.nan),
        std_difference=np.where(known, std_difference, np.nan),
        correlation_difference=np.where(pairs, np.abs(r_synthetic - r_real), np.nan),
        ks=np.where(known, ks_statistics(real.numbers, synthetic.numbers, mine), np.nan),
        total_variation=variation if is_enough else np.full(len(variation), np.nan),
    )


def moments(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return weighted means and standard deviations of columns.

    Args:
        values: Shape `(n_rows, n_columns)`; NaN is missing.
        weights: Weight of each row, shape `(n_rows,)`, not negative.

    Returns:
        Means, NaN for a column without values, and standard deviations, with n - 1 for equal
        weights, NaN for a column with fewer than two values. Both have shape `(n_columns,)`.
    """
    known = ~np.isnan(values)
    weighted = known * weights[:, None]
    total = weighted.sum(axis=0)
    safe = np.where(total > 0, total, 1.0)
    filled = np.where(known, values, 0.0)
    mean = np.where(total > 0, (filled * weighted).sum(axis=0) / safe, np.nan)
    # Of a constant column the mean can differ by rounding, which is no spread.
    constant = np.where(known, values, -np.inf).max(axis=0, initial=-np.inf) == np.where(
        known, values, np.inf
    ).min(axis=0, initial=np.inf)
    deviations = np.where(known & ~constant, filled - mean, 0.0)
    freedom = total - (weighted**2).sum(axis=0) / safe
    is_free = freedom > 1e-12 * safe
    variance = (deviations**2 * weighted).sum(axis=0) / np.where(is_free, freedom, 1.0)
    return mean, np.where(is_free, np.sqrt(variance), np.nan)


def ks_statistics(real: Floats, synthetic: Floats, weights: Floats | None = None) -> Floats:
    """Return two-sample Kolmogorov-Smirnov statistics, column by column.

    Args:
        real: Shape `(n_rows, n_columns)`; NaN is missing and left out.
        synthetic: Shape `(m_rows, n_columns)`.
        weights: Weight of each real row, shape `(n_rows,)`; equal ones by default.

    Returns:
        Largest difference of the two distribution functions, shape `(n_columns,)`, in [0, 1];
        NaN for a column without values on a side.
    """
    row_weights = np.ones(len(real)) if weights is None else weights
    mine = ~np.isnan(real) * row_weights[:, None]
    theirs = (~np.isnan(synthetic)).astype(np.float64)
    totals = mine.sum(axis=0), theirs.sum(axis=0)
    usable = (totals[0] > 0) & (totals[1] > 0)
    pooled = np.vstack([real, synthetic])
    order = np.argsort(pooled, axis=0, kind="stable")
    ordered = np.take_along_axis(pooled, order, axis=0)
    # Counts are summed before they are divided, so that equal samples differ by exactly 0.
    below = [
        np.take_along_axis(np.vstack(counts), order, axis=0).cumsum(axis=0)
        / np.where(usable, total, 1.0)
        for counts, total in zip(((mine, 0 * theirs), (0 * mine, theirs)), totals, strict=True)
    ]
    heights = np.abs(below[0] - below[1])
    # The functions are compared after the last of equal values only.
    is_last = np.ones(ordered.shape, dtype=bool)
    is_last[:-1] = ordered[:-1] != ordered[1:]
    statistic = np.where(is_last, heights, 0.0).max(axis=0, initial=0.0)
    return np.where(usable, np.minimum(statistic, 1.0), np.nan)


def _scale(real: Floats, synthetic: Floats) -> Floats:
    """Return the unit of a difference: where the reference is constant, the other's spread."""
    scale = np.where(real > 0, real, synthetic)
    unit: Floats = np.where(scale > 0, scale, 1.0)
    return unit


def _enough(real: Floats, synthetic: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which columns, and which pairs of them, have enough known values on both sides."""
    counts = [(~np.isnan(side)).astype(np.int64) for side in (real, synthetic)]
    pairs = np.minimum(*[side.T @ side for side in counts]) >= MIN_VALUES
    return np.diagonal(pairs).copy(), pairs


def _shares(rows: Measured, weights: Floats, gauge: Gauge) -> Floats:
    used = rows.slots >= 0
    spread = np.broadcast_to(weights[:, None], rows.slots.shape)[used]
    counts = np.bincount(rows.slots[used], weights=spread, minlength=len(gauge.slots))
    return counts / (weights.sum() if weights.sum() > 0 else 1.0)


def _total_variation(real: Floats, synthetic: Floats, gauge: Gauge) -> Floats:
    if not gauge.groups:
        return np.zeros(0)
    sums = np.add.reduceat(np.abs(real - synthetic), gauge.starts)
    # A number's missing share stands for two values, missing and known, that differ alike.
    halves = np.array([1.0 if is_number(column) else 0.5 for column in gauge.groups])
    variation: Floats = sums * halves
    return variation
