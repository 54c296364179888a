"""How far apart rows of mixed columns lie, and how near the nearest ones are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rddg_ray.evaluation.fidelity_arrays import Coding, Floats
from rddg_ray.table import Table

TIE = 1e-9
"""Distances closer than this are the same one; the rest is rounding."""

_CHUNK_BYTES = 64 * 2**20
_MISSING_AT = -0.25


@dataclass(frozen=True)
class Points:
    """Rows between which `distances` are taken.

    Attributes:
        places: Coordinates of the numbers, shape `(n_rows, n_coordinates)`.
        codes: Categories as codes, missing ones among them, shape `(n_rows, n_words)`.
        n_features: Numbers and categories.
    """

    places: Floats
    codes: Floats
    n_features: int

    def __len__(self) -> int:
        return len(self.places)

    def take(self, chosen: NDArray[np.int64] | slice) -> Points:
        """Return some of the rows."""
        return Points(self.places[chosen], self.codes[chosen], self.n_features)


class Space:
    """Distances between rows of one schema, of Gower's kind.

    The distance of two rows is the mean over the features of: for categories 0 if they are the
    same and 1 if not; for numbers the share of real rows whose value lies between the two (a
    value that several rows have counts as the middle of their ranks), so that neither units nor
    long tails matter; 1 where one of two cells is missing and 0 where both are. It lies in
    [0, 1]. The class is no part of it: an attacker is taken to know it.

    References:
        Gower (1971), A general coefficient of similarity and some of its properties.
    """

    def __init__(self, real: Sequence[Table], others: Sequence[Table] = ()) -> None:
        """Learn ranks from real rows, training and held-out alike, and levels from all tables."""
        self._coding = Coding([*real, *others])
        coded = [self._coding.of(table).numbers for table in (*real, *others)]
        numbers = np.concatenate(coded[: len(real)])
        self._scales = [_ranks(column) for column in numbers.T]
        self._may_miss = np.atleast_1d(np.isnan(np.concatenate(coded)).any(axis=0))

    def points(self, table: Table) -> Points:
        """Return rows of one of the tables, or of a part of one."""
        coded = self._coding.of(table)
        columns = [
            _place(column, *scale, may_miss=bool(may_miss))
            for column, scale, may_miss in zip(
                coded.numbers.T, self._scales, self._may_miss, strict=True
            )
        ]
        places = np.concatenate([np.empty((len(table), 0)), *columns], axis=1)
        # The target is the first of the words.
        codes = coded.codes[:, 1:].astype(np.float64)
        return Points(places, codes, len(columns) + codes.shape[1])


def _ranks(column: Floats) -> tuple[Floats, Floats]:
    """Return the distinct known values and the middle rank of each, scaled to [0, 1]."""
    values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    if len(values) < 2:
        return np.append(values, 0.0)[:1], np.zeros(1)
    middle = np.cumsum(counts) - counts / 2
    return values, (middle - middle[0]) / (middle[-1] - middle[0])


def _place(column: Floats, values: Floats, ranks: Floats, *, may_miss: bool) -> Floats:
    """Return coordinates whose city-block distance is that of `Space`.

    Where cells may be missing, a known rank r stands at (r, 1 - r) / 2 and a missing cell at a
    point that is 1 from all of them.
    """
    is_missing = np.isnan(column)
    known = np.where(is_missing, values[0], column)
    # A number that all real rows share is a word: any other one is another word.
    rank = np.interp(known, values, ranks) if len(values) > 1 else (known != values[0]) * 1.0
    if not may_miss:
        return rank[:, None]
    both = np.column_stack([rank, 1.0 - rank]) / 2
    return np.where(is_missing[:, None], _MISSING_AT, both)


def distances(first: Points, second: Points) -> Floats:
    """Return all distances between two sets of rows, shape `(len(first), len(second))`."""
    from scipy.spatial.distance import cdist

    found = np.zeros((len(first), len(second)))
    if first.places.shape[1]:
        found += cdist(first.places, second.places, "cityblock")
    if first.codes.shape[1]:
        found += first.codes.shape[1] * cdist(first.codes, second.codes, "hamming")
    found /= max(first.n_features, 1)
    return found


@dataclass(frozen=True)
class Scan:
    """What one pass over all distances between rows and reference rows finds.

    Attributes:
        distance: To the nearest reference row, shape `(n_rows,)`.
        second: To the second nearest; infinite where there is no other.
        place: Of the nearest reference row.
        nearer: Reference rows nearer than the distance asked about, else 0.
        as_near: Reference rows as near as that, or nearer.
        reverse: Distance of each reference row to the nearest of the rows, `(n_reference,)`.
    """

    distance: Floats
    second: Floats
    place: NDArray[np.int64]
    nearer: Floats
    as_near: Floats
    reverse: Floats


def scan(rows: Points, reference: Points, than: Floats | None = None) -> Scan:
    """Look at all distances block by block: 10,000 x 10,000 rows need some 200 MB.

    Args:
        rows: At least one.
        reference: At least one.
        than: A distance for each row, shape `(n_rows,)`, to count reference rows within.
    """
    n_rows, n_reference = len(rows), len(reference)
    limit = np.zeros(n_rows) if than is None else than
    distance, nearer, as_near = (np.zeros(n_rows) for _ in range(3))
    second, reverse = np.full(n_rows, np.inf), np.full(n_reference, np.inf)
    place = np.empty(n_rows, dtype=np.int64)
    step = max(1, _CHUNK_BYTES // (8 * n_reference))
    for start in range(0, n_rows, step):
        block = slice(start, min(start + step, n_rows))
        found = distances(rows.take(block), reference)
        at = np.arange(len(found))
        place[block] = found.argmin(axis=1)
        distance[block] = found[at, place[block]]
        reverse = np.minimum(reverse, found.min(axis=0))
        if than is not None:
            nearer[block] = (found < limit[block, None] - TIE).sum(axis=1)
            as_near[block] = (found <= limit[block, None] + TIE).sum(axis=1)
        found[at, place[block]] = np.inf
        second[block] = found.min(axis=1)
    return Scan(distance, second, place, nearer, as_near, reverse)
