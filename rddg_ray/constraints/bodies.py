"""What a rule demands of a row: a range, a list of values, an order, a formula, ...

A demand judges the rows whose cells it can know; a missing cell breaks no demand that does not
speak of missing cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rddg_ray.constraints.cells import Bools, Cells, Floats, Value
from rddg_ray.constraints.expressions import Expression
from rddg_ray.constraints.predicates import Predicate, all_decided, all_hold, compare

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Range:
    """A number or date lies between two bounds.

    Attributes:
        column: A numerical or datetime column.
        low: Least value, or None for no bound. Dates are POSIX seconds.
        high: Greatest value, or None; not below `low`.
        strict: Whether the bounds themselves are outside.
    """

    column: str
    low: float | None
    high: float | None
    strict: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns it speaks of."""
        return (self.column,)

    def judged(self, cells: Cells) -> Bools:
        """Return which rows it can judge, shape `(n_rows,)`."""
        return cells.known(self.column)

    def holds(self, cells: Cells) -> Bools:
        """Return which of the judged rows keep it, shape `(n_rows,)`."""
        values = cells.numbers(self.column)
        holds = np.ones(cells.n_rows, dtype=np.bool_)
        if self.low is not None:
            holds &= compare(values, ">" if self.strict else ">=", self.low)
        if self.high is not None:
            holds &= compare(values, "<" if self.strict else "<=", self.high)
        return holds


@dataclass(frozen=True, slots=True)
class Membership:
    """A cell is one of a list of values.

    Attributes:
        column: The column.
        values: Canonical values, at least one.
    """

    column: str
    values: tuple[Value, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns it speaks of."""
        return (self.column,)

    def judged(self, cells: Cells) -> Bools:
        """Return which rows it can judge, shape `(n_rows,)`."""
        return cells.known(self.column)

    def holds(self, cells: Cells) -> Bools:
        """Return which of the judged rows keep it, shape `(n_rows,)`."""
        return cells.equals(self.column, self.values)


@dataclass(frozen=True, slots=True)
class Implication:
    """Where the rule's condition is met, statements about other cells are true.

    Attributes:
        then: The statements, at least one; all must be true.
    """

    then: tuple[Predicate, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns it speaks of, those of the condition left out."""
        return tuple(dict.fromkeys(predicate.column for predicate in self.then))

    def judged(self, cells: Cells) -> Bools:
        """Return which rows it can judge, shape `(n_rows,)`."""
        return all_decided(self.then, cells)

    def holds(self, cells: Cells) -> Bools:
        """Return which of the judged rows keep it, shape `(n_rows,)`."""
        return all_hold(self.then, cells)


@dataclass(frozen=True, slots=True)
class Order:
    """Columns grow from left to right.

    Attributes:
        columns: Two or more columns, all numerical or all dates.
        strict: Whether neighbours must differ.
    """

    columns: tuple[str, ...]
    strict: bool = False

    def judged(self, cells: Cells) -> Bools:
        """Return which rows it can judge: those with two neighbours known, shape `(n_rows,)`."""
        known = [cells.known(name) for name in self.columns]
        pairs = [a & b for a, b in pairwise(known)]
        return np.asarray(np.logical_or.reduce(pairs), dtype=np.bool_)

    def holds(self, cells: Cells) -> Bools:
        """Return which of the judged rows keep it, shape `(n_rows,)`."""
        values = [cells.numbers(name) for name in self.columns]
        # Undecided neighbours (NaN) do not break the order, so what breaks it is looked for.
        relation = ">=" if self.strict else ">"
        breaks = [compare(a, relation, b) for a, b in pairwise(values)]
        return np.asarray(~np.logical_or.reduce(breaks), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Formula:
    """A column follows from others.

    Dates count in days, in the formula and in `within`: the difference of two dates is a number
    of days.

    Attributes:
        column: A numerical or datetime column.
        expression: What it should be.
        within: Difference allowed, in the column's unit (days for dates), at least 0.
        within_relative: Difference allowed as a share of the value computed, at least 0; the
            larger of the two counts.
    """

    column: str
    expression: Expression
    within: float = 0.0
    within_relative: float = 0.0

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns it speaks of."""
        return tuple(dict.fromkeys((self.column, *self.expression.columns)))

    def expected(self, cells: Cells) -> Floats:
        """Return what the column should be, shape `(n_rows,)`, in days for dates; NaN: unknown."""
        read = {name: _in_days(cells, name) for name in self.expression.columns}
        return np.broadcast_to(self.expression.compute(read), (cells.n_rows,))

    def errors(self, cells: Cells) -> Floats:
        """Return how far off the column is, shape `(n_rows,)`, in days for dates; NaN: unknown."""
        return np.abs(_in_days(cells, self.column) - self.expected(cells))

    def allowed(self, cells: Cells) -> Floats:
        """Return the difference allowed, shape `(n_rows,)`."""
        allowed = np.maximum(self.within, self.within_relative * np.abs(self.expected(cells)))
        # What is written with few decimals is compared as written: 0.3 is 0.1 + 0.2.
        return np.asarray(allowed * (1 + 1e-9) + 1e-9 * np.abs(self.expected(cells)))

    def judged(self, cells: Cells) -> Bools:
        """Return which rows it can judge, shape `(n_rows,)`."""
        return ~np.isnan(self.errors(cells))

    def holds(self, cells: Cells) -> Bools:
        """Return which of the judged rows keep it, shape `(n_rows,)`."""
        return compare(self.errors(cells), "<=", self.allowed(cells))


@dataclass(frozen=True, slots=True)
class Combinations:
    """Categories come together only as they do in a list.

    Attributes:
        columns: Two or more categorical or boolean columns.
        allowed: Values that come together, in the columns' order.
        is_learned: Whether the list is that of the real rows. Such a list cannot be checked
            against these rows themselves; instead the share of rows whose combination no other
            row has is what it must be expected to refuse wrongly (Good's estimate of the mass
            not seen).
    """

    columns: tuple[str, ...]
    allowed: tuple[tuple[Value, ...], ...]
    is_learned: bool = False

    def judged(self, cells: Cells) -> Bools:
        """Return which rows it can judge, shape `(n_rows,)`."""
        known = [cells.known(name) for name in self.columns]
        return np.asarray(np.logical_and.reduce(known), dtype=np.bool_)

    def holds(self, cells: Cells) -> Bools:
        """Return which of the judged rows keep it, shape `(n_rows,)`."""
        allowed = frozenset(self.allowed)
        found = zip(*[cells.texts(name) for name in self.columns], strict=True)
        return np.array([row in allowed for row in found], dtype=np.bool_)


Body = Range | Membership | Implication | Order | Formula | Combinations


def _in_days(cells: Cells, name: str) -> Floats:
    numbers = cells.numbers(name)
    return numbers / DAY_S if cells.columns[name].kind == "datetime" else numbers
