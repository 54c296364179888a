"""Checks of the encoded table, with errors that name the column and the row."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rddg_ray.errors import DataError


def check_table(X: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the table as the network reads it, or say what is wrong with it.

    Args:
        X: Encoded, standardised features, `(n_rows, n_features)`.
        y: Class codes 0 .. n_classes - 1, `(n_rows,)`.

    Returns:
        X as float32 and y as int64, of the same shapes.

    Raises:
        DataError: If a cell is missing, infinite or no number, the shapes disagree, a
            class has no row, or there is one class only.
    """
    features = _features(np.asarray(X))
    classes = _classes(np.asarray(y))
    if len(features) != len(classes):
        raise DataError(
            f"X has {len(features)} rows and y has {len(classes)}: give one class code a row"
        )
    return features, classes


def _features(X: NDArray[np.generic]) -> NDArray[np.float32]:
    if X.ndim != 2 or 0 in X.shape:
        raise DataError(f"X has shape {X.shape}: give a table with at least one row and one column")
    if X.dtype.kind not in "fiub":
        raise DataError(
            f"X has dtype {X.dtype}: encode every column as numbers before scoring rows"
        )
    with np.errstate(over="ignore"):  # a value beyond float32 is reported just below
        features = X.astype(np.float32)
    bad = np.argwhere(~np.isfinite(features))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"column {column} of X holds {X[row, column]} at row {row} "
            f"({len(bad)} such cells in all): fill and standardise the columns first"
        )
    # -0.0 and 0.0 compare equal but are other bits; the row order by content needs one zero.
    return features + np.float32(0.0)


def _classes(y: NDArray[np.generic]) -> NDArray[np.int64]:
    if y.ndim != 1:
        raise DataError(f"y has shape {y.shape}: give one class code a row")
    if y.dtype.kind not in "iub":
        raise DataError(f"y has dtype {y.dtype}: give integer class codes from 0")
    classes = y.astype(np.int64)
    if len(classes) and classes.min() < 0:
        row = int(classes.argmin())
        raise DataError(f"y holds {classes[row]} at row {row}: class codes start at 0")
    present = np.unique(classes)
    if len(present) < 2:
        raise DataError(f"y holds the classes {present.tolist()} only: give at least two classes")
    if present[-1] != len(present) - 1:
        absent = int(np.setdiff1d(np.arange(len(present)), present)[0])
        raise DataError(
            f"class {absent} of y has no row while class {present[-1]} has: "
            f"number the classes 0 to {len(present) - 1} without gaps"
        )
    return classes
