"""A small random search for a classifier's settings, on real training rows only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from rddg_ray.evaluation.classifiers import fit_predict
from rddg_ray.evaluation.encoding import Encoded
from rddg_ray.evaluation.thresholds import folds
from rddg_ray.evaluation.utility import pr_auc

N_CANDIDATES = 8
N_FOLDS = 3

Parameters = Mapping[str, float | int]

# Lowest and highest value; a learning rate is drawn evenly on the logarithm.
_RATES = (0.02, 0.3)
_SPACES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "xgboost": {"max_depth": (2, 8), "n_estimators": (50, 400), "min_child_weight": (1, 8)},
    "catboost": {"max_depth": (3, 8), "iterations": (100, 600)},
    "lightgbm": {"max_depth": (2, 8), "n_estimators": (50, 400), "min_child_samples": (5, 40)},
    "gradient_boosting": {
        "max_depth": (2, 6), "n_estimators": (50, 300), "min_samples_leaf": (1, 20),
    },
}  # fmt: skip


def candidates(name: str, random_state: int) -> list[dict[str, float | int]]:
    """Return settings to try: none (the paper's) first, then drawn ones."""
    rng = np.random.default_rng(random_state)
    drawn: list[dict[str, float | int]] = [{}]
    for _ in range(N_CANDIDATES - 1):
        rate = float(np.exp(rng.uniform(*np.log(_RATES))))
        others = {key: int(rng.integers(*ends, endpoint=True))
                  for key, ends in _SPACES[name].items()}  # fmt: skip
        drawn.append({"learning_rate": rate, **others})
    return drawn


def search(name: str, data: Encoded, random_state: int = 0) -> Parameters:
    """Return the settings with the best out-of-fold PR AUC on the real training rows.

    Added rows take no part: rows made from a row that is judged would flatter the settings that
    trust them. So a classifier has one tuned form for a table, the same for every method.

    Args:
        name: One of `config.CLASSIFIERS`.
        data: Real training rows; added and test rows are not looked at.
        random_state: Seeds candidates, folds and the classifier.

    Returns:
        Settings that differ from the paper's; empty where those are best, where the smallest
        class has one row, or where no figure can be had.
    """
    y = data.y_train[: data.n_real]
    if np.bincount(y, minlength=len(data.classes)).min() < 2:
        return {}
    tried = candidates(name, random_state)
    figures = np.array([_figure(name, data, settings, random_state) for settings in tried])
    return tried[int(np.nan_to_num(figures, nan=-1.0).argmax())]


def _figure(name: str, data: Encoded, settings: Parameters, random_state: int) -> float:
    X, y = data.X_train[: data.n_real], data.y_train[: data.n_real]
    proba = np.empty((len(y), len(data.classes)))
    for judged in folds(y, N_FOLDS, random_state):
        fitted = np.setdiff1d(np.arange(len(y)), judged)
        part = replace(data, X_train=X[fitted], y_train=y[fitted], n_real=len(fitted),
                       X_test=X[judged], y_test=y[judged])  # fmt: skip
        proba[judged] = fit_predict(name, random_state, part, settings=settings)
    return pr_auc(y, proba, data.positive)
