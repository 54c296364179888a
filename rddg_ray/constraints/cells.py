"""Rows as columns of arrays, read only where a rule asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rddg_ray.schema import Column

Value = float | str | None
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Texts = NDArray[np.object_]

NUMBERS = ("numerical", "datetime")
"""Kinds of column whose canonical cells are numbers (datetimes are POSIX seconds)."""


class Cells:
    """Rows of a table, column by column; a column is made into an array when first asked for.

    Attributes:
        columns: Columns by name.
        n_rows: Number of rows.
    """

    def __init__(
        self, columns: Mapping[str, Column], n_rows: int, source: Callable[[str], Sequence[object]]
    ) -> None:
        """Prepare rows.

        Args:
            columns: Columns by name.
            n_rows: Number of rows.
            source: Canonical cells of a column by its name, `n_rows` of them; None or NaN is a
                missing cell.
        """
        self.columns = columns
        self.n_rows = n_rows
        self._source = source
        self._numbers: dict[str, Floats] = {}
        self._texts: dict[str, Texts] = {}

    @classmethod
    def of_frame(cls, columns: Sequence[Column], frame: pd.DataFrame) -> Cells:
        """Return the rows of a canonical frame (`Table.frame`)."""
        return cls(_by_name(columns), len(frame), lambda name: frame[name].to_list())

    @classmethod
    def of_rows(cls, columns: Sequence[Column], rows: Sequence[tuple[Value, ...]]) -> Cells:
        """Return generated rows: tuples of canonical values in the columns' order."""
        places = {column.name: place for place, column in enumerate(columns)}
        return cls(_by_name(columns), len(rows), lambda name: [row[places[name]] for row in rows])

    def numbers(self, name: str) -> Floats:
        """Return a numerical or datetime column, shape `(n_rows,)`; NaN is missing."""
        if name not in self._numbers:
            # A missing number may be None, which numpy reads as NaN.
            self._numbers[name] = np.array(self._source(name), dtype=np.float64)
        return self._numbers[name]

    def texts(self, name: str) -> Texts:
        """Return a categorical or boolean column, shape `(n_rows,)`; None is missing."""
        if name not in self._texts:
            values = np.empty(self.n_rows, dtype=object)
            values[:] = [cell if isinstance(cell, str) else None for cell in self._source(name)]
            self._texts[name] = values
        return self._texts[name]

    def is_number(self, name: str) -> bool:
        """Return whether a column's cells are numbers."""
        return self.columns[name].kind in NUMBERS

    def known(self, name: str) -> Bools:
        """Return which cells of a column are not missing, shape `(n_rows,)`."""
        if self.is_number(name):
            return ~np.isnan(self.numbers(name))
        return np.array([cell is not None for cell in self.texts(name)], dtype=np.bool_)

    def equals(self, name: str, values: Sequence[Value]) -> Bools:
        """Return which cells equal one of the values, shape `(n_rows,)`; missing ones do not.

        Numbers are equal where they are the same to nine digits or to half a unit of the
        column's last decimal place: a writer of rules copies what it was shown.
        """
        if not self.is_number(name):
            wanted = frozenset(values)
            found = [value is not None and value in wanted for value in self.texts(name)]
            return np.array(found, dtype=np.bool_)
        cells = self.numbers(name)
        half = 0.5 * 10.0 ** -self.columns[name].decimals * (1 - 1e-9)
        is_equal = np.zeros(self.n_rows, dtype=np.bool_)
        for value in values:
            number = float(value) if value is not None else np.nan
            is_equal |= np.abs(cells - number) <= max(half, 1e-9 * abs(number))
        return is_equal


def _by_name(columns: Sequence[Column]) -> dict[str, Column]:
    return {column.name: column for column in columns}
