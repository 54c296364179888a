"""How pairs of columns hang together in real and in synthetic rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rddg_ray import relations
from rddg_ray.evaluation.fidelity_arrays import MAX_LEVELS, Coded, Coding, Floats, Ints

# Rounding leaves a constant column a norm near 1e-14 of its size, not 0.
_FLAT = 1e-9


def correlation_matrix(coding: Coding, rows: Coded, fill: Floats) -> Floats:
    """Return Pearson coefficients of all columns, categories by their place in text order.

    Args:
        coding: Of the rows.
        rows: At least one.
        fill: What a missing number counts as, shape `(n_numbers,)`.

    Returns:
        Shape `(n_columns, n_columns)`, in the coding's order; a column without spread correlates
        with nothing but itself.
    """
    matrix = np.empty((len(rows), len(coding.columns)))
    matrix[:, coding.numbers] = filled(rows, fill)
    matrix[:, coding.words] = rows.codes
    return pearson(matrix)


def means(rows: Coded) -> Floats:
    """Return the mean of each number's known values, 0 where none is known."""
    known = ~np.isnan(rows.numbers)
    counts = np.maximum(known.sum(axis=0), 1)
    mean: Floats = np.where(known, rows.numbers, 0.0).sum(axis=0) / counts
    return mean


def filled(rows: Coded, fill: Floats) -> Floats:
    """Return the numbers with a value for each missing one."""
    return np.where(np.isnan(rows.numbers), fill, rows.numbers)


def pearson(X: Floats) -> Floats:
    """Return Pearson coefficients of columns without missing cells, 0 for a flat column."""
    centred = X - X.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0))
    is_flat = norms <= _FLAT * np.sqrt(len(X)) * np.maximum(1.0, np.abs(X).max(axis=0))
    scaled = np.where(is_flat, 0.0, centred / np.where(is_flat, 1.0, norms))
    matrix: Floats = np.clip(scaled.T @ scaled, -1.0, 1.0)
    np.fill_diagonal(matrix, 1.0)
    return matrix


class Pairs:
    """Joint figures of one set of rows.

    Attributes:
        association: Shape `(n_columns, n_columns)`: Pearson's coefficient for two numbers
            (signed), the correlation ratio for a number and a category, Cramér's V with
            Bergsma's bias correction for two categories; 1 on the diagonal. A missing category
            counts as one, a missing number as the mean given.
        joint: Shares of the rows by pairs of levels, shape `(n_levels, n_levels)`.
        starts: First level of each categorical column in `joint`.

    References:
        Bergsma (2013), A bias-correction for Cramér's V and Tschuprow's T.
        Fisher (1925), Statistical Methods for Research Workers, section 45 (correlation ratio).
    """

    def __init__(self, coding: Coding, rows: Coded, fill: Floats) -> None:
        """Measure rows, at least one, of a coding."""
        numbers = filled(rows, fill)
        hot, self.starts = _one_hot(coding, rows.codes)
        self.joint: Floats = (hot.T @ hot).astype(np.float64) / len(rows)
        association = np.eye(len(coding.columns))
        association[np.ix_(coding.numbers, coding.numbers)] = pearson(numbers)
        if coding.words:
            association[np.ix_(coding.words, coding.words)] = self._cramer(len(rows))
        if coding.words and coding.numbers:
            ratios = self._ratios(hot, numbers)
            association[np.ix_(coding.words, coding.numbers)] = ratios
            association[np.ix_(coding.numbers, coding.words)] = ratios.T
        self.association = association

    def _cramer(self, n_rows: int) -> Floats:
        shares = np.diag(self.joint)
        expected = np.outer(shares, shares)
        safe = np.where(expected > 0, expected, 1.0)
        phi = _blocks(self.joint**2 / safe, self.starts) - 1.0
        n_levels = np.add.reduceat((shares > 0).astype(np.float64), self.starts)
        least = max(n_rows - 1, 1)
        phi = np.maximum(0.0, phi - np.outer(n_levels - 1, n_levels - 1) / least)
        corrected = n_levels - (n_levels - 1) ** 2 / least
        room = np.minimum.outer(corrected - 1, corrected - 1)
        # A column of one value has no room: it hangs together with nothing.
        v = np.sqrt(np.minimum(1.0, np.where(room > 0, phi / np.where(room > 0, room, 1.0), 0.0)))
        np.fill_diagonal(v, 1.0)
        return v

    def _ratios(self, hot: np.ndarray, numbers: Floats) -> Floats:
        centred = numbers - numbers.mean(axis=0)
        whole = (centred**2).sum(axis=0)
        is_flat = np.sqrt(whole) <= _FLAT * np.sqrt(len(numbers)) * np.maximum(
            1.0, np.abs(numbers).max(axis=0)
        )
        counts = np.diag(self.joint)[:, None] * len(numbers)
        between = (hot.T @ centred) ** 2 / np.maximum(counts, 1.0)
        explained = np.add.reduceat(between, self.starts, axis=0)
        ratios: Floats = np.sqrt(
            np.clip(np.where(is_flat, 0.0, explained / np.where(is_flat, 1.0, whole)), 0.0, 1.0)
        )
        return ratios


def gaps(prefix: str, real: Floats, synthetic: Floats) -> dict[str, float]:
    """Return how far two symmetric matrices lie apart.

    Args:
        prefix: Of the figures' names.
        real: Shape `(n, n)`, ones on the diagonal.
        synthetic: The same shape.

    Returns:
        `_frobenius` and `_rmse` over all entries, as in the paper; `_mae` and `_max` over the
        pairs of different columns. 0 for a single column.
    """
    difference = np.abs(real - synthetic)
    frobenius = float(np.linalg.norm(difference))
    pairs = difference[np.triu_indices(len(real), 1)]
    return {
        f"{prefix}_frobenius": frobenius,
        f"{prefix}_rmse": frobenius / len(real),
        f"{prefix}_mae": float(pairs.mean()) if len(pairs) else 0.0,
        f"{prefix}_max": float(pairs.max()) if len(pairs) else 0.0,
    }


def pair_figures(coding: Coding, real: Coded, synthetic: Coded) -> dict[str, float]:
    """Return how pairs of columns differ between real and synthetic rows.

    Returns:
        `gaps` of `correlation_matrix` and of `Pairs.association`; where there are two numbers
        `correlation_similarity`, 1 - |r - s| / 2 over their pairs; where there are two
        categories `contingency_similarity`, one minus the total variation of their joint
        shares, over their pairs (both as SDMetrics defines them).
    """
    fill = means(real)
    correlations = [correlation_matrix(coding, rows, fill) for rows in (real, synthetic)]
    first, second = (Pairs(coding, rows, fill) for rows in (real, synthetic))
    figures = gaps("correlation", correlations[0], correlations[1])
    figures |= gaps("association", first.association, second.association)
    numbers, words = np.triu_indices(len(coding.numbers), 1), np.triu_indices(len(coding.words), 1)
    if len(numbers[0]):
        # Over the rows that have both numbers, while the matrices above fill in the mean.
        known = [relations.pearson(rows.numbers) for rows in (real, synthetic)]
        gap = np.abs(known[0] - known[1])[numbers]
        figures["correlation_similarity"] = float(1.0 - gap.mean() / 2)
    if len(words[0]):
        apart = _blocks(np.abs(first.joint - second.joint), first.starts)[words] / 2
        figures["contingency_similarity"] = float(1.0 - apart.mean())
    return figures


def _one_hot(coding: Coding, codes: Ints) -> tuple[np.ndarray, Ints]:
    sizes = [min(len(levels), MAX_LEVELS) for levels in coding.levels]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    # Counts of rows stay exact in float32 up to 16 million.
    hot = np.zeros((len(codes), int(starts[-1])), dtype=np.float32)
    for word, folded in enumerate(coding.folded):
        hot[np.arange(len(codes)), starts[word] + folded[codes[:, word]]] = 1.0
    return hot, starts[:-1]


def _blocks(matrix: Floats, starts: Sequence[int] | Ints) -> Floats:
    """Return the sum of each block of a matrix over pairs of columns' levels."""
    summed: Floats = np.add.reduceat(np.add.reduceat(matrix, starts, axis=0), starts, axis=1)
    return summed
