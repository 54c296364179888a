"""Baselines: what a user would do without a language model, each under one contract.

A baseline adds rows to the training rows (`Baseline.rows`), weighs them (`is_weighted`), or
moves the decision (`is_threshold`). It sees the arrays of the training rows only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from rddg_ray.config import BASELINE_METHODS
from rddg_ray.errors import ConfigError, DataError
from rddg_ray.evaluation.encoding import Encoded
from rddg_ray.evaluation.methods.copula import copula_rows
from rddg_ray.evaluation.methods.extras import EXTRAS, ctgan_rows, tvae_rows
from rddg_ray.evaluation.methods.interpolation import (
    adasyn,
    borderline_smote,
    random_oversampling,
    smote,
    smotenc,
)

Wanted = Mapping[int, int]
"""Rows to add by class code."""

MakeRows = Callable[[Encoded, Wanted, int], tuple[np.ndarray, np.ndarray]]
"""From training arrays, rows wanted and random state to added features and class codes."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """One baseline.

    Attributes:
        name: One of `config.BASELINE_METHODS` or `config.EXTRA_METHODS`.
        what: What it does, in a sentence.
        rows: Makes rows to add; None where it adds none.
        is_weighted: Whether classifiers get balanced class weights.
        is_threshold: Whether the decision is tuned on the training rows.
        is_random: Whether its result depends on a generator state.
        least_rows: Rows of a class that it needs to make more of it.
    """

    name: str
    what: str
    rows: MakeRows | None = None
    is_weighted: bool = False
    is_threshold: bool = False
    is_random: bool = True
    least_rows: int = 1


_LISTED = (
    Baseline("original", "the training rows as they are", is_random=False),
    Baseline(
        "class_weights",
        "each row weighs as much as its class is rare: n / (k n_class)",
        is_weighted=True,
        is_random=False,
    ),
    Baseline(
        "tuned_threshold",
        "the decision is moved to where out-of-fold training rows are called best",
        is_threshold=True,
        least_rows=2,
    ),
    Baseline("random_oversampling", "rows are repeated", random_oversampling),
    Baseline("smote", "rows between near rows of a class", smote, least_rows=2),
    Baseline("smotenc", "SMOTE with categories by majority of the near rows", smotenc,
             least_rows=2),
    Baseline("borderline_smote", "SMOTE from rows near another class", borderline_smote,
             least_rows=2),
    Baseline("adasyn", "SMOTE with more rows where other classes are near", adasyn,
             least_rows=2),
    Baseline("gaussian_copula", "empirical marginals joined by normal-scores correlation",
             copula_rows, least_rows=2),
    Baseline("copies_only", "of generated rows only those that repeat a training row"),
    Baseline("ctgan", "conditional GAN", ctgan_rows, least_rows=2),
    Baseline("tvae", "variational autoencoder", tvae_rows, least_rows=2),
)  # fmt: skip

BASELINES: Mapping[str, Baseline] = {baseline.name: baseline for baseline in _LISTED}
"""Every baseline that is made here, by name."""


def baseline(method: str) -> Baseline:
    """Return a baseline by its name.

    Raises:
        ConfigError: If there is none of that name.
    """
    if method not in BASELINES:
        names = [*BASELINE_METHODS, *(name for name in BASELINES if name in EXTRAS)]
        raise ConfigError(f"methods: {method!r} is not one of {names}")
    return BASELINES[method]


def to_balance(y: np.ndarray, n_classes: int) -> dict[int, int]:
    """Return the rows that each smaller class lacks to be as large as the largest."""
    counts = np.bincount(y, minlength=n_classes)
    return {int(code): int(counts.max() - counts[code])
            for code in np.flatnonzero(counts < counts.max())}  # fmt: skip


def resample(
    method: str, data: Encoded, random_state: int, wanted: Wanted | None = None
) -> Encoded:
    """Return the arrays with the rows that a baseline adds to the training side.

    Args:
        method: A name of `BASELINES`. One that adds no rows returns the data as they are.
        data: Real training rows, and test rows, which are not looked at.
        random_state: Of everything that is drawn; the same rows for the same state.
        wanted: Rows to add by class code; by default to balance the classes.

    Raises:
        ConfigError: If the method is not known.
        DataError: If a class has too few rows, or the method cannot treat the rows.
    """
    chosen = baseline(method)
    if chosen.rows is None:
        return data
    codes = data.y_train[: data.n_real]
    wanted = to_balance(codes, len(data.classes)) if wanted is None else wanted
    wanted = {code: number for code, number in sorted(wanted.items()) if number > 0}
    if not wanted:
        return data
    _check_rows(chosen, data, wanted)
    return data.adding(*chosen.rows(data, wanted, random_state))


def _check_rows(chosen: Baseline, data: Encoded, wanted: Wanted) -> None:
    counts = np.bincount(data.y_train[: data.n_real], minlength=len(data.classes))
    for code in wanted:
        if counts[code] < chosen.least_rows:
            raise DataError(
                f"{chosen.name}: class {data.classes[code]!r} has one training row; it needs two"
            )


def balanced_weights(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return scikit-learn's balanced weights, n / (k n_class) a row, shape `(n_rows,)`."""
    counts = np.bincount(y, minlength=n_classes)
    weights: np.ndarray = len(y) / (n_classes * counts[y])
    return weights
