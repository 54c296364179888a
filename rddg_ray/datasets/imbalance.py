"""Make a class of a table rare on purpose, by the paper's exponential decay.

The paper varies the imbalance of the Segmentation set "via an exponentially decaying strategy"
(section 4.3 and appendix A.3, table 7, ratios 2, 5, 10, 20). It gives no formula; this is the
one usual for long-tailed sets (Cui et al., 2019, Class-Balanced Loss, section 4.1): the sizes
of the classes, from the most frequent to the rarest, form a geometric row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from rddg_ray.datasets.randomness import generator
from rddg_ray.errors import ConfigError, DataError

PAPER_RATIOS = (2, 5, 10, 20)
"""The imbalance ratios of the paper's table 7."""

MIN_ROWS_PER_CLASS = 2
"""A class with one row cannot be on both sides of a split."""

_STREAM = 7
"""Keeps these draws apart from those of a data set generated from the same random state."""


def decayed_counts(n_max: int, n_classes: int, ratio: float) -> list[int]:
    """Return the class sizes of the exponential decay.

    Args:
        n_max: Rows of the most frequent class, at least 1.
        n_classes: Number of classes C, at least 2.
        ratio: Size of the most frequent class over that of the rarest, at least 1.

    Returns:
        For i = 0 .. C-1 the size `n_max * ratio ** (-i / (C - 1))`, rounded to the nearest
        whole number (halves up); for two classes `[n_max, n_max / ratio]`.

    Raises:
        ConfigError: If `ratio` is not a finite number of at least 1.
    """
    checked = _checked_ratio(ratio)
    shares = (checked ** (-i / (n_classes - 1)) for i in range(n_classes))
    return [math.floor(n_max * share + 0.5) for share in shares]


def class_order(labels: pd.Series, rare_class: object = None) -> list[Any]:
    """Return the classes from the one to keep whole to the one to make rarest.

    Args:
        labels: One class a row, shape `(n_rows,)`, none missing.
        rare_class: The class to put last, or None.

    Returns:
        The distinct labels by falling count, equal counts by the text of the label; then
        `rare_class` moved to the end.

    Raises:
        DataError: If `rare_class` is not among the labels.
    """
    counts = labels.value_counts()
    order = sorted(counts.index, key=lambda label: (-int(counts[label]), str(label)))
    if rare_class is None:
        return order
    chosen = [label for label in order if str(label) == str(rare_class)]
    if not chosen:
        raise DataError(
            f"rare_class {rare_class!r} is not a class of column {labels.name!r}; "
            f"it has {[str(label) for label in order]}"
        )
    return [label for label in order if label not in chosen] + chosen


def induce_imbalance(
    frame_or_labels: pd.DataFrame | ArrayLike,
    target: str | None,
    ratio: float,
    random_state: int = 0,
    rare_class: object = None,
) -> NDArray[np.int64]:
    """Choose the rows to keep so that the rarest class is `ratio` times rarer than the first.

    The classes are ordered by `class_order`; class i of C keeps at most
    `n_max * ratio ** (-i / (C - 1))` rows, n_max being the rows of the first class. The first
    class keeps all rows and the last exactly its share; a class between them that has fewer
    rows than its share keeps them all. With the same random state the rows kept at a larger
    ratio are among those kept at a smaller one.

    Args:
        frame_or_labels: The table, or its target column, shape `(n_rows,)`.
        target: Name of the target column; None where labels are given.
        ratio: First class over last class, at least 1; the paper uses 2, 5, 10, 20.
        random_state: Seed of the choice within each class, 0 or greater.
        rare_class: The class to make rarest; None for the one that already is (of equally
            rare ones the last by name).

    Returns:
        Positions of the rows to keep, ascending, shape `(n_kept,)`.

    Raises:
        ConfigError: If `ratio` is no finite number of at least 1, or `random_state` no whole
            number of at least 0.
        DataError: If the target is absent, has missing values or fewer than two classes; if
            `rare_class` is not one of them; if the last class is already rarer than asked
            for, another class is rarer than the last would become, or a class would be left
            with fewer than 2 rows.
    """
    labels = _labels(frame_or_labels, target)
    order = class_order(labels, rare_class)
    if len(order) < 2:
        raise DataError(f"column {labels.name!r} has one class, {order}; imbalance needs two")
    available = [int((labels == label).sum()) for label in order]
    wanted = decayed_counts(available[0], len(order), ratio)
    _check_reachable(order, available, wanted, ratio)
    kept = [
        _draw(labels, label, min(n_available, n_wanted), generator(random_state, _STREAM, i))
        for i, (label, n_available, n_wanted) in enumerate(
            zip(order, available, wanted, strict=True)
        )
    ]
    return np.sort(np.concatenate(kept))


def _draw(
    labels: pd.Series, label: object, n_kept: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    # The whole class is shuffled whatever n_kept is: that nests the choices of all ratios.
    return rng.permutation(np.flatnonzero((labels == label).to_numpy()))[:n_kept]


def _checked_ratio(ratio: object) -> float:
    is_number = isinstance(ratio, int | float | np.number) and not isinstance(ratio, bool)
    if not is_number or not math.isfinite(float(ratio)) or float(ratio) < 1:  # type: ignore[arg-type]  # is_number holds
        raise ConfigError(
            f"imbalance ratio {ratio!r}: give a finite number of at least 1, such as "
            f"{', '.join(str(value) for value in PAPER_RATIOS)}"
        )
    return float(ratio)  # type: ignore[arg-type]  # is_number holds


def _labels(frame_or_labels: pd.DataFrame | ArrayLike, target: str | None) -> pd.Series:
    if isinstance(frame_or_labels, pd.DataFrame):
        if target not in frame_or_labels.columns:
            raise DataError(
                f"no target column {target!r}; the table has {list(frame_or_labels.columns)}"
            )
        labels = frame_or_labels[target]
    else:
        labels = pd.Series(frame_or_labels, name=target)
    labels = labels.reset_index(drop=True)
    if labels.isna().any():
        row = int(labels.isna().to_numpy().argmax())
        raise DataError(
            f"target column {labels.name!r} has a missing value, first at row {row}; "
            f"drop such rows before making a class rare"
        )
    return labels


def _check_reachable(
    order: list[Any], available: list[int], wanted: list[int], ratio: float
) -> None:
    """Raise where dropping rows cannot give the asked ratio, or leaves too few rows."""
    if available[-1] < wanted[-1]:
        raise DataError(
            f"class {str(order[-1])!r} has {available[-1]} rows, already fewer than the "
            f"{wanted[-1]} that a ratio of {ratio} to class {str(order[0])!r} "
            f"({available[0]} rows) would keep; ask for a ratio of at least "
            f"{available[0] / available[-1]:.2f}"
        )
    n_rarest = min(available[:-1])
    if n_rarest < wanted[-1]:
        rarer = order[available.index(n_rarest)]
        raise DataError(
            f"class {str(rarer)!r} has {n_rarest} rows, fewer than the {wanted[-1]} that "
            f"{str(order[-1])!r} would keep at ratio {ratio}, so {str(order[-1])!r} would not be "
            f"the rarest; ask for a larger ratio or another rare class"
        )
    for label, n_available, n_wanted in zip(order, available, wanted, strict=True):
        if min(n_available, n_wanted) < MIN_ROWS_PER_CLASS:
            raise DataError(
                f"ratio {ratio} leaves class {str(label)!r} with {min(n_available, n_wanted)} of "
                f"{n_available} rows; at least {MIN_ROWS_PER_CLASS} are needed, so ask for a "
                f"smaller ratio"
            )
