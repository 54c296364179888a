"""Simple statements about one cell, which conditions and implications are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rddg_ray.constraints.cells import Bools, Cells, Value

Relation = Literal["in", "not_in", "<", "<=", ">", ">=", "missing", "known"]
RELATIONS: tuple[Relation, ...] = ("in", "not_in", "<", "<=", ">", ">=", "missing", "known")


@dataclass(frozen=True, slots=True)
class Predicate:
    """A statement about one cell of a row.

    A missing cell is neither one of some values, nor another than these, nor above or below
    anything: every statement about it but `missing` and `known` is undecided.

    Attributes:
        column: Name of the column.
        relation: How the cell is compared.
        values: Canonical values: one or more for `in` and `not_in`, one for an order, none for
            `missing` and `known`.
    """

    column: str
    relation: Relation
    values: tuple[Value, ...] = ()

    def decided(self, cells: Cells) -> Bools:
        """Return for which rows the statement is true or false, shape `(n_rows,)`."""
        if self.relation in ("missing", "known"):
            return np.ones(cells.n_rows, dtype=np.bool_)
        return cells.known(self.column)

    def holds(self, cells: Cells) -> Bools:
        """Return for which rows the statement is true, shape `(n_rows,)`."""
        if self.relation in ("missing", "known"):
            known = cells.known(self.column)
            return known if self.relation == "known" else ~known
        if self.relation == "in":
            return cells.equals(self.column, self.values)
        if self.relation == "not_in":
            return cells.known(self.column) & ~cells.equals(self.column, self.values)
        limit = float(self.values[0])  # type: ignore[arg-type]  # an order has one number
        return compare(cells.numbers(self.column), self.relation, limit)


def compare(left: np.ndarray, relation: str, right: np.ndarray | float) -> Bools:
    """Return where `left relation right` is true; with NaN it is not."""
    compared = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
    return np.asarray(compared[relation](left, right), dtype=np.bool_)


def all_hold(predicates: Sequence[Predicate], cells: Cells) -> Bools:
    """Return for which rows every statement is true; for all rows where there is none."""
    holds = np.ones(cells.n_rows, dtype=np.bool_)
    for predicate in predicates:
        holds &= predicate.holds(cells)
    return holds


def all_decided(predicates: Sequence[Predicate], cells: Cells) -> Bools:
    """Return for which rows it is known whether all are true: one is false, or none undecided."""
    decided = np.ones(cells.n_rows, dtype=np.bool_)
    is_false = np.zeros(cells.n_rows, dtype=np.bool_)
    for predicate in predicates:
        mine = predicate.decided(cells)
        decided &= mine
        is_false |= mine & ~predicate.holds(cells)
    return decided | is_false
