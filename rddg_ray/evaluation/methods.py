"""Baselines that add rows without a language model."""

from __future__ import annotations

from typing import Any

import numpy as np

from rddg_ray.config import BASELINE_METHODS
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.evaluation.encoding import Encoded

_NEIGHBOURS = 5  # imbalanced-learn's default


def resample(method: str, data: Encoded, random_state: int) -> Encoded:
    """Return the arrays with rows of the smaller classes added until all are equally large.

    `original` adds none. `random_oversampling` repeats rows. `smotenc` interpolates between
    near rows of a class; missing numbers are filled with the training means first, since it
    cannot read them. Without a categorical feature it is SMOTE, without a numerical one SMOTEN.
    A class with fewer than six rows is interpolated between the neighbours it has.

    Args:
        method: One of `config.BASELINE_METHODS`.
        data: Real training rows, and test rows, which are not looked at.
        random_state: Seeds the choice of rows.

    Raises:
        ConfigError: If the method is not known.
        DataError: If a class has one row, so that there is nothing to interpolate.
    """
    if method == "original":
        return data
    X, y = data.X_train[: data.n_real], data.y_train[: data.n_real]
    if method == "random_oversampling":
        return data.adding(*_repeats(X, y, random_state))
    if method == "smotenc":
        return data.adding(*_interpolated(data.filled(X), y, data, random_state))
    raise ConfigError(f"methods: {method!r} is not one of {list(BASELINE_METHODS)}")


def _repeats(X: np.ndarray, y: np.ndarray, random_state: int) -> tuple[np.ndarray, np.ndarray]:
    from imblearn.over_sampling import RandomOverSampler

    sampler = RandomOverSampler(random_state=random_state)
    # Rows are chosen by position, so that missing numbers pass through untouched.
    sampler.fit_resample(np.zeros((len(y), 1)), y)
    added = sampler.sample_indices_[len(y) :]
    return X[added], y[added]


def _interpolated(
    X: np.ndarray, y: np.ndarray, data: Encoded, random_state: int
) -> tuple[np.ndarray, np.ndarray]:
    counts = np.bincount(y, minlength=len(data.classes))
    new_X, new_y = [X[:0]], [y[:0]]
    # Class by class, each with the neighbours it can have: one k for all would be the smallest
    # class's. For a class of six rows or more this is imbalanced-learn's own result.
    for code in np.flatnonzero(counts < counts.max()):
        if counts[code] < 2:
            raise DataError(
                f"smotenc: class {data.classes[code]!r} has one training row; it needs two"
            )
        sampler = _sampler(
            data.is_categorical,
            sampling_strategy={int(code): int(counts.max())},
            k_neighbors=min(_NEIGHBOURS, int(counts[code]) - 1),
            random_state=random_state,
        )
        try:
            X_all, y_all = sampler.fit_resample(X, y)
        except ValueError as error:
            raise DataError(
                f"smotenc: class {data.classes[code]!r} of {counts[code]} rows: {error}"
            ) from error
        new_X.append(X_all[len(y) :])
        new_y.append(y_all[len(y) :])
    return np.concatenate(new_X), np.concatenate(new_y)


def _sampler(is_categorical: np.ndarray, **settings: Any) -> Any:
    from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC

    if not is_categorical.any():
        return SMOTE(**settings)
    if is_categorical.all():
        return SMOTEN(**settings)
    return SMOTENC(categorical_features=np.flatnonzero(is_categorical).tolist(), **settings)
