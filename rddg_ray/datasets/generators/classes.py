"""Exact class counts: how many rows a class gets, and which rows they are."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from rddg_ray.errors import ConfigError

MIN_ROWS_PER_CLASS = 2
"""A class with one row cannot be on both sides of a split."""


def class_counts(shares: Mapping[str, int], n_rows: int) -> dict[str, int]:
    """Divide `n_rows` among classes in given proportions, by largest remainder.

    Args:
        shares: Class to its weight; the paper's counts at 1,000 rows.
        n_rows: Rows to divide, at least 2 a class.

    Returns:
        Class to its count, in the order of `shares`; the counts sum to `n_rows` and equal
        `shares` where `n_rows` is the sum of the weights. Equal remainders go to the class
        named first.

    Raises:
        ConfigError: If `n_rows` is no whole number, or a class would get fewer than 2 rows.

    References:
        Balinski & Young (2001), Fair Representation, ch. 4 (Hamilton's method).
    """
    if not isinstance(n_rows, Integral) or isinstance(n_rows, bool):
        raise ConfigError(f"n_rows={n_rows!r}: give a whole number of rows")
    weights = np.array(list(shares.values()), dtype=np.int64)
    quotas = weights * int(n_rows)
    counts, remainders = quotas // weights.sum(), quotas % weights.sum()
    n_left = max(int(n_rows) - int(counts.sum()), 0)
    counts[np.argsort(-remainders, kind="stable")[:n_left]] += 1
    if counts.min() < MIN_ROWS_PER_CLASS:
        rarest = min(shares, key=lambda name: shares[name])
        n_enough = -(-MIN_ROWS_PER_CLASS * int(weights.sum()) // shares[rarest])
        raise ConfigError(
            f"n_rows={n_rows} gives class {rarest!r} fewer than {MIN_ROWS_PER_CLASS} rows; "
            f"ask for {n_enough} rows or more"
        )
    return dict(zip(shares, counts.tolist(), strict=True))


def classes_by_rank(score: NDArray[np.float64], counts: Mapping[str, int]) -> NDArray[np.str_]:
    """Cut a score at the quantiles that give every class its exact count.

    Args:
        score: One number a row, shape `(n_rows,)`.
        counts: Class to its count, from the lowest scores to the highest; sums to `n_rows`.

    Returns:
        One class a row, shape `(n_rows,)`.
    """
    labels = np.repeat(np.array(list(counts)), list(counts.values()))
    classes = np.empty_like(labels)
    classes[np.argsort(score, kind="stable")] = labels
    return classes
