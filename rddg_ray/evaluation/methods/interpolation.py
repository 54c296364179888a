"""Rows repeated, or made between near rows, by imbalanced-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rddg_ray.errors import DataError
from rddg_ray.evaluation.encoding import Encoded

_NEIGHBOURS = 5  # imbalanced-learn's default
_NEIGHBOURS_OF_ANY_CLASS = 10  # likewise

Rows = tuple[np.ndarray, np.ndarray]


def random_oversampling(data: Encoded, wanted: Mapping[int, int], random_state: int) -> Rows:
    """Repeat rows of each class, with their missing cells."""
    from imblearn.over_sampling import RandomOverSampler

    X, y = data.X_train[: data.n_real], data.y_train[: data.n_real]
    sampler = RandomOverSampler(sampling_strategy=_sizes(y, wanted), random_state=random_state)
    # Rows are chosen by position, so that missing numbers pass through untouched.
    sampler.fit_resample(np.zeros((len(y), 1)), y)
    added = sampler.sample_indices_[len(y) :]
    return X[added], y[added]


def smotenc(data: Encoded, wanted: Mapping[int, int], random_state: int) -> Rows:
    """Interpolate numbers and take the near rows' most frequent category.

    Without a categorical feature it is SMOTE, without a numerical one SMOTEN.
    """
    from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC

    def sampler(k: int, **settings: Any) -> Any:
        if not data.is_categorical.any():
            return SMOTE(k_neighbors=k, **settings)
        if data.is_categorical.all():
            return SMOTEN(k_neighbors=k, **settings)
        columns = np.flatnonzero(data.is_categorical).tolist()
        return SMOTENC(categorical_features=columns, k_neighbors=k, **settings)

    return _made("smotenc", sampler, data, wanted, random_state)


def smote(data: Encoded, wanted: Mapping[int, int], random_state: int) -> Rows:
    """Interpolate every feature; a category code is rounded to a code."""
    from imblearn.over_sampling import SMOTE

    def sampler(k: int, **settings: Any) -> Any:
        return SMOTE(k_neighbors=k, **settings)

    return _made("smote", sampler, data, wanted, random_state)


def borderline_smote(data: Encoded, wanted: Mapping[int, int], random_state: int) -> Rows:
    """As `smote`, from rows only of whose ten neighbours half or more, not all, are others."""
    from imblearn.over_sampling import BorderlineSMOTE

    def sampler(k: int, **settings: Any) -> Any:
        m = min(_NEIGHBOURS_OF_ANY_CLASS, data.n_real - 1)
        return BorderlineSMOTE(k_neighbors=k, m_neighbors=m, **settings)

    return _made("borderline_smote", sampler, data, wanted, random_state)


def adasyn(data: Encoded, wanted: Mapping[int, int], random_state: int) -> Rows:
    """As `smote`, with as many rows from each row as it has neighbours of other classes.

    imbalanced-learn rounds the number of each real row, so that the sum may be off by half a row
    for each, or be 0. So a row more for each is asked for, and the wanted number drawn of them.
    """
    from imblearn.over_sampling import ADASYN

    def sampler(k: int, **settings: Any) -> Any:
        return ADASYN(n_neighbors=k, **settings)

    counts = np.bincount(data.y_train[: data.n_real], minlength=len(data.classes))
    more = {code: number + int(counts[code]) for code, number in wanted.items()}
    X, y = _made("adasyn", sampler, data, more, random_state)
    rng = np.random.default_rng(random_state)
    drawn = [
        np.sort(rng.choice(np.flatnonzero(y == code), number, replace=False))
        for code, number in wanted.items()
    ]
    return X[np.concatenate(drawn)], y[np.concatenate(drawn)]


def _sizes(y: np.ndarray, wanted: Mapping[int, int]) -> dict[int, int]:
    counts = np.bincount(y)
    return {code: int(counts[code]) + number for code, number in wanted.items()}


def _made(
    name: str,
    make_sampler: Callable[..., Any],
    data: Encoded,
    wanted: Mapping[int, int],
    random_state: int,
) -> Rows:
    """Return new rows, class by class, each with the neighbours it can have.

    One number of neighbours for all would be the smallest class's. For a class of six rows or
    more this is imbalanced-learn's own result. Missing numbers are filled with the training
    means first, since it cannot read them.
    """
    y = data.y_train[: data.n_real]
    X = data.filled(data.X_train[: data.n_real])
    counts = np.bincount(y, minlength=len(data.classes))
    new_X, new_y = [X[:0]], [y[:0]]
    for code, size in _sizes(y, wanted).items():
        sampler = make_sampler(
            min(_NEIGHBOURS, int(counts[code]) - 1),
            sampling_strategy={code: size},
            random_state=random_state,
        )
        said = f"{name}: class {data.classes[code]!r} of {counts[code]} rows"
        try:
            X_all, y_all = sampler.fit_resample(X, y)
        except (ValueError, RuntimeError) as error:
            raise DataError(f"{said}: {error}") from error
        if len(y_all) == len(y):
            raise DataError(f"{said}: no row lies near another class, so none can be made")
        new_X.append(_with_codes(X_all[len(y) :], data.is_categorical))
        new_y.append(y_all[len(y) :])
    return np.concatenate(new_X), np.concatenate(new_y)


def _with_codes(X: np.ndarray, is_categorical: np.ndarray) -> np.ndarray:
    # A point between two category codes is no category.
    return np.where(is_categorical, np.rint(X), X)
