"""The rows a coreset keeps, class by class."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rddg_ray.errors import ConfigError, DataError

ROWS_PER_CLASS = 100
"""K of the paper, appendix A.4."""


def select(
    difficulty: ArrayLike,
    classes: ArrayLike,
    per_class: int = ROWS_PER_CLASS,
    random_state: int = 0,
) -> NDArray[np.int64]:
    """Return the positions of the hardest rows of every class.

    A class with fewer than `per_class` rows gives every row once, hardest first, and then
    rows drawn from itself with replacement. Rows of equal difficulty keep their order.

    Args:
        difficulty: Score of each row, finite, `(n_rows,)`; larger is harder.
        classes: Class of each row, `(n_rows,)`.
        per_class: Rows to keep of each class, at least 1.
        random_state: Decides the rows drawn again, at least 0.

    Returns:
        Positions into the rows, `(n_classes * per_class,)`: the classes in sorted order,
        within a class from hard to easy, the rows drawn again last.

    Raises:
        DataError: If the lengths disagree, there is no row, or a score is not finite.
        ConfigError: If `per_class` is below 1 or `random_state` below 0.

    References:
        RDDG, equation 4, algorithm 2 lines 11 to 18.
    """
    scores = np.asarray(difficulty, dtype=np.float64)
    labels = np.asarray(classes)
    _check(labels, per_class, random_state)
    if scores.shape != labels.shape:
        raise DataError(f"difficulty has shape {scores.shape} and classes {labels.shape}")
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise DataError(f"difficulty holds {scores[row]} at row {row}: scores must be finite")
    hardest_first = np.argsort(-scores, kind="stable")
    return _take(hardest_first, labels, per_class, np.random.default_rng(random_state))


def select_random(
    classes: ArrayLike, per_class: int = ROWS_PER_CLASS, random_state: int = 0
) -> NDArray[np.int64]:
    """Return the positions of randomly chosen rows of every class.

    The paper's ablation "w/o CoreSet" (table 6): same sizes and same rule for a class
    that is too small, without a score.

    Args:
        classes: Class of each row, `(n_rows,)`.
        per_class: Rows to keep of each class, at least 1.
        random_state: Decides which rows, at least 0.

    Returns:
        Positions into the rows, `(n_classes * per_class,)`, the classes in sorted order.

    Raises:
        DataError: If there is no row.
        ConfigError: If `per_class` is below 1 or `random_state` below 0.
    """
    labels = np.asarray(classes)
    _check(labels, per_class, random_state)
    rng = np.random.default_rng(random_state)
    return _take(rng.permutation(len(labels)), labels, per_class, rng)


def _check(labels: NDArray[np.generic], per_class: int, random_state: int) -> None:
    if labels.ndim != 1 or not len(labels):
        raise DataError(f"classes has shape {labels.shape}: give one class a row, at least one row")
    if per_class < 1:
        raise ConfigError(f"per_class is {per_class}: keep at least 1 row of each class")
    if random_state < 0:
        raise ConfigError(f"random_state is {random_state}: give an integer from 0 up")


def _take(
    order: NDArray[np.int64],
    labels: NDArray[np.generic],
    per_class: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Return the first `per_class` positions of `order` in each class, topped up by draws."""
    taken = []
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        again = rng.choice(rows, size=max(0, per_class - len(rows)), replace=True)
        taken += [rows[:per_class], again]
    return np.concatenate(taken).astype(np.int64)
