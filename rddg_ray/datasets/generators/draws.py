"""Random draws that more than one generator needs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray


def normal_within(
    rng: np.random.Generator,
    mean: ArrayLike,
    sd: float,
    bounds: tuple[float, float],
    n_rows: int,
) -> NDArray[np.float64]:
    """Draw from a normal distribution cut to bounds, drawing again what falls outside.

    Args:
        rng: Source of the draws.
        mean: Mean before the cut, one number or one a row; inside the bounds, so that a good
            share of the draws is kept.
        sd: Standard deviation before the cut.
        bounds: Smallest and largest value, at least one `sd` apart.
        n_rows: Values to draw.

    Returns:
        Values, shape `(n_rows,)`.
    """
    low, high = bounds
    means = np.broadcast_to(np.asarray(mean, dtype=np.float64), (n_rows,))
    values = rng.normal(means, sd)
    while (outside := (values < low) | (values > high)).any():
        values[outside] = rng.normal(means[outside], sd)
    return values


def to_whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round to the nearest whole number, halves to the even one."""
    return np.rint(values).astype(np.int64)


def shuffled_tiers(rng: np.random.Generator, counts: Mapping[str, int]) -> NDArray[np.int64]:
    """Return a hidden tier 0, 1, 2, ... a row, in random order, each as often as its class.

    Args:
        rng: Source of the order.
        counts: Class to its count, from the lowest tier to the highest.

    Returns:
        Tiers, shape `(n_rows,)`. A tier drives the attributes; the class is later cut from a
        score of the attributes, so tier and class agree for most rows and not for all.
    """
    return rng.permutation(np.repeat(np.arange(len(counts)), list(counts.values())))
