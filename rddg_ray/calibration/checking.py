"""Which discrepancies are said: those that noise would not show, by false discovery control.

NOTE[DIFF]: the design checks z = (T(S_i) - T(R)) / sqrt(v + p), one batch against the prior
predictive law. In it a bias of the size that the prior expects never surprises, and one batch
can never tell half a standard deviation, however often it comes back. We check the posterior of
the bias instead, z = E b / sd(b): it pools all batches, already allows for what was asked in
words (so that a bias that is being corrected stays known and stays corrected), and forgets at the
rate of the drift. Without a bias its variance is p / (p + v / i) after i unguided rounds, below 1,
so that the level holds in every round.

The control is Benjamini and Hochberg's (1995). It holds for independent and for positively
dependent statistics; ours depend both ways (shares of one column against each other), where it
is known to keep close to its level, while the correction of Benjamini and Yekutieli (2001) for
any dependence would cost a factor of ln m in power, which is paid in rounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rddg_ray.calibration.posterior import Posterior
from rddg_ray.measuring import Floats
from rddg_ray.quality import MIN_VALUES, ks_statistics

Bools = NDArray[np.bool_]


def bias_p_values(posterior: Posterior, prior_variance: Floats, testable: Bools) -> Floats:
    """Return two-sided p-values of "there is no bias"; 1 where nothing is known yet.

    Args:
        posterior: Beliefs after the round.
        prior_variance: Variance of each bias before any round.
        testable: Which summaries can be spoken of.
    """
    from scipy.special import erfc

    learned = posterior.bias_variance < prior_variance * (1 - 1e-9)
    usable = testable & learned & (posterior.bias_variance > 0)
    safe = np.where(usable, posterior.bias_variance, 1.0)
    tail: Floats = erfc(np.abs(posterior.bias) / np.sqrt(2 * safe))
    return np.where(usable, tail, 1.0)


def shape_p_values(
    real: Floats, synthetic: Floats, *, extra: float = 0.0
) -> tuple[Floats, Floats, Bools]:
    """Return Kolmogorov-Smirnov statistics and p-values of columns, the omnibus check.

    The real rows are the law to be met, so only the synthetic ones are a sample. For columns with
    ties the p-values are too large, never too small.

    Args:
        real: Shape `(n_rows, n_columns)`; NaN is missing.
        synthetic: Shape `(m_rows, n_columns)`.
        extra: Variance that the batch has beside its own, in units of one row's: 1 / n where it
            follows n reference rows, which are a sample too.

    Returns:
        Statistics in [0, 1], p-values, and which columns are usable: those with five known values
        or more on both sides. The others have 0 and 1.

    References:
        Stephens (1970), the approximation for small samples.
    """
    from scipy.special import kolmogorov

    counts = (~np.isnan(synthetic)).sum(axis=0)
    usable = (counts >= MIN_VALUES) & ((~np.isnan(real)).sum(axis=0) >= MIN_VALUES)
    statistic = np.where(usable, np.nan_to_num(ks_statistics(real, synthetic)), 0.0)
    root = np.sqrt(1 / (1 / np.maximum(counts, 1) + extra))
    tail: Floats = kolmogorov((root + 0.12 + 0.11 / root) * statistic)
    return statistic, np.where(usable, tail, 1.0), usable


def discoveries(p_values: Floats, testable: Bools, level: float) -> Bools:
    """Return which hypotheses fall by Benjamini and Hochberg's procedure.

    Args:
        p_values: Shape `(n_hypotheses,)`.
        testable: Which of them belong to the family; the others never fall.
        level: False-discovery rate, in (0, 1).
    """
    family = np.flatnonzero(testable)
    found = np.zeros(len(p_values), dtype=np.bool_)
    if not len(family):
        return found
    order = family[np.argsort(p_values[family], kind="stable")]
    below = p_values[order] <= level * np.arange(1, len(order) + 1) / len(order)
    if below.any():
        found[order[: int(np.flatnonzero(below)[-1]) + 1]] = True
    return found
