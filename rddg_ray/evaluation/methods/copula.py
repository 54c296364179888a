"""A Gaussian copula, fitted within each class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rddg_ray.evaluation.encoding import Encoded


def copula_rows(
    data: Encoded, wanted: Mapping[int, int], random_state: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows whose columns are distributed and correlated as those of their class.

    Each column's cells are replaced by their normal scores, the columns' Pearson correlation is
    taken, normal rows with that correlation are drawn, and each of their cells is turned back
    into the column's quantile. Equal cells share their mean rank, so categories (in the order of
    their codes) and counts need no treatment of their own. A missing cell ranks below every
    number, so that missing cells keep their share and go with what they went with. A quantile
    between two cells is replaced by the nearest number that some training row has, which keeps
    whole numbers whole.

    Args:
        data: Real training rows; a class has two or more. Test rows are not looked at.
        wanted: Rows to make by class code.
        random_state: Seeds the draws; each class has its own.

    Returns:
        Features, shape `(n_added, n_features)`, and class codes.

    References:
        Nelsen (2006), An Introduction to Copulas, sections 2.9 and 4; Patki, Wedge &
        Veeramachaneni (2016), The Synthetic Data Vault, for its use on mixed columns.
    """
    X, y = data.X_train[: data.n_real], data.y_train[: data.n_real]
    known = [np.unique(column[~np.isnan(column)]) for column in X.T]
    parts = []
    for code, n_rows in wanted.items():
        rng = np.random.default_rng([random_state, code])
        mine = X[y == code]
        shares = _normal_rows(mine, n_rows, rng)
        columns = [
            _cells(cells, share, values, is_categorical=bool(flag))
            for cells, share, values, flag in zip(
                mine.T, shares.T, known, data.is_categorical, strict=True
            )
        ]
        parts.append(np.column_stack(columns))
    return np.concatenate(parts), np.repeat(list(wanted), list(wanted.values()))


def _normal_rows(X: np.ndarray, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return correlated uniform shares, shape `(n_rows, n_features)`."""
    from scipy.stats import norm

    z = rng.standard_normal((n_rows, X.shape[1]))
    shares: np.ndarray = norm.cdf(z @ _root(_correlation(_scores(X))))
    return shares


def _scores(X: np.ndarray) -> np.ndarray:
    from scipy.stats import norm, rankdata

    ranks = rankdata(np.where(np.isnan(X), -np.inf, X), axis=0)
    scores: np.ndarray = norm.ppf((ranks - 0.5) / len(X))
    return scores


def _correlation(scores: np.ndarray) -> np.ndarray:
    """Return Pearson correlations; a column of one value goes with no other."""
    centred = scores - scores.mean(axis=0)
    lengths = np.sqrt((centred**2).sum(axis=0))
    # Rounding leaves a constant column's scores a hair apart from their mean.
    is_constant = lengths < 1e-9
    unit = np.where(is_constant, 0.0, centred / np.where(is_constant, 1.0, lengths))
    correlation: np.ndarray = unit.T @ unit
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _root(correlation: np.ndarray) -> np.ndarray:
    """Return A with A'A the matrix; fewer rows than columns leave it without a Cholesky root."""
    values, vectors = np.linalg.eigh(correlation)
    root: np.ndarray = np.sqrt(np.maximum(values, 0.0))[:, np.newaxis] * vectors.T
    return root


def _cells(
    cells: np.ndarray, shares: np.ndarray, values: np.ndarray, *, is_categorical: bool
) -> np.ndarray:
    """Turn shares in (0, 1) back into cells of one column of a class."""
    known = np.sort(cells[~np.isnan(cells)])
    n_missing = len(cells) - len(known)
    if not len(known):
        return np.full(len(shares), np.nan)
    # The lowest shares are missing cells; the others are stretched over the known ones.
    share_missing = n_missing / len(cells)
    inner = np.clip((shares - share_missing) / (1 - share_missing), 0.0, 1.0)
    if is_categorical:
        found = np.quantile(known, inner, method="inverted_cdf")
    else:
        found = _nearest(np.quantile(known, inner, method="hazen"), values)
    return np.where(shares < share_missing, np.nan, found)


def _nearest(numbers: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return for each number the nearest of sorted values."""
    if len(values) == 1:
        return np.full(len(numbers), values[0])
    after = np.clip(np.searchsorted(values, numbers), 1, len(values) - 1)
    low, high = values[after - 1], values[after]
    return np.where(numbers - low <= high - numbers, low, high)
