"""Means, spreads, correlations and shares of stacks of rows, in variance-stabilised form."""

from __future__ import annotations

import numpy as np

from rddg_ray.measuring import Floats, Ints

# A batch whose values are all equal has no log standard deviation: it counts as this many times
# (on the log scale) below the real one, which is far outside what any real batch shows.
LEAST_LOG_SD = -3.0
# Beyond this a coefficient's Fisher z runs away while its rows say the same.
MOST_CORRELATION = 0.98
# A variance of standardised numbers below this is rounding error.
_CONSTANT = 1e-12


def number_totals(values: Floats) -> Floats:
    """Return what the summaries of number columns are made of; totals of batches add up.

    Args:
        values: Standardised columns, shape `(..., n_rows, n_numbers)`; NaN is missing.

    Returns:
        For every pair of columns i, j over the rows that have both: their number, the sums of
        column i and of its squares, and the sum of products; shape
        `(..., 4, n_numbers, n_numbers)`.
    """
    known = (~np.isnan(values)).astype(np.float64)
    filled = np.nan_to_num(values, nan=0.0)
    flipped = np.swapaxes(filled, -1, -2)
    parts = [np.swapaxes(known, -1, -2) @ known, flipped @ known,
             np.swapaxes(filled**2, -1, -2) @ known, flipped @ filled]  # fmt: skip
    return np.stack(parts, axis=-3)


def number_summaries(totals: Floats, pairs: tuple[Ints, Ints]) -> tuple[Floats, Floats]:
    """Return the summaries of number columns.

    Args:
        totals: From `number_totals`.
        pairs: Columns of the pairs to correlate, two arrays of shape `(n_pairs,)`.

    Returns:
        Means, log standard deviations (n - 1) and Fisher z of the pairs, side by side in shape
        `(..., 2 n_numbers + n_pairs)`, and the known values that each rests on. A mean is NaN
        without a known value; a log standard deviation with fewer than two; a Fisher z with
        fewer than three common ones, or where a column is constant over them.
    """
    n_both, sums, squares, products = (totals[..., part, :, :] for part in range(4))
    safe = np.maximum(n_both, 1.0)
    means = sums / safe
    variances = squares / safe - means**2  # of column i over the rows that have j
    counts = np.diagonal(n_both, axis1=-2, axis2=-1)
    mean = np.diagonal(means, axis1=-2, axis2=-1)
    variance = np.diagonal(variances, axis1=-2, axis2=-1) * counts / np.maximum(counts - 1, 1.0)
    # Rounding must not look like a spread.
    log_sd = np.maximum(0.5 * np.log(np.maximum(variance, 1e-24)), LEAST_LOG_SD)
    first, second = pairs
    covariance = (products / safe - means * np.swapaxes(means, -1, -2))[..., first, second]
    both = variances[..., first, second], variances[..., second, first]
    n_pairs = n_both[..., first, second]
    usable = (n_pairs >= 3) & (both[0] > _CONSTANT) & (both[1] > _CONSTANT)
    scale = np.sqrt(np.where(usable, both[0] * both[1], 1.0))
    r = np.clip(covariance / scale, -MOST_CORRELATION, MOST_CORRELATION)
    found = [np.where(counts >= 1, mean, np.nan), np.where(counts >= 2, log_sd, np.nan),
             np.where(usable, np.arctanh(r), np.nan)]  # fmt: skip
    return np.concatenate(found, axis=-1), np.concatenate([counts, counts, n_pairs], axis=-1)


def share_summaries(counts: Floats | Ints, n_rows: float) -> Floats:
    """Return arcsine square roots of shares, in Anscombe's form (1948).

    The form adds 3/8 to the count and 3/4 to the rows, which holds its variance near
    1 / (4 n + 2) down to shares of about 1 / n.
    """
    ratio = (np.asarray(counts) + 0.375) / (n_rows + 0.75)
    forms: Floats = np.arcsin(np.sqrt(np.clip(ratio, 0.0, 1.0)))
    return forms


def share_null(shares: Floats, n_rows: int) -> tuple[Floats, Floats]:
    """Return mean and variance of `share_summaries` over samples of n rows, exactly.

    Args:
        shares: True shares, inside (0, 1), shape `(n_shares,)`.
        n_rows: Rows of the sample, at least 1.

    Returns:
        Mean and variance, each of shape `(n_shares,)`; the variance is at least 1 / (4 n + 2),
        because that of a share below 1 / n is a rare jump, which no normal law describes.
    """
    from scipy.special import gammaln

    outcomes = np.arange(n_rows + 1)
    ways = gammaln(n_rows + 1) - gammaln(outcomes + 1) - gammaln(n_rows - outcomes + 1)
    share = shares[:, None]
    # The binomial law by its logarithm; scipy.stats.binom takes ten times as long to say it.
    weight = np.exp(ways + outcomes * np.log(share) + (n_rows - outcomes) * np.log1p(-share))
    forms = share_summaries(outcomes, n_rows)
    mean = weight @ forms
    variance = weight @ forms**2 - mean**2
    return mean, np.maximum(variance, 1.0 / (4 * n_rows + 2))
