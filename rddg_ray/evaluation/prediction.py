"""From encoded rows to calls: weights, the fit, and the decision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rddg_ray.evaluation.cells import Cell
from rddg_ray.evaluation.classifiers import fit_predict
from rddg_ray.evaluation.encoding import Encoded
from rddg_ray.evaluation.methods import BASELINES, balanced_weights
from rddg_ray.evaluation.thresholds import multipliers, out_of_fold
from rddg_ray.evaluation.tuning import Parameters


def predict(
    cell: Cell, data: Encoded, metric: str, settings: Parameters
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a cell's classifier and judge the test rows, as its method has them judged.

    Args:
        cell: Names method, classifier and states.
        data: Training rows, the method's among them, and test rows.
        metric: What `tuned_threshold` raises; see `thresholds.multipliers`.
        settings: Of the classifier, where they differ from the paper's.

    Returns:
        Class probabilities, shape `(n_test, n_classes)`, and class codes, shape `(n_test,)`.

    Raises:
        DataError: If the threshold cannot be tuned. What the library raises is not caught; see
            `classifiers.fit_errors`.
    """
    method = BASELINES.get(cell.method)
    fit = (cell.classifier, cell.classifier_state)
    weights = None
    if method is not None and method.is_weighted:
        weights = balanced_weights(data.y_train, len(data.classes))
    proba = fit_predict(*fit, data, weights, settings)
    if method is None or not method.is_threshold:
        return proba, proba.argmax(axis=1)

    def inner(fitted: np.ndarray, judged: np.ndarray) -> np.ndarray:
        return fit_predict(*fit, _within(data, fitted, judged), settings=settings)

    y = data.y_train
    unseen = out_of_fold(y, data.classes, cell.generator_state, inner)
    return proba, (proba * multipliers(y, unseen, metric, data.positive)).argmax(axis=1)


def _within(data: Encoded, fitted: np.ndarray, judged: np.ndarray) -> Encoded:
    """Return some training rows as training rows and others as test rows."""
    X, y = data.X_train, data.y_train
    return replace(
        data,
        X_train=X[fitted],
        y_train=y[fitted],
        X_test=X[judged],
        y_test=y[judged],
        n_real=len(fitted),
    )
