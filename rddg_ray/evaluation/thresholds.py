"""Decisions tuned on training rows: how much each class's probability counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rddg_ray.errors import DataError
from rddg_ray.evaluation.utility import count_metrics

N_FOLDS = 5
_SWEEPS = 2
# Below this a probability is as good as zero.
_FLOOR = 1e-12
# Counts held at once, and multipliers tried at least: with few classes every one is tried.
_MOST_COUNTS = 4_000_000
_FEWEST_TRIED = 200

Probabilities = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From positions of rows to fit on and rows to judge to probabilities `(n_judged, n_classes)`."""


def folds(y: np.ndarray, n_folds: int, random_state: int) -> list[np.ndarray]:
    """Return positions of the rows of each fold, every class spread as evenly as it goes.

    A class of two rows or more is among the rows outside of every fold.
    """
    rng = np.random.default_rng(random_state)
    fold_of = np.empty(len(y), dtype=np.int64)
    n_placed = 0
    for code in np.unique(y):
        mine = rng.permutation(np.flatnonzero(y == code))
        # Small classes go on where the one before ended, lest the first fold get them all.
        fold_of[mine] = (np.arange(len(mine)) + n_placed) % n_folds
        n_placed += len(mine)
    parts = (np.flatnonzero(fold_of == fold) for fold in range(n_folds))
    return [part for part in parts if len(part)]


def out_of_fold(
    y: np.ndarray, classes: tuple[str, ...], random_state: int, probabilities: Probabilities
) -> np.ndarray:
    """Return class probabilities of each training row by a fit without its fold.

    Raises:
        DataError: If a class has one row, which leaves it out of a fit.
    """
    counts = np.bincount(y, minlength=len(classes))
    if counts.min() < 2:
        raise DataError(
            f"tuned_threshold: class {classes[int(counts.argmin())]!r} has one training row; "
            "inner validation needs two"
        )
    proba = np.empty((len(y), len(classes)))
    for judged in folds(y, N_FOLDS, random_state):
        fitted = np.setdiff1d(np.arange(len(y)), judged)
        proba[judged] = probabilities(fitted, judged)
    return proba


def multipliers(y: np.ndarray, proba: np.ndarray, metric: str, positive: int | None) -> np.ndarray:
    """Return what to multiply each class's probability with before the largest is taken.

    One class at a time, rarest first: each row is called this class once its multiplier passes
    the ratio of the row's best other product to the row's probability, so every multiplier that
    calls the rows differently lies between two such ratios, and all are tried (evenly many of
    them where classes and rows are many). Of equally good ones the one nearest to 1 is taken.
    For two classes that is the search over all thresholds of the rarer class: a multiplier w is
    the threshold 1 / (1 + w).

    Args:
        y: Class codes of training rows, shape `(n_rows,)`.
        proba: Out-of-fold probabilities, shape `(n_rows, n_classes)`.
        metric: Figure of `utility.count_metrics` to raise.
        positive: Code of the positive class for two classes, or None for more.

    Returns:
        Multipliers, shape `(n_classes,)`, above 0; 1 for the most frequent class.
    """
    n_classes = proba.shape[1]
    weights = np.ones(n_classes)

    def figure(counts: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.nan_to_num(count_metrics(counts, positive)[metric], nan=-1.0)
        return found

    by_size = np.argsort(np.bincount(y, minlength=n_classes), kind="stable")
    for _ in range(1 if n_classes == 2 else _SWEEPS):
        for code in by_size[:-1]:
            weights[code] = _best_multiplier(y, proba, weights, int(code), figure)
    return weights


def _best_multiplier(
    y: np.ndarray,
    proba: np.ndarray,
    weights: np.ndarray,
    code: int,
    figure: Callable[[np.ndarray], np.ndarray],
) -> float:
    others = proba * weights
    others[:, code] = -1.0
    rival = others.argmax(axis=1)
    ratios = np.maximum(others.max(axis=1), _FLOOR) / np.maximum(proba[:, code], _FLOOR)
    order = np.argsort(ratios, kind="stable")
    cuts = ratios[order]
    between = np.concatenate([cuts[:1] / 2, np.sqrt(cuts[:-1] * cuts[1:]), cuts[-1:] * 2])
    # Leaving things as they are is a candidate too.
    between[np.searchsorted(cuts, weights[code])] = weights[code]
    places = _places(cuts, proba.shape[1])
    figures = figure(_called(y[order], rival[order], code, places, proba.shape[1]))
    best = between[places[figures >= figures.max() - 1e-12]]
    return float(best[np.abs(np.log(best)).argmin()])


def _places(cuts: np.ndarray, n_classes: int) -> np.ndarray:
    """Return after how many of the sorted ratios a multiplier may lie, evenly thinned."""
    # No multiplier tells rows of equal ratios apart.
    places = np.flatnonzero(np.concatenate([[True], cuts[:-1] < cuts[1:], [True]]))
    most = max(_FEWEST_TRIED, _MOST_COUNTS // n_classes**2)
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).round().astype(np.int64)]


def _called(
    y: np.ndarray, rival: np.ndarray, code: int, places: np.ndarray, n_classes: int
) -> np.ndarray:
    """Return the confusion matrix where the first `places[i]` rows are called `code`."""
    counts = np.zeros((len(places), n_classes, n_classes))
    np.add.at(counts[0], (y, rival), 1.0)
    since = np.searchsorted(places, np.arange(1, len(y) + 1))
    np.add.at(counts, (since, y, np.full(len(y), code)), 1.0)
    np.add.at(counts, (since, y, rival), -1.0)
    return counts.cumsum(axis=0)
