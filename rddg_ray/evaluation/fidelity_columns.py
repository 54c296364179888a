"""How one column is spread over real and over synthetic rows."""

from __future__ import annotations

import numpy as np

from rddg_ray.evaluation.fidelity_arrays import Floats

# Equal bins do not change when both sides are scaled by the real mean and standard deviation, as
# is usual before: so nothing is scaled.
_N_BINS = 50
_KL_FLOOR = 1e-6
_MAX_QUANTILE_BINS = 20
_HALF = 0.5


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


def jensen_shannon(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Return the Jensen-Shannon divergence of two counts over the same bins, in bits.

    Half a row is added to every bin of both sides (Krichevsky & Trofimov), so that a bin that is
    empty by chance says little where rows are few.

    Args:
        real: Counts, shape `(n_bins,)`.
        synthetic: Counts in the same bins.

    Returns:
        In [0, 1); 0 for equal shares of equally many rows.

    References:
        Lin (1991), Divergence measures based on the Shannon entropy.
    """
    # NOTE[DIFF]: the paper's KL is ruled by bins that happen to be empty: one row in a bin of its
    # own costs 13.8 nats times its share. This one is bounded, symmetric and smooth; both are
    # given.
    p, q = ((counts + _HALF) / (counts + _HALF).sum() for counts in (real, synthetic))
    middle = (p + q) / 2
    return float(np.sum(p * np.log2(p / middle) + q * np.log2(q / middle)) / 2)


def number_figures(real: Floats, synthetic: Floats) -> dict[str, float]:
    """Return how a number's known values differ.

    Args:
        real: Known values of real rows, shape `(n_rows,)`, at least one.
        synthetic: Known values of synthetic rows, at least one.

    Returns:
        `kl` over 50 equal bins of the union of both ranges; `js` over quantile bins;
        `ks_complement` (one minus the Kolmogorov-Smirnov statistic); `mean_difference` and
        `std_ratio` in units of the real standard deviation (of 1 where that is 0).
    """
    first, second = np.sort(real), np.sort(synthetic)
    low, high = min(first[0], second[0]), max(first[-1], second[-1])
    edges = np.linspace(low, high, _N_BINS + 1) if high > low else np.array([low, low + 1.0])
    spread = real.std() or 1.0
    return {
        "kl": divergence(_counts(first, edges), _counts(second, edges)),
        "js": jensen_shannon(*_quantile_counts(first, second)),
        "ks_complement": 1.0 - _kolmogorov(first, second),
        "mean_difference": float((synthetic.mean() - real.mean()) / spread),
        "std_ratio": float(synthetic.std() / spread),
    }


def category_figures(real: np.ndarray, synthetic: np.ndarray) -> dict[str, float]:
    """Return how a column's categories differ.

    Args:
        real: Rows of each category, shape `(n_categories,)`, at least one row in all.
        synthetic: The same of the synthetic rows.

    Returns:
        `kl` with one bin a category that either side has, `js` over the same, and
        `tv_complement` (one minus the total variation distance).
    """
    known = (real > 0) | (synthetic > 0)
    real, synthetic = real[known], synthetic[known]
    gap = np.abs(real / real.sum() - synthetic / synthetic.sum()).sum() / 2
    return {
        "kl": divergence(real, synthetic),
        "js": jensen_shannon(real, synthetic),
        "tv_complement": float(1.0 - gap),
    }


def _counts(ordered: Floats, edges: Floats) -> Floats:
    """Return sorted values by bin; the last bin holds its upper edge too, as numpy's do."""
    below = np.searchsorted(ordered, edges, side="left").astype(np.float64)
    below[-1] = np.searchsorted(ordered, edges[-1], side="right")
    return np.diff(below)


def _kolmogorov(first: Floats, second: Floats) -> float:
    at = np.concatenate([first, second])
    shares = [np.searchsorted(part, at, side="right") / len(part) for part in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def _quantile_counts(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Return counts in bins of about equal weight, where both sides weigh the same.

    As many bins as Rice's rule gives the smaller side, 2 n^(1/3), at most 20.
    """
    n_bins = min(_MAX_QUANTILE_BINS, max(2, int(2 * min(len(first), len(second)) ** (1 / 3))))
    # Each side is stood for by as many of its quantiles as the other.
    levels = (np.arange(10 * n_bins) + 0.5) / (10 * n_bins)
    pooled = np.concatenate(
        [part[(levels * len(part)).astype(np.int64)] for part in (first, second)]
    )
    pooled.sort()
    cuts = np.unique(pooled[(np.arange(1, n_bins) * len(pooled)) // n_bins])
    bounds = [np.searchsorted(part, cuts, side="left") for part in (first, second)]
    counts = [np.diff([0, *bound, len(part)]).astype(np.float64)
              for bound, part in zip(bounds, (first, second), strict=True)]  # fmt: skip
    return counts[0], counts[1]
