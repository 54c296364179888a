"""Rows that nearly equal a real one: the same words, and numbers a hair's breadth away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rddg_ray.measuring import Floats, Gauge, Measured
from rddg_ray.novelty import Row

if TYPE_CHECKING:
    from scipy.spatial import KDTree

_Key = bytes
_AT_MOST = 1.0 + 1e-9  # what lies on the bound counts as near, whatever the division lost
_BOUND = 1.0 + 1e-6  # a search's own bound is exclusive
_FARTHEST = 1e150


@dataclass(frozen=True, slots=True)
class CopyRates:
    """Shares of rows that a set of rows has again, each in [0, 1].

    Attributes:
        exact: Rows equal to another in the class and every feature.
        near: Rows near another, exact copies among them.
    """

    exact: float
    near: float


class NearCopies:
    """Finds the real row that a row nearly equals.

    Two rows are near if class, categories and missing cells are the same and every number
    differs by at most `tolerance` times its column's spacing, the median distance between
    neighbouring distinct values of the real column. Whole numbers that fill their range have
    spacing 1, so at the default half a spacing they must be equal; a price of many digits may be
    off by half of what usually parts it from the next one.
    """

    def __init__(self, gauge: Gauge, real: Measured, *, tolerance: float = 0.5) -> None:
        """Index the real rows.

        Args:
            gauge: Turns rows into arrays.
            real: The real rows.
            tolerance: In spacings of a column, at least 0; 0 finds exact copies alone.
        """
        self._gauge = gauge
        self._real = real
        widths = np.array([_spacing(column) for column in real.numbers.T]) * tolerance
        # Values this close are the same number written twice; it keeps the division defined, also
        # where a column is 0 wherever it is known.
        least = np.abs(np.nan_to_num(real.numbers)).max(axis=0, initial=0.0) * 1e-12
        self._widths: Floats = np.maximum(widths, np.where(least > 0, least, 1e-12))
        self._groups: dict[_Key, list[int]] = {}
        for at, key in enumerate(_keys(real)):
            self._groups.setdefault(key, []).append(at)
        self._trees: dict[_Key, KDTree] = {}

    def prepare(self) -> None:
        """Build every tree that a search may ask for; otherwise each waits for the first."""
        for key in self._groups:
            self._tree(key)

    def of_rows(self, rows: Sequence[Row]) -> list[int | None]:
        """Return the place of a real row near each generated row, or None."""
        return self.of_measured(self._gauge.of_rows(rows))

    def of_measured(self, rows: Measured) -> list[int | None]:
        """Return the place of the nearest real row that is near, for each row, or None."""
        scaled, keys = self._scaled(rows), _keys(rows)
        found: list[int | None] = [None] * len(keys)
        for key in set(keys) & self._groups.keys():
            mine = [at for at, other in enumerate(keys) if other == key]
            # A bounded search does not look through the whole tree for what is far away.
            distances, places = self._tree(key).query(
                scaled[mine], k=1, p=np.inf, distance_upper_bound=_BOUND
            )
            for at, distance, place in zip(mine, distances, places, strict=True):
                if distance <= _AT_MOST:
                    found[at] = self._groups[key][int(place)]
        return found

    def natural_rates(self) -> CopyRates:
        """Return how many real rows have a copy among the other real rows: the natural rate."""
        n_rows = len(self._real)
        if n_rows == 0:
            return CopyRates(0.0, 0.0)
        scaled = self._scaled(self._real)
        near, exact = 0, 0
        for key, places in self._groups.items():
            if len(places) < 2:
                continue
            mine = scaled[places]
            distances, _ = self._tree(key).query(mine, k=2, p=np.inf, distance_upper_bound=_BOUND)
            near += int((distances[:, 1] <= _AT_MOST).sum())
            exact += int((distances[:, 1] == 0).sum())
        return CopyRates(exact / n_rows, near / n_rows)

    def _scaled(self, rows: Measured) -> Floats:
        # A tree needs a dimension, also where no column is a number: one in which all are equal.
        scaled: Floats = np.zeros((len(rows), 1 + rows.numbers.shape[1]))
        # A reply may hold any number; the tree's must be finite.
        with np.errstate(over="ignore"):
            wide = np.nan_to_num(rows.numbers) / self._widths
        scaled[:, 1:] = np.clip(wide, -_FARTHEST, _FARTHEST)
        return scaled

    def _tree(self, key: _Key) -> KDTree:
        from scipy.spatial import KDTree

        if key not in self._trees:
            self._trees[key] = KDTree(self._scaled(self._real.take(np.array(self._groups[key]))))
        return self._trees[key]


def _keys(rows: Measured) -> list[_Key]:
    """Return what must be equal: class, categories, and which numbers are missing."""
    words = np.column_stack([rows.labels, rows.slots, np.isnan(rows.numbers)]).astype(np.int64)
    return [row.tobytes() for row in np.ascontiguousarray(words)]


def _spacing(column: NDArray[np.float64]) -> float:
    values = np.unique(column[~np.isnan(column)])
    return float(np.median(np.diff(values))) if len(values) > 1 else 0.0
