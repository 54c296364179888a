"""Tables as arrays that share one coding of their categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rddg_ray.relations import is_number
from rddg_ray.schema import Column
from rddg_ray.table import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_LEVELS = 30
"""Categories of a column that pairs of columns tell apart; rarer ones count as one."""

_MISSING = ""


@dataclass(frozen=True)
class Coded:
    """Rows as arrays; every categorical column's codes are places in its `Coding.levels`.

    Attributes:
        numbers: Numerical and datetime columns, shape `(n_rows, n_numbers)`; NaN is missing.
        codes: Categorical and boolean columns, shape `(n_rows, n_words)`.
    """

    numbers: Floats
    codes: Ints

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, places: NDArray[np.int64] | NDArray[np.bool_]) -> Coded:
        """Return some of the rows, by position or by mask."""
        return Coded(self.numbers[places], self.codes[places])


class Coding:
    """One coding of the target and the features for several tables of a schema.

    Attributes:
        columns: Target and features, in `prompt_columns` order.
        numbers: Places in `columns` of the numerical and datetime ones.
        words: Places of the others.
        levels: Values of each of `words`, in text order; a missing cell is the empty text, which
            comes first.
        folded: For each of `words`, the level a code counts as in pairs of columns: the most
            frequent ones of the first table keep their own, the others share one.
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        """Learn the levels of all tables; the first one holds the real training rows."""
        self.columns: tuple[Column, ...] = tables[0].prompt_columns
        is_words = [not is_number(column) for column in self.columns]
        self.numbers = tuple([place for place, is_word in enumerate(is_words) if not is_word])
        self.words = tuple([place for place, is_word in enumerate(is_words) if is_word])
        self.levels: list[tuple[str, ...]] = []
        for place in self.words:
            cells = [table.frame[self.columns[place].name] for table in tables]
            self.levels.append(tuple(sorted({v for c in cells for v in c.fillna(_MISSING)})))
        first = self.of(tables[0]).codes
        self.folded = [
            _fold(np.bincount(first[:, word], minlength=len(levels)))
            for word, levels in enumerate(self.levels)
        ]

    def of(self, table: Table) -> Coded:
        """Return a table's rows as arrays.

        Raises:
            KeyError: If the table has a category that no table of the coding had.
        """
        frame, n_rows = table.frame, len(table)
        names = [column.name for column in self.columns]
        numbers = [frame[names[place]].to_numpy(dtype=np.float64) for place in self.numbers]
        codes = []
        for place, levels in zip(self.words, self.levels, strict=True):
            code_of = {level: code for code, level in enumerate(levels)}
            cells = frame[names[place]].fillna(_MISSING).to_list()
            codes.append([code_of[cell] for cell in cells])
        return Coded(
            np.array(numbers, dtype=np.float64).reshape(len(numbers), n_rows).T,
            np.array(codes, dtype=np.int64).reshape(len(codes), n_rows).T,
        )

    def may_miss(self, word: int) -> bool:
        """Return whether code 0 of a categorical column is the missing cell."""
        return self.levels[word][:1] == (_MISSING,)


def _fold(counts: NDArray[np.intp]) -> Ints:
    if len(counts) <= MAX_LEVELS:
        return np.arange(len(counts), dtype=np.int64)
    folded = np.full(len(counts), MAX_LEVELS - 1, dtype=np.int64)
    folded[np.argsort(-counts, kind="stable")[: MAX_LEVELS - 1]] = np.arange(MAX_LEVELS - 1)
    return folded
