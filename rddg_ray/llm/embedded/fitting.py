"""The rows shown as arrays, and what in them must stay together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from rddg_ray.llm.embedded.columns import PromptColumn

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
# Of Python strings: an array of fixed width would cut a longer category that is written in.
Texts = NDArray[np.object_]

# A wide prompt must not take seconds: more columns than this are not searched for links.
_MAX_LINKED_NUMBERS = 40
_MAX_CATEGORIES = 400


@dataclass(frozen=True, slots=True)
class ShownRows:
    """Rows of one class or of all, split by kind of column.

    Attributes:
        cells: Cell texts as shown, shape `(n_rows, n_columns)`, target first.
        numbers: Numbers and dates, shape `(n_rows, n_numbers)`, NaN for an empty cell.
        texts: Categories, shape `(n_rows, n_texts)`, the target's first.
        constants: Which numbers are computed constants, shape `(n_rows, n_numbers)`.
    """

    cells: list[list[str]]
    numbers: Floats
    texts: Texts
    constants: Bools

    def take(self, positions: Ints) -> ShownRows:
        """Return the rows at these positions."""
        cells = [self.cells[position] for position in positions]
        picked = (self.numbers[positions], self.texts[positions], self.constants[positions])
        return ShownRows(cells, *picked)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns are numbers and which are texts, as positions among all columns."""

    columns: tuple[PromptColumn, ...]
    number_positions: tuple[int, ...]
    text_positions: tuple[int, ...]

    @classmethod
    def of(cls, columns: Sequence[PromptColumn]) -> Layout:
        """Return the layout of these columns."""
        numbers = tuple(i for i, column in enumerate(columns) if column.is_numeric)
        texts = tuple(i for i, column in enumerate(columns) if not column.is_numeric)
        return cls(tuple(columns), numbers, texts)

    @property
    def numbers(self) -> tuple[PromptColumn, ...]:
        """Return the numeric columns."""
        return tuple(self.columns[i] for i in self.number_positions)

    @property
    def texts(self) -> tuple[PromptColumn, ...]:
        """Return the category columns, target first."""
        return tuple(self.columns[i] for i in self.text_positions)

    def shown(self, cells: list[list[str]]) -> ShownRows:
        """Return rows of cell texts as arrays."""
        shape = (len(cells), len(self.number_positions))
        columns = list(zip(self.number_positions, self.numbers, strict=True))
        numbers = [[column.number(row[i]) for i, column in columns] for row in cells]
        constants = [[column.is_constant_cell(row[i]) for i, column in columns] for row in cells]
        texts = [[row[i] for i in self.text_positions] for row in cells]
        return ShownRows(
            cells,
            np.array(numbers, dtype=np.float64).reshape(shape),
            np.array(texts, dtype=object).reshape(len(cells), len(self.text_positions)),
            np.array(constants, dtype=np.bool_).reshape(shape),
        )


@dataclass(frozen=True, slots=True)
class Link:
    """A category whose rows all have one number: text column, category, number column, value."""

    text: int
    category: str
    number: int
    value: float


@dataclass(frozen=True, slots=True)
class Indicators:
    """Which row has which category, for all categories of all columns.

    Attributes:
        owner: Text column of each category, shape `(n_categories,)`.
        names: The categories, in the same order.
        matrix: 1 where the row has it, shape `(n_rows, n_categories)`.
    """

    owner: Ints
    names: tuple[str, ...]
    matrix: Floats


def indicators(texts: Texts, skip_target: bool = True) -> Indicators:
    """Return indicator columns of every category that some but not all rows have."""
    owner: list[int] = []
    names: list[str] = []
    vectors: list[Bools] = []
    for position in range(1 if skip_target else 0, texts.shape[1]):
        for category in np.unique(texts[:, position])[: _MAX_CATEGORIES - len(names)]:
            vector = texts[:, position] == category
            if category and not vector.all():
                owner.append(position)
                names.append(str(category))
                vectors.append(vector)
    matrix = np.array(vectors, dtype=np.float64).reshape(len(names), len(texts)).T
    return Indicators(np.array(owner, dtype=np.int64), tuple(names), matrix)


def find_links(rows: ShownRows) -> list[Link]:
    """Return the categories that go with one value of a number, more often than by chance.

    Only values far more precise than their column, or repeated by a sixth of the rows, are
    looked at: these are the ones that a flag explains.
    """
    flags = indicators(rows.texts)
    links: list[Link] = []
    if not flags.names:
        return links
    counts = flags.matrix.sum(axis=0)
    for number, value, is_constant in _repeated_values(rows):
        has_value = rows.numbers[:, number] == value
        share = has_value.mean()
        together = flags.matrix.T @ has_value
        always = (together == counts) & (share < 1)
        # By chance alone all rows with the category have the value with probability share^n.
        # A constant needs no such proof, only the categories that explain most of its rows.
        best = is_constant & (counts == counts[always].max(initial=0))
        explained = np.flatnonzero(always & (best | (share**counts <= 0.02)))
        links += [Link(int(flags.owner[i]), flags.names[i], number, value) for i in explained]
    return links


def _repeated_values(rows: ShownRows) -> list[tuple[int, float, bool]]:
    found: list[tuple[int, float, bool]] = []
    least = max(3, len(rows.numbers) // 6)
    for number in range(rows.numbers.shape[1]):
        values, first, counts = np.unique(
            rows.numbers[:, number], return_index=True, return_counts=True
        )
        constant = rows.constants[first, number]
        wanted = (constant | (counts >= least)) & ~np.isnan(values)
        # More than a few repeated values are a scale of whole numbers, not constants.
        if 0 < wanted.sum() <= 2:
            found += [(number, float(values[i]), bool(constant[i])) for i in np.flatnonzero(wanted)]
    return found[:_MAX_LINKED_NUMBERS]


@lru_cache(maxsize=256)
def normal_scores(n: int) -> tuple[float, ...]:
    """Return the normal quantiles of (rank - 1/2) / n for ranks 1 to n."""
    normal = NormalDist()
    return tuple(normal.inv_cdf((rank + 0.5) / n) for rank in range(n))


@dataclass(frozen=True, slots=True)
class Margin:
    """One numeric column's distribution in one class, by normal scores.

    Attributes:
        values: Distinct values, ascending.
        scores: Mean normal score of each.
        std: Standard deviation of the cells shown, 0 for fewer than two.
        mean: Their mean, 0 where there is none.
    """

    values: Floats
    scores: Floats
    std: float
    mean: float

    @classmethod
    def of(cls, cells: Floats) -> Margin:
        """Fit to a column's cells, NaN left out."""
        shown = np.sort(cells[~np.isnan(cells)])
        values, starts, counts = np.unique(shown, return_index=True, return_counts=True)
        scores = np.array(normal_scores(len(shown)), dtype=np.float64)
        sums = np.add.reduceat(scores, starts) if len(shown) else scores
        std = float(shown.std(ddof=1)) if len(shown) > 1 else 0.0
        mean = float(shown.mean()) if len(shown) else 0.0
        return cls(values, sums / counts if len(shown) else sums, std, mean)

    def score(self, cells: Floats) -> Floats:
        """Return the scores of cells that were shown, 0 for NaN."""
        if not len(self.values):
            return np.zeros_like(cells)
        found = np.clip(np.searchsorted(self.values, cells), 0, len(self.values) - 1)
        return np.where(np.isnan(cells), 0.0, self.scores[found])

    def value(self, scores: Floats) -> Floats:
        """Return the values at scores; beyond the outermost, a straight line of slope `std`."""
        if not len(self.values):
            return np.full_like(scores, np.nan)
        inside = np.interp(scores, self.scores, self.values)
        beyond = np.maximum(scores - self.scores[-1], 0) + np.minimum(scores - self.scores[0], 0)
        return np.asarray(inside + self.std * beyond, dtype=np.float64)
