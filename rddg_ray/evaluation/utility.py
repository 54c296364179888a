"""How well a classifier does on held-out rows: the paper's figures and a few more."""

from __future__ import annotations

import numpy as np

COUNT_METRICS = (
    "f1",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "macro_f1",
    "g_mean",
    "accuracy",
    "rare_precision",
    "rare_recall",
)
METRICS = (*COUNT_METRICS, "pr_auc", "roc_auc", "brier", "calibration_error")
LOWER_IS_BETTER = ("brier", "calibration_error")

N_CALIBRATION_BINS = 10


def confusion(
    y_true: np.ndarray, y_pred: np.ndarray, n_classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return how many rows of each class were called what.

    Args:
        y_true: Class codes, shape `(n_rows,)`.
        y_pred: Predicted class codes, shape `(n_rows,)`.
        n_classes: Number of classes k.
        weights: How often each row counts, shape `(n_draws, n_rows)`; every row once by default.

    Returns:
        Counts, shape `(n_draws, k, k)` with weights, else `(k, k)`; rows are the true class.
    """
    pairs = y_true.astype(np.int64) * n_classes + y_pred.astype(np.int64)
    if weights is None:
        counts: np.ndarray = np.bincount(pairs, minlength=n_classes**2)
        return counts.reshape(n_classes, n_classes)
    is_pair = (pairs[:, np.newaxis] == np.arange(n_classes**2)).astype(weights.dtype)
    draws: np.ndarray = weights @ is_pair
    return draws.reshape(-1, n_classes, n_classes)


def count_metrics(
    matrix: np.ndarray, positive: int | None, rare: int | None = None
) -> dict[str, np.ndarray]:
    """Return the figures that follow from a confusion matrix, as shares.

    For two classes f1, sensitivity and precision are those of the positive class and
    specificity is the recall of the other one. For more, f1, sensitivity and precision are
    means over the classes weighted by their rows, and specificity the mean, so weighted, of
    each class's recall of all other rows (one against the rest).

    Args:
        matrix: Counts, shape `(..., k, k)`, rows by true class; see `confusion`.
        positive: Code of the positive class, or None for more than two classes.
        rare: Code of the rare class, whatever the number of classes; without it `rare_precision`
            and `rare_recall` are NaN.

    Returns:
        By name of `COUNT_METRICS`, shape `(...)`. NaN where no row of a needed class is there;
        a class that is never predicted has precision and f1 of 0.

    References:
        The paper's appendix A.4 and the authors' own computation: what it calls "macro-F1" is
        the positive class's F1 for two classes, and the weighted F1 for more.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    support, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    total = support.sum(axis=-1)
    recall = _ratio(hits, support)
    precision = np.where(predicted > 0, _ratio(hits, predicted), 0.0)
    f1 = _ratio(2 * hits, support + predicted)
    rest = total[..., np.newaxis] - support
    specificity = _ratio(rest - (predicted - hits), rest)
    seen = support > 0
    figures = {
        "balanced_accuracy": _mean_of(recall, seen),
        "macro_f1": _mean_of(f1, seen | (predicted > 0)),
        "g_mean": _geometric_mean(recall, seen),
        "accuracy": _ratio(hits.sum(axis=-1), total),
    }
    if positive is not None:
        is_there = seen[..., positive]
        figures["f1"] = np.where(is_there, f1[..., positive], np.nan)
        figures["precision"] = np.where(is_there, precision[..., positive], np.nan)
        figures["sensitivity"] = recall[..., positive]
        figures["specificity"] = specificity[..., positive]
    else:
        weights = _ratio(support, total[..., np.newaxis])
        figures["f1"] = _weighted(f1, weights)
        figures["precision"] = _weighted(precision, weights)
        figures["sensitivity"] = _weighted(recall, weights)
        figures["specificity"] = _weighted(specificity, weights)
    if rare is None:
        figures |= dict.fromkeys(("rare_precision", "rare_recall"), np.full(total.shape, np.nan))
    else:
        figures["rare_precision"] = np.where(seen[..., rare], precision[..., rare], np.nan)
        figures["rare_recall"] = recall[..., rare]
    return {name: figures[name] for name in COUNT_METRICS}


def score(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    proba: np.ndarray,
    positive: int | None,
    rare: int | None = None,
) -> dict[str, float]:
    """Return every figure of `METRICS` for one fit, as shares in [0, 1].

    Args:
        y_true: Class codes, shape `(n_rows,)`.
        y_pred: Predicted class codes, shape `(n_rows,)`.
        proba: Class probabilities, shape `(n_rows, n_classes)`.
        positive: Code of the positive class for two classes, or None for more.
        rare: Code of the rare class; see `count_metrics`.

    Returns:
        The figures of `count_metrics`, and `pr_auc` (average precision) and `roc_auc`: of the
        positive class, or the plain mean over the classes that have rows, each against the rest;
        `brier` and `calibration_error`. NaN where the test rows do not allow a figure.
    """
    counts = count_metrics(confusion(y_true, y_pred, proba.shape[1]), positive, rare)
    figures = {name: float(value) for name, value in counts.items()}
    return {
        **figures,
        **_ranking(y_true, proba, positive),
        "brier": brier(y_true, proba),
        "calibration_error": calibration_error(y_true, proba, positive),
    }


def brier(y_true: np.ndarray, proba: np.ndarray) -> float:
    """Return half the mean squared distance of probabilities to the class, in [0, 1]; 0 is best.

    For two classes this is the mean of (p - y)^2 over the positive class's probability p.

    References:
        Brier (1950), Verification of forecasts expressed in terms of probability.
    """
    if not len(y_true):
        return float("nan")
    misses = proba.copy()
    misses[np.arange(len(y_true)), y_true] -= 1.0
    return float((misses**2).sum(axis=1).mean() / 2)


def calibration_error(y_true: np.ndarray, proba: np.ndarray, positive: int | None) -> float:
    """Return by how much probabilities and frequencies differ, in [0, 1]; 0 is best.

    The expected calibration error of a class: its probabilities fall into ten bins of equal
    width over [0, 1], a bin has its lower edge and the last one both; in each bin the mean
    probability is compared with the share of rows of the class, and the absolute differences
    are averaged, weighted by the bins' rows. Of the positive class for two classes, for more
    the plain mean over the classes. With few test rows a calibrated model has an error above
    0 too, by chance: compare methods on the same rows.

    References:
        Naeini, Cooper & Hauskrecht (2015), Obtaining well calibrated probabilities using
        Bayesian binning; for more classes the class-wise form of Nixon et al. (2019).
    """
    if not len(y_true):
        return float("nan")
    codes = range(proba.shape[1]) if positive is None else (positive,)
    return float(np.mean([_binned_gap(proba[:, code], y_true == code) for code in codes]))


def _binned_gap(shares: np.ndarray, is_class: np.ndarray) -> float:
    bins = np.minimum((shares * N_CALIBRATION_BINS).astype(np.int64), N_CALIBRATION_BINS - 1)
    # Per bin the weighted gap is |sum of probabilities - rows of the class| / all rows.
    gaps = np.bincount(bins, weights=shares - is_class, minlength=N_CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(shares))


def pr_auc(y_true: np.ndarray, proba: np.ndarray, positive: int | None) -> float:
    """Return the average precision; of the positive class, or the mean over classes."""
    return _ranking(y_true, proba, positive)["pr_auc"]


def _ranking(y_true: np.ndarray, proba: np.ndarray, positive: int | None) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    codes = range(proba.shape[1]) if positive is None else (positive,)
    areas = []
    for code in codes:
        is_class = y_true == code
        if is_class.any() and not is_class.all():
            column = proba[:, code]
            areas.append(
                (average_precision_score(is_class, column), roc_auc_score(is_class, column))
            )
    precision, roc = np.mean(areas, axis=0) if areas else (np.nan, np.nan)
    return {"pr_auc": float(precision), "roc_auc": float(roc)}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(part, whole)
    ratio: np.ndarray = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return ratio


def _mean_of(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return _ratio(np.where(chosen, values, 0.0).sum(axis=-1), chosen.sum(axis=-1))


def _geometric_mean(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    count = chosen.sum(axis=-1)
    product = np.where(chosen, values, 1.0).prod(axis=-1)
    return np.where(count > 0, product ** (1.0 / np.maximum(count, 1)), np.nan)


def _weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total: np.ndarray = np.where(weights > 0, values * weights, 0.0).sum(axis=-1)
    return total
